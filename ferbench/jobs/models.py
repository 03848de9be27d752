"""`models`: what is known about the built-in models, and one as a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ferbench.models import model_module
from ferbench.settings import parse_overrides


def describe(name: str) -> dict[str, Any]:
    """A built-in model's card, input spec and options as plain values."""
    module = model_module(name)
    spec = {key: value for key, value in module.INPUT_SPEC.as_dict().items() if value not in ("", [], 0)}
    described = {"name": name, **module.CARD, "input": ", ".join(f"{key} {value}" for key, value in spec.items())}
    options = getattr(module, "OPTIONS", {})
    if options:
        described["options"] = "; ".join(f"{key}: {meaning}" for key, meaning in options.items())
    return described


def export_model(name: str, path: Path, *, options: Iterable[str] = ()) -> None:
    """Write a built-in model with its weights, its input spec inside.

    The ending of `path` is the format: `.pt` TorchScript, `.pt2` torch.export, `.onnx`. `options` are `key=value`
    settings of the network. Raises UsageError for another ending or an unknown option, MissingExtraError for ONNX
    without its packages.
    """
    from ferbench.models.exporting import save_model
    from ferbench.models.loading import built_in

    module, spec = built_in(name, options=parse_overrides(options, where="--option"))
    save_model(module, spec, path)
