"""Where a network comes from: one function per kind of file. A new kind is one function and one line in `find_network`."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ferbench import remote
from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import MODELS, model_module
from ferbench.models.checkpoints import Weights, read_weights
from ferbench.models.exported import read_exported
from ferbench.models.exporting import SPEC_FILE
from ferbench.models.factories import network_from
from ferbench.models.files import check_file, first_line, is_exported, is_torchscript
from ferbench.models.keys import KeyReport, Loading, load_into, partial_notice
from ferbench.models.onnx import read_onnx
from ferbench.models.options import read_options
from ferbench.models.own_checkpoint import CheckpointAbout, check_weights, read_about, with_labels
from ferbench.models.timm import PREFIX as TIMM
from ferbench.models.timm import timm_network

INSIDE = "inside the file"
WEIGHTS_KEY = "weights_key"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
_SEED = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, resolved."""

    model: str
    num_classes: int
    arch: str = ""
    device: str = "cpu"
    options: Mapping[str, str] = field(default_factory=dict)
    trust_pickle: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A network, and what its source says of it."""

    network: Any
    """nn.Module, or a function of a tensor where there is none to look into."""
    spec: InputSpec | None = None
    source: str = ""
    """Where the spec is from."""
    file: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    weights: KeyReport | None = None
    notices: tuple[str, ...] = ()
    hints: Mapping[str, Any] = field(default_factory=dict)
    """InputSpec settings that the file settles without stating a whole spec."""
    fixed_batch: int | None = None
    """The one batch size it takes, where that is fixed."""
    dtype: torch.dtype | None = None


def find_network(wanted: Wanted) -> Found:
    """Load what `wanted.model` names; raises as `ferbench.models.loading.load_model` says."""
    path = Path(wanted.model)
    if wanted.model in MODELS:
        return _from_built_in(wanted)
    if wanted.model.startswith(TIMM):
        raise UsageError(
            f"{wanted.model} is a network without trained weights; give them with --model weights.pth --arch {wanted.model}"
        )
    remote.ensure(path)
    if not path.exists() and _names_a_factory(wanted.model):
        return _from_code(wanted, wanted.model, None)
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        model_module(wanted.model)  # raises, with the nearest name
    check_file(path)
    if path.suffix == ".py":
        return _from_code(wanted, str(path), path)
    if path.suffix == ".onnx":
        return _from_onnx(wanted, path)
    if path.suffix == ".pt2" or is_exported(path):
        return _from_exported(wanted, path)
    if is_torchscript(path):
        return _from_torchscript(wanted, path)
    about = read_about(path) if path.suffix == ".safetensors" and not wanted.arch else None
    return _from_own(wanted, path, about) if about else _from_weights(wanted, path)


def built_in(
    name: str, num_classes: int = 7, *, options: Mapping[str, str] | None = None
) -> tuple[nn.Module, InputSpec]:
    """A built-in model with the weights that come with it, or for `num_classes` where none do.

    UsageError with the nearest name when there is no such model, or with the known options.
    """
    code = model_module(name)
    weights = getattr(code, "WEIGHTS", None)
    network, spec = _build(name, None if weights else num_classes, options or {})
    if weights:
        path = WEIGHTS_FOLDER / weights
        load_into(network, read_weights(path).state, Loading(path.name))
    return network, spec


def _build(
    name: str, num_classes: int | None, options: Mapping[str, Any], *, seed: int = _SEED
) -> tuple[nn.Module, InputSpec]:
    """A built-in's network, weights as drawn from the seed, and its input (which its options may change)."""
    code = model_module(name)
    texts = {key: str(value) for key, value in options.items()}
    chosen = read_options(code.build, texts, where=name, meanings=getattr(code, "OPTIONS", None))
    with _seeded(seed):
        network = code.build(**chosen) if num_classes is None else code.build(num_classes, **chosen)
    return network, getattr(network, "input_spec", code.INPUT_SPEC)


@contextmanager
def _seeded(seed: int = _SEED) -> Iterator[None]:
    """Weights that no file fills are the same in every run; the caller's random numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _from_built_in(wanted: Wanted) -> Found:
    _refuse_arch(wanted, "a built-in model")
    code = model_module(wanted.model)
    weights = getattr(code, "WEIGHTS", None)
    network, spec = built_in(wanted.model, wanted.num_classes, options=wanted.options)
    notices = []
    if not weights and getattr(code, "NEEDS_WEIGHTS", True):
        notices.append(
            f"{wanted.model} comes without trained weights: these are the scores of a network of random numbers. Train it, "
            f"or give weights with --model weights.pth --arch {wanted.model}."
        )
    file = WEIGHTS_FOLDER / weights if weights else None
    return Found(network, spec, f"built-in {wanted.model}", file, notices=tuple(notices))


def _from_code(wanted: Wanted, target: str, path: Path | None) -> Found:
    _refuse_arch(wanted, "code that makes its own network")
    with _seeded():
        network, spec, source = network_from(target, wanted.num_classes, options=wanted.options)
    return Found(network, spec, source, path)


def _from_onnx(wanted: Wanted, path: Path) -> Found:
    _refuse_arch(wanted, "an ONNX file, which holds its network", options=True)
    model = read_onnx(path, device=wanted.device)
    spec, source = _inner_spec(model.spec_text, path)
    return Found(model.run, spec, source, path, model.facts, hints={} if spec else model.hints, dtype=torch.float32)


def _from_exported(wanted: Wanted, path: Path) -> Found:
    _refuse_arch(wanted, "an exported program, which holds its network", options=True)
    extra: dict[str, Any] = {SPEC_FILE: ""}
    program = read_exported(path, extra, trust=wanted.trust_pickle)
    return Found(
        program.network, *_inner_spec(extra[SPEC_FILE], path), path, fixed_batch=program.fixed_batch,
        notices=program.notices,
    )  # fmt: skip


def _from_torchscript(wanted: Wanted, path: Path) -> Found:
    _refuse_arch(wanted, "a TorchScript file, which holds its network", options=True)
    extra = {SPEC_FILE: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls TorchScript deprecated; people still have the files
            network = torch.jit.load(  # type: ignore[no-untyped-call]
                path, map_location="cpu", _extra_files=extra
            )
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: not a loadable TorchScript file ({first_line(error)})") from error
    return Found(network, *_inner_spec(extra[SPEC_FILE], path), path)


def _from_own(wanted: Wanted, path: Path, about: CheckpointAbout) -> Found:
    if about.model not in MODELS and not about.model.startswith(TIMM):
        raise ModelError(
            f"{path}: a checkpoint of {about.model!r}, which is code that ferbench does not have, and is not run because "
            f"a data file names it; if it is yours, name it yourself: --arch {about.model}"
        )
    if wanted.options:
        raise UsageError(f"{path}: a ferbench checkpoint holds its own options; --option cannot change them")
    weights = read_weights(path)
    check_weights(path, weights.state)
    texts = {key: str(value) for key, value in about.options.items() if key not in _begins_with(about.model)}
    network, _, _ = new_network(about.model, len(about.labels), texts)
    report = load_into(network, weights.state, Loading(str(path)))
    return Found(network, with_labels(about), INSIDE, path, about.as_facts(), report)


def _begins_with(model: str) -> tuple[str, ...]:
    """Options of a built-in that name files to begin with: what was read from them is in the checkpoint itself."""
    return getattr(model_module(model), "BEGINS_WITH", ()) if model in MODELS else ()


def _from_weights(wanted: Wanted, path: Path) -> Found:
    options = dict(wanted.options)
    weights = read_weights(path, key=options.pop(WEIGHTS_KEY, ""), trust_pickle=wanted.trust_pickle)
    notices = list(weights.notices)
    if wanted.trust_pickle and path.suffix != ".safetensors":
        notices.append(f"{path.name} was opened with --trust-pickle: whatever code it holds has been run.")
    if not wanted.arch:
        if weights.module is None:
            raise ModelError(
                f"{path}: holds weights and no network; say which with --arch: a built-in name ({', '.join(MODELS)}), "
                "timm:NAME, pkg.module:factory, file.py:factory or file.py"
            )
        if options:
            raise UsageError(f"{path}: holds a whole network; --option has nothing to change")
        return _whole(weights, path, notices)
    network, spec, source = new_network(wanted.arch, wanted.num_classes, options)
    loading = Loading(
        where=str(path), wrapper=weights.wrapper, partial=wanted.partial, num_classes=wanted.num_classes,
        convert=getattr(model_module(wanted.arch), "convert_state_dict", None) if wanted.arch in MODELS else None,
    )  # fmt: skip
    report = load_into(network, weights.state, loading)
    if not report.fits:
        notices.append(partial_notice(report, path.name))
    return Found(network, spec, source, path, weights.facts, report, tuple(notices))


def _whole(weights: Weights, path: Path, notices: list[str]) -> Found:
    """A network out of a trusted pickle."""
    stated = getattr(weights.module, "input_spec", None)
    spec = InputSpec.from_dict(stated) if isinstance(stated, dict) else stated
    spec = spec if isinstance(spec, InputSpec) else None
    return Found(weights.module, spec, INSIDE if spec else "", path, weights.facts, notices=tuple(notices))


def new_network(
    arch: str, num_classes: int, options: Mapping[str, str], *, seed: int = _SEED
) -> tuple[nn.Module, InputSpec | None, str]:
    """The network `arch` names, its weights drawn from `seed`; its classes are for the weights to say.

    Returns the network, its input if its source states one, and where that is from. Raises UsageError or ModelError.
    """
    if arch in MODELS:
        network, spec = _build(arch, num_classes, options, seed=seed)
        return network, dataclasses.replace(spec, classes=()), f"built-in {arch}"
    with _seeded(seed):
        if arch.startswith(TIMM):
            return timm_network(arch, num_classes, options)
        return network_from(arch, num_classes, options=options)


def _inner_spec(text: str | bytes, path: Path) -> tuple[InputSpec | None, str]:
    if not text:
        return None, ""
    try:
        return InputSpec.from_dict(json.loads(text)), INSIDE
    except (ValueError, TypeError, AttributeError, ModelError) as error:
        raise ModelError(f"{path}: the input spec inside it cannot be read ({first_line(error)})") from error


def _refuse_arch(wanted: Wanted, what: str, *, options: bool = False) -> None:
    if wanted.arch:
        raise UsageError(f"--arch is for a file of weights alone, and {wanted.model} is {what}")
    if options and wanted.options:
        raise UsageError(f"--option is for making a network, and {wanted.model} is {what}")


def _names_a_factory(text: str) -> bool:
    place, colon, name = text.rpartition(":")
    return bool(colon) and name.isidentifier() and (place.endswith(".py") or place.replace(".", "").isidentifier())
