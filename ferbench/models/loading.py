"""Any model by one string: a built-in name, TorchScript, `.pt2`, ONNX, weights with their architecture, a Python file.

Nothing in a data file is executed: torch files are opened with `weights_only`, and only a `.py` file, or a factory the user
names, runs as code; a pickled network only when the user trusts it. A model always comes back in eval mode.
`ferbench.models.sources` has one function per kind of file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.fx
from torch import nn

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import MODELS
from ferbench.models.exporting import save_torchscript
from ferbench.models.forward import AMP, Forward, Running, dtype_of, find_layout, in_batches_of, logits_of
from ferbench.models.keys import KeyReport, not_finite
from ferbench.models.sidecar import Sidecar, read_sidecar
from ferbench.models.sources import INSIDE, Found, Wanted, built_in, find_network
from ferbench.settings import parse_overrides, resolve_all
from ferbench.storage import sha256_of_file

__all__ = ["GUESSED", "LoadedModel", "ModelRequest", "built_in", "load_model", "save_torchscript"]

GUESSED = "not stated by the model; layout found by trying"


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A callable in eval mode and what it expects."""

    name: str
    forward: Forward
    spec: InputSpec
    spec_source: str
    """Where the spec comes from, for the report; `GUESSED` when nothing states it."""
    module: nn.Module | None = None
    """The network in eval mode, for hooks and counters; None where there is none to look into (ONNX)."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the checkpoint says of itself, as plain values: recipe_id, protocol, selection, epoch, labels, ..."""
    weights: KeyReport | None = None
    """Which keys of a state dict were used; None where the file holds the network itself."""
    sha256: str = ""
    """Of the file named by `--model`, or of a built-in's weights; empty where there is no file."""
    notices: tuple[str, ...] = ()
    """What the reader of the scores must be told: weights loaded in part, a choice that was made, numbers not finite."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What `--model` and its companions say."""

    model: str
    arch: str = ""
    """Built-in name, `timm:NAME`, `pkg.module:factory`, `file.py:factory` or `file.py`; needed for weights alone."""
    input: tuple[tuple[str, str], ...] = ()
    """InputSpec settings that override every other source."""
    batch_size: int = 16
    trust_pickle: bool = False
    """Open a whole pickled module. That runs whatever code the file holds, with the user's rights."""
    partial: bool = False
    """Load the weights that fit and leave the others as the network was made, instead of refusing."""
    options: tuple[tuple[str, str], ...] = ()
    """`key=value` settings of a built-in's or factory's network. `weights_key` chooses among several sets in a file."""
    amp: str = "off"
    """`off`, `bf16` or `fp16`: automatic mixed precision of the forward pass."""

    def __post_init__(self) -> None:
        if self.amp not in AMP:
            raise UsageError(f"amp {self.amp!r} is not one of {', '.join(AMP)}")


def load_model(request: ModelRequest, *, num_classes: int, fallback: InputSpec, device: str) -> LoadedModel:
    """Load whatever `request.model` names.

    `num_classes` is the manifest's; where `--input` or the card beside the file names the model's own classes, a network
    is made for as many as those. The InputSpec comes from, in this order: `request.input`, the file itself, `NAME.toml`
    beside it, the model's code or configuration, and at last `fallback` with the layout found by trying.
    Raises ModelError (reason `unsafe-checkpoint` for a file that would have to run code), UsageError or
    MissingExtraError, with the next step.
    """
    path = Path(request.model)
    is_built_in = request.model in MODELS
    card = Sidecar() if is_built_in else read_sidecar(path)
    overrides = parse_overrides([f"{key}={value}" for key, value in request.input], where="--input")
    found = find_network(
        Wanted(
            model=request.model, arch=request.arch, num_classes=_own_classes(overrides, card) or num_classes,
            device=device, options=dict(request.options), trust_pickle=request.trust_pickle, partial=request.partial,
        )
    )  # fmt: skip
    if found.spec is not None and found.source == INSIDE:
        card = dataclasses.replace(card, input={})  # what the file says of its own input wins
    call, module = _placed(found, device)
    base = found.spec or fallback
    layers = [("--input", overrides), (str(card.path), card.input), (found.source or "input", found.hints)]
    spec: InputSpec = resolve_all([InputSpec], [*layers, ("", base.as_dict())])[0]
    running = Running(layout=spec.layout, output=spec.output, amp=request.amp, dtype=found.dtype or dtype_of(module))
    if found.spec is not None or card.states_layout:
        source = card.path.name if card.input else found.source
        source += ", changed by --input" if overrides else ""
    else:
        fixed = {*overrides, *card.input, *found.hints}
        forward = logits_of(call, dataclasses.replace(running, layout=""))
        spec = find_layout(forward, spec, fixed=fixed, device=device, batch_size=request.batch_size)
        source = GUESSED
    odd = not_finite(module.state_dict()) if module is not None else ""
    return LoadedModel(
        name=request.model if is_built_in else path.name,
        forward=logits_of(call, dataclasses.replace(running, layout=spec.layout)),
        spec=spec,
        spec_source=source,
        module=module,
        facts=json.loads(json.dumps({**found.facts, **card.facts}, default=str)),
        weights=found.weights,
        sha256=sha256_of_file(found.file) if found.file else "",
        notices=(*found.notices, *([odd] if odd else [])),
    )


def _own_classes(overrides: Mapping[str, str], card: Sidecar) -> int:
    """How many classes the user says the model has; 0 when nobody says."""
    classes = overrides.get("classes") or card.input.get("classes") or ()
    return len(classes.split(",")) if isinstance(classes, str) else len(classes)


def _placed(found: Found, device: str) -> tuple[Any, nn.Module | None]:
    """(what is called, the network in it) on the device and in eval mode."""
    network = found.network
    if not isinstance(network, nn.Module):
        return network, None
    network = network.to(device)
    # An exported program is fixed in the mode it was exported in, and refuses eval().
    if not isinstance(network, torch.fx.GraphModule):
        network.eval()
    return (in_batches_of(found.fixed_batch, network) if found.fixed_batch else network), network
