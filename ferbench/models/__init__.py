"""Models: the built-in ones by name, and loading anybody's.

A built-in model is one module with

    build(num_classes=7, **options)     the network; an `input_spec` it has stands for the module's
    INPUT_SPEC                          what it takes
    CARD                                title, paper, licence, published result, as plain text
    OPTIONS                             name -> one-line meaning, default included; where there are options
    WEIGHTS                             a file in `ferbench/models/weights`, where weights come with ferbench
    NEEDS_WEIGHTS = False               where the network means something without
    convert_state_dict(weights)         the original repository's keys to ours, where there is one
    BEGINS_WITH = ("backbone",)         options that name a file of weights to begin with; a checkpoint needs them no more

A new model is one file and one row in `MODELS`. Importing this package imports no torch.
"""

from __future__ import annotations

import difflib
import importlib
from types import ModuleType

from ferbench.errors import UsageError

MODELS: dict[str, str] = {
    "mini-xception": "ferbench.models.mini_xception",
    "ms": "ferbench.models.ms",
    "former-dfer": "ferbench.models.former_dfer",
    "mfer": "ferbench.models.mfer",
    "efea-msm": "ferbench.models.efea_msm",
    "abaw-cnn": "ferbench.models.abaw_cnn",
    "abaw-cnn-rnn": "ferbench.models.abaw_cnn_rnn",
    "abaw-cnn-transformer": "ferbench.models.abaw_cnn_transformer",
    "abaw-ensemble": "ferbench.models.abaw_ensemble",
    "constant": "ferbench.models.constant",
}
"""Name -> module."""


def model_module(name: str) -> ModuleType:
    """The module of a built-in model; UsageError suggests the nearest name."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"no built-in model {name!r}; known: {', '.join(MODELS)}{hint}")
    return importlib.import_module(MODELS[name])
