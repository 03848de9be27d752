"""Any model by one string: a built-in name, TorchScript, `.pt2`, a state dict with its architecture, a Python file.

Nothing in a data file is executed: torch files are opened with `weights_only`, and only a `.py` file, or a factory the user
names, runs as code. A model always comes back in eval mode.
"""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.fx
from torch import nn

from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import MODELS, model_module
from ferbench.models.checkpoints import load_into, read_state_dict
from ferbench.models.factories import BUILD, network_from
from ferbench.models.forward import AMP, Forward, find_layout, logits_of
from ferbench.models.keys import KeyReport
from ferbench.settings import FILE_NAME, read_toml, resolve

SPEC_FILE = "ferbench.json"
"""Extra file inside a TorchScript or .pt2 archive that holds the InputSpec."""

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
    """Built-in name, `pkg.module:factory` or `file.py:factory`; needed for a bare state dict."""
    input: tuple[tuple[str, str], ...] = ()
    """InputSpec settings that override every other source."""
    batch_size: int = 16
    trust_pickle: bool = False
    """Open a whole pickled module. That runs whatever code the file holds, with the user's rights."""
    partial: bool = False
    """Load the weights that fit and leave the others as the network was made, instead of refusing."""
    options: tuple[tuple[str, str], ...] = ()
    """`key=value` settings of a built-in's or factory's network."""
    amp: str = "off"
    """`off`, `bf16` or `fp16`: automatic mixed precision of the forward pass."""

    def __post_init__(self) -> None:
        if self.amp not in AMP:
            raise UsageError(f"amp {self.amp!r} is not one of {', '.join(AMP)}")


Found = tuple[Any, "InputSpec | None", str]
"""(module, its spec if it states one, where the spec is from)"""


def load_model(request: ModelRequest, *, num_classes: int, fallback: InputSpec, device: str) -> LoadedModel:
    """Load whatever `request.model` names.

    The InputSpec comes from, in this order: `request.input`, the file itself, `NAME.toml` beside it, the model's code or
    card, and at last `fallback` with the layout found by trying. Raises ModelError or UsageError with the next step.
    """
    path = Path(request.model)
    is_built_in = request.model in MODELS
    module, spec, source = _found(request, path, num_classes)
    sidecar = path.with_suffix(".toml")
    if not is_built_in and source != "inside the file" and sidecar.exists() and sidecar.name != FILE_NAME:
        spec, source = resolve(InputSpec, read_toml(sidecar), where=str(sidecar)), sidecar.name
    forward = logits_of(_placed(module, device))
    overrides = dict(request.input)
    if spec is None:
        base = resolve(InputSpec, overrides, fallback.as_dict(), where="--input")
        spec = find_layout(forward, base, fixed=set(overrides), device=device, batch_size=request.batch_size)
        source = GUESSED
    elif overrides:
        spec = resolve(InputSpec, overrides, spec.as_dict(), where="--input")
        source += ", changed by --input"
    return LoadedModel(request.model if is_built_in else path.name, forward, spec, source)


def _found(request: ModelRequest, path: Path, num_classes: int) -> Found:
    if request.model in MODELS:
        return (*built_in(request.model, num_classes), f"built-in {request.model}")
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            raise UsageError(f"{request.model}: no such file")
        model_module(request.model)  # raises, with the nearest name
    if path.suffix == ".py":
        return network_from(f"{path}:{BUILD}", num_classes)
    if path.suffix == ".pt2":
        return _exported(path)
    if _is_torchscript(path):
        return _torchscript(path)
    return _state_dict(path, request.arch, num_classes)


def built_in(name: str, num_classes: int = 7) -> tuple[nn.Module, InputSpec]:
    """A built-in model with the weights that come with it, or for `num_classes` where none do.

    UsageError with the nearest name when there is no such model.
    """
    module_file = model_module(name)
    weights = getattr(module_file, "WEIGHTS", None)
    if weights is None:
        return module_file.build(num_classes), module_file.INPUT_SPEC
    module = module_file.build()
    path = Path(__file__).parent / "weights" / weights
    load_into(module, read_state_dict(path), where=path.name)
    return module, module_file.INPUT_SPEC


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _torchscript(path: Path) -> Found:
    extra = {SPEC_FILE: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls TorchScript deprecated; people still have the files
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                path, map_location="cpu", _extra_files=extra
            )
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: not a loadable TorchScript file ({str(error).splitlines()[0]})") from error
    return (module, *_inner_spec(extra[SPEC_FILE], path))


def _exported(path: Path) -> Found:
    extra = {SPEC_FILE: ""}
    try:
        module = torch.export.load(path, extra_files=extra).module()
    except Exception as error:  # torch.export raises bare exceptions of many kinds for a bad archive
        raise ModelError(f"{path}: not a loadable .pt2 file ({str(error).splitlines()[0]})") from error
    return (module, *_inner_spec(extra[SPEC_FILE], path))


def _inner_spec(text: str | bytes, path: Path) -> tuple[InputSpec | None, str]:
    if not text:
        return None, ""
    try:
        return InputSpec.from_dict(json.loads(text)), "inside the file"
    except (json.JSONDecodeError, TypeError) as error:
        raise ModelError(f"{path}: its {SPEC_FILE} cannot be read ({error})") from error


def _state_dict(path: Path, arch: str, num_classes: int) -> Found:
    weights = read_state_dict(path)
    if not arch:
        raise ModelError(
            f"{path}: holds weights and no network; say which with --arch: a built-in name ({', '.join(MODELS)}), "
            "pkg.module:factory or file.py:factory"
        )
    if arch in MODELS:
        code = model_module(arch)
        found: Found = (code.build(num_classes), dataclasses.replace(code.INPUT_SPEC, classes=()), f"built-in {arch}")
    else:
        found = network_from(arch, num_classes)
    load_into(found[0], weights, where=str(path))
    return found


def _placed(module: Any, device: str) -> Any:
    module = module.to(device)
    # An exported program is fixed in the mode it was exported in, and refuses eval().
    if not isinstance(module, torch.fx.GraphModule):
        module.eval()
    return module


def save_torchscript(module: nn.Module, spec: InputSpec, path: Path) -> None:
    """Write a TorchScript file that carries its InputSpec, so that `evaluate --model` needs no other flag."""
    from ferbench.storage import write_bytes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(module.eval())
        # Through memory: written to a file, the archive would hold that file's name, which is a temporary one here.
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer, _extra_files={SPEC_FILE: json.dumps(spec.as_dict())})
    write_bytes(path, buffer.getvalue())
