"""Any model by one string: a built-in name, TorchScript, `.pt2`, a state dict with its architecture, a Python file.

Nothing in a data file is executed: torch files are opened with `weights_only`, and only a `.py` file, or a factory the user
names, runs as code. A model always comes back in eval mode.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import MODELS, model_module
from ferbench.models.checkpoints import load_into, read_state_dict
from ferbench.settings import read_toml, resolve

SPEC_FILE = "ferbench.json"
"""Extra file inside a TorchScript or .pt2 archive that holds the InputSpec."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A callable in eval mode and what it expects."""

    name: str
    forward: Callable[[Tensor], Tensor]
    """float32 tensor of `spec.layout` to (N, K) logits."""
    spec: InputSpec
    spec_source: str
    """Where the spec comes from, for the report."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What `--model` and its companions say."""

    model: str
    arch: str = ""
    """Built-in name, `pkg.module:factory` or `file.py:factory`; needed for a bare state dict."""
    input: tuple[tuple[str, str], ...] = ()
    """InputSpec settings that override every other source."""


def load_model(request: ModelRequest, *, num_classes: int, fallback: InputSpec, device: str) -> LoadedModel:
    """Load whatever `request.model` names.

    The InputSpec comes from, in this order: `request.input`, the file itself, `NAME.toml` beside it, the model's code or
    card, and at last `fallback` with the layout found by trying. Raises ModelError or UsageError with the next step.
    """
    path = Path(request.model)
    module, spec, source = _found(request, path, num_classes)
    sidecar = path.with_suffix(".toml")
    if request.model not in MODELS and source != "inside the file" and sidecar.exists():
        spec, source = InputSpec.from_dict(read_toml(sidecar)), sidecar.name
    module = _placed(module, device)
    forward = _logits_of(module)
    overrides = dict(request.input)
    if spec is None:
        base = resolve(InputSpec, overrides, fallback.as_dict(), where="--input")
        # What the user said is not tried otherwise.
        spec = _probed(forward, base, fixed=set(overrides), device=device)
        source = "not stated by the model; layout found by trying"
    elif overrides:
        spec = resolve(InputSpec, overrides, spec.as_dict(), where="--input")
        source += ", changed by --input"
    return LoadedModel(request.model if request.model in MODELS else path.name, forward, spec, source)


Found = tuple[Any, "InputSpec | None", str]
"""(module, its spec if it states one, where the spec is from)"""


def _found(request: ModelRequest, path: Path, num_classes: int) -> Found:
    if request.model in MODELS or not path.exists():
        return (*built_in(request.model, num_classes), f"built-in {request.model}")
    if path.suffix == ".py":
        return _from_factory(f"{path}:build_model", num_classes)
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


def _from_factory(target: str, num_classes: int) -> Found:
    place, _, factory_name = target.rpartition(":")
    if not place:
        raise UsageError(f"{target!r} is not module:factory or file.py:factory")
    code = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    factory = getattr(code, factory_name, None)
    if not callable(factory):
        raise ModelError(
            f"{place} has no function {factory_name!r}; write `def {factory_name}(num_classes): ...` there"
        )
    arguments = {"num_classes": num_classes} if "num_classes" in inspect.signature(factory).parameters else {}
    module = factory(**arguments)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{target} returned {type(module).__name__}, not a torch.nn.Module")
    stated = getattr(module, "input_spec", getattr(code, "INPUT_SPEC", None))
    return module, InputSpec.from_dict(stated) if isinstance(stated, dict) else stated, f"code of {Path(place).name}"


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.exists():
        raise ModelError(f"{path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickling look a module up by its name
    spec.loader.exec_module(module)
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"cannot import {name}: {error}") from error


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
        found = _from_factory(arch, num_classes)
    load_into(found[0], weights, where=str(path))
    return found


def _placed(module: Any, device: str) -> Any:
    module = module.to(device)
    # An exported program is fixed in the mode it was exported in, and refuses eval().
    if not isinstance(module, torch.fx.GraphModule):
        module.eval()
    return module


def _logits_of(module: Any) -> Callable[[Tensor], Tensor]:
    def forward(clips: Tensor) -> Tensor:
        with torch.inference_mode():
            output = module(clips)
        # Several published networks return (logits, features).
        logits = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(f"the model must return (N, K) logits, got {shape} for input {tuple(clips.shape)}")
        return logits.detach().float()

    return forward


def _probed(forward: Callable[[Tensor], Tensor], base: InputSpec, *, fixed: set[str], device: str) -> InputSpec:
    """`base` with the first layout and number of channels that the model takes; ModelError when it takes none."""
    layouts = (base.layout,) if "layout" in fixed else ("NTCHW", "NCTHW", "NCHW")
    channels = (base.channels,) if "channels" in fixed else ("rgb", "grey")
    sizes = [(base.height, base.width)]
    if not {"height", "width"} & fixed:
        sizes += [(224, 224), (112, 112), (64, 64), (48, 48)]
    tried = []
    for height, width in dict.fromkeys(sizes):
        for layout in layouts:
            for channel in channels:
                spec = dataclasses.replace(base, height=height, width=width, layout=layout, channels=channel)
                shape = blank_shape(spec)
                tried.append(f"{layout} {shape}")
                try:
                    outputs = forward(torch.zeros(shape, device=device))
                except Exception:  # whatever a stranger's network raises for a shape it does not take
                    continue
                if outputs.shape[0] == shape[0]:
                    return spec
    raise ModelError(
        f"the model takes none of the inputs tried ({'; '.join(tried[:4])}, …); say it with --input, for example "
        "--input layout=NCHW --input height=224 --input width=224 --input channels=rgb"
    )


def blank_shape(spec: InputSpec, *, batch: int = 2) -> tuple[int, ...]:
    """Shape of an input of `batch` clips (or images). Two by default: a model that mixes up its axes does not fit then."""
    pixels = (spec.height, spec.width)
    if spec.layout == "NTCHW":
        return (batch, spec.clip_len, spec.num_channels, *pixels)
    if spec.layout == "NCTHW":
        return (batch, spec.num_channels, spec.clip_len, *pixels)
    return (batch, spec.num_channels, *pixels)


def save_torchscript(module: nn.Module, spec: InputSpec, path: Path) -> None:
    """Write a TorchScript file that carries its InputSpec, so that `evaluate --model` needs no other flag."""
    from ferbench.storage import write_atomically

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(module.eval())
        extra = {SPEC_FILE: json.dumps(spec.as_dict())}
        write_atomically(path, lambda temporary: torch.jit.save(scripted, temporary, _extra_files=extra))
