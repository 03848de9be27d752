"""Which layer is looked at: one forward pass is watched, and the layers are told apart by what they put out.

For maps: the last layer before the head that still has a place for every part of the face, and whose output decides the
class. In a network of convolutions that is its last one (Selvaraju et al., "Grad-CAM", ICCV 2017), unless that is the
head itself: its output is a score per place, not features. Among tokens the last normalization
of them that still matters, which in a vision transformer is the first one of the last block (as the manual of the
library grad-cam has it): after it only the class token counts, and nothing flows back to the others.

For features: what goes into the head, the last linear layer or convolution with one output per class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ferbench.errors import ModelError, UsageError
from ferbench.explaining.maps import Geometry, Reading, as_maps, read_map
from ferbench.inputspec import InputSpec

SILENT = (nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.Identity, nn.Softmax, nn.Flatten)
"""Never looked at: their output is their input, or no picture."""

NO_LAYERS = (
    "its layers cannot be watched: TorchScript, .pt2 and ONNX files are one sealed program; explain the same weights as a "
    "state dict or safetensors file with --arch, or a .py file with build_model"
)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of one layer."""

    name: str
    layer: nn.Module
    given: Tensor | None
    """Its first argument, where that is a tensor."""
    output: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One forward pass."""

    logits: Tensor
    """(N, K), or (N, T, K) of a model with an output per frame."""
    calls: tuple[Call, ...]
    """In the order in which the layers finished."""


@dataclass(frozen=True, slots=True, eq=False)
class MapLayer:
    """A layer and how its output is a map."""

    name: str
    reading: Reading
    was_chosen: bool
    """False where the user named it."""


@dataclass(slots=True)
class _Recorder:
    calls: list[Call] = field(default_factory=list)


def geometry_of(clip: Tensor, spec: InputSpec) -> Geometry:
    """Of a sample's frames (T, C, H, W)."""
    return Geometry(spec.is_clip_model, clip.shape[0], spec.height, spec.width)


def placed(clip: Tensor, network: nn.Module, spec: InputSpec) -> Tensor:
    """A sample's frames (T, C, H, W) as the input of one pass, where the network is and in its kind of numbers."""
    parameter = next((each for each in network.parameters() if each.dtype.is_floating_point), None)
    if spec.is_clip_model:
        clip = clip[None] if spec.layout == "NTCHW" else clip.transpose(0, 1)[None]
    if parameter is None:
        return clip.contiguous()
    return clip.to(device=parameter.device, dtype=parameter.dtype).contiguous()


def watch(network: nn.Module, inputs: Tensor, names: Sequence[str] | None = None) -> Watched:
    """One forward pass with gradients, all layers recorded, or those named.

    Each recorded layer hands on a copy of its output, so that what follows cannot change the recorded one in its place.
    Raises ModelError when the network fails.
    """
    recorder = _Recorder()
    inputs = inputs.detach().clone().requires_grad_()
    # cuDNN's recurrent layers have no backward pass in eval mode.
    flags = torch.backends.cudnn.flags(enabled=not _is_recurrent(network), deterministic=True)
    with torch.enable_grad(), flags, _recording(network, recorder, names):
        try:
            output = network(inputs)
        except Exception as error:  # a stranger's network may raise anything
            shape = tuple(inputs.shape)
            text = str(error).strip().splitlines()
            raise ModelError(
                f"the model fails on an input of shape {shape}: {type(error).__name__}: {text[0] if text else ''}"
            ) from error
    logits = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(logits, Tensor) or logits.ndim not in (2, 3):
        raise ModelError(f"the model must return (N, K) logits, got {type(logits).__name__}")
    return Watched(logits, tuple(recorder.calls))


def _is_recurrent(network: nn.Module) -> bool:
    return any(isinstance(layer, nn.RNNBase) for layer in network.modules())


@contextmanager
def _recording(network: nn.Module, recorder: _Recorder, names: Sequence[str] | None) -> Iterator[None]:
    handles = []
    for name, layer in network.named_modules():
        if not name or (names is not None and name not in names):
            continue

        def record(layer: nn.Module, given: tuple[Any, ...], output: Any, name: str = name) -> Tensor | None:
            if not isinstance(output, Tensor):
                return None
            first = given[0] if given and isinstance(given[0], Tensor) else None
            recorder.calls.append(Call(name, layer, first, output))
            return output.clone() if output.requires_grad else None

        try:
            handles.append(layer.register_forward_hook(record))
        except RuntimeError:  # a part of a compiled program takes no hook
            continue
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def score_of(logits: Tensor, label: int) -> Tensor:
    """What is explained: a class's logit, summed over the images or frames of the sample."""
    return logits[..., label].sum()


def calls_of(calls: Sequence[Call], name: str, geometry: Geometry) -> list[Call]:
    """A layer's calls that make one map: one per frame where a network loops over frames, else the last."""
    own = [call for call in calls if call.name == name]
    # A layer without weights may serve at several depths: those calls count that are shaped as the last.
    alike = [call for call in own if call.output.shape == own[-1].output.shape]
    per_frame = geometry.is_clip and geometry.frames > 1 and len(alike) == geometry.frames
    return alike if per_frame and alike[0].output.shape[0] == 1 else own[-1:]


def choose_map_layer(network: nn.Module, clip: Tensor, spec: InputSpec, *, name: str = "") -> MapLayer:
    """The layer for maps, or the one called `name`. `clip` is (T, C, H, W) of a real sample.

    Raises UsageError for a name that the network does not have, ModelError when a layer has no map or cannot be watched.
    """
    geometry = geometry_of(clip, spec)
    if name:
        assert_layer(network, name)
    watched = watch(network, placed(clip, network, spec))
    if not watched.calls:
        raise ModelError(f"no map can be drawn: {NO_LAYERS}")
    readings = _readings(watched.calls, geometry)
    if name:
        if not any(call.name == name for call in watched.calls):
            raise ModelError(f"layer {name!r} is not called with a tensor as its result; choose another --layer")
        reading = readings.get(name)
        if reading is None:
            shape = tuple(calls_of(watched.calls, name, geometry)[-1].output.shape)
            maps = ", ".join(list(readings)[-5:]) or "none"
            raise ModelError(f"layer {name!r} gives {shape}, which is no map over the picture; layers with one: {maps}")
        return MapLayer(name, reading, was_chosen=False)
    deciding = _deciding(watched, readings, geometry)
    head = _head(watched)
    if head in deciding:
        deciding = deciding[: deciding.index(head)] or deciding
    if not deciding:
        raise ModelError(
            "no layer of the model has a map over the picture that a gradient flows back to: it averages the places "
            "away before its first layer, or computes without gradients; name a layer with --layer, or use "
            "--only features,mistakes"
        )
    last = deciding[-1]
    if readings[last].is_tokens:
        layers = dict(network.named_modules())
        norms = [each for each in deciding if readings[each].is_tokens and "Norm" in type(layers[each]).__name__]
        last = norms[-1] if norms else last
    return MapLayer(last, readings[last], was_chosen=True)


def assert_layer(network: nn.Module, name: str) -> None:
    """UsageError with the nearest names when the network has no layer of that name."""
    import difflib

    known = [each for each, _ in network.named_modules() if each]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[-5:]
        raise UsageError(f"the model has no layer {name!r}; near it: {', '.join(near) or 'it has no layers'}")


def _readings(calls: Sequence[Call], geometry: Geometry) -> dict[str, Reading]:
    """Every layer whose output is a map, in the order in which they last finished."""
    found: dict[str, Reading] = {}
    grids: dict[Reading, None] = {}
    for call in calls:
        if isinstance(call.layer, SILENT):
            continue
        reading = read_map(tuple(call.output.shape), geometry, grids)
        if reading is None:
            continue
        if not reading.is_tokens:
            grids[reading] = None
        found.pop(call.name, None)
        found[call.name] = reading
    return found


def _deciding(watched: Watched, readings: dict[str, Reading], geometry: Geometry) -> list[str]:
    """Names of those layers with a map that a gradient of the winning class reaches."""
    if not watched.logits.requires_grad:
        return []
    label = int(watched.logits.reshape(-1, watched.logits.shape[-1]).mean(0).argmax())
    outputs = [(name, call.output) for name in readings for call in calls_of(watched.calls, name, geometry)]
    outputs = [(name, output) for name, output in outputs if output.requires_grad]
    if not outputs:
        return []
    score = score_of(watched.logits, label)
    gradients = torch.autograd.grad(score, [output for _, output in outputs], allow_unused=True)
    reached = {
        name
        for (name, _), gradient in zip(outputs, gradients, strict=True)
        if gradient is not None and bool((as_maps(gradient, readings[name]) != 0).any())
    }
    return [name for name in readings if name in reached]


def choose_feature_layer(network: nn.Module, clip: Tensor, spec: InputSpec, *, name: str = "") -> str:
    """The name of the layer whose input is the features: the head, or the one called `name`; empty where there is none.

    Raises UsageError for a name that the network does not have, ModelError when its layers cannot be watched.
    """
    if name:
        assert_layer(network, name)
        return name
    watched = watch(network, placed(clip, network, spec))
    if not watched.calls:
        raise ModelError(NO_LAYERS)
    return _head(watched)


def _head(watched: Watched) -> str:
    """The last linear layer or convolution with one output per class; empty where there is none."""
    classes = watched.logits.shape[-1]
    heads = [
        call.name
        for call in watched.calls
        if isinstance(call.layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) and call.given is not None
        and _outputs_of(call.layer) == classes
    ]  # fmt: skip
    return heads[-1] if heads else ""


def _outputs_of(layer: nn.Module) -> int:
    return int(getattr(layer, "out_features", getattr(layer, "out_channels", 0)))
