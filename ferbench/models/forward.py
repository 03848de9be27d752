"""One forward pass: the shapes a spec means, the logits that come out, and finding a layout by trying."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ferbench.errors import ModelError
from ferbench.inputspec import InputSpec
from ferbench.models.files import first_line

AMP = ("off", "bf16", "fp16")
"""Automatic mixed precision, by choice."""

_AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LOGITS = ("logits", "output", "out", "pred", "preds", "expression", "expr", "cls")
"""Names that networks give their logits when they return a dict."""

Forward = Callable[[Tensor], Tensor]
"""float32 input of a spec's layout to float32 logits on its device: (N, K), or (N, T, K) for `output = "frames"`."""


@dataclass(frozen=True, slots=True)
class Running:
    """How a network is called."""

    layout: str = "NCHW"
    output: str = "clip"
    """`clip`: (N, K) logits. `frames`: (N, T, K), T being the frames of the window."""
    amp: str = "off"
    dtype: torch.dtype | None = None
    """What the input is cast to; None is what the network's weights are in."""


def logits_of(module: Any, how: Running = Running()) -> Forward:
    """A network as a `Forward`, always in inference mode. What goes wrong in it is a ModelError with the shape it got."""
    dtype = how.dtype or dtype_of(module)

    def forward(clips: Tensor) -> Tensor:
        try:
            with torch.inference_mode(), _autocast(clips.device.type, how.amp):
                output = module(clips.to(dtype))
        except Exception as error:  # a stranger's network may raise anything
            message = f"{type(error).__name__}: {first_line(error)}"
            raise ModelError(f"the model fails on an input of shape {tuple(clips.shape)}: {message}") from error
        return _checked(output, clips, how)

    return forward


def _autocast(device: str, amp: str) -> AbstractContextManager[Any]:
    return torch.autocast(device, _AMP_TYPES[amp]) if amp != "off" else nullcontext()


def _checked(output: Any, clips: Tensor, how: Running) -> Tensor:
    """The logits among a network's outputs, float32; ModelError when they are not of the shape that was promised."""
    logits = _pick(output)
    if isinstance(logits, Tensor) and _fits(logits.shape, clips.shape, how):
        return logits.detach().float()
    wanted = "(N, K) logits" if how.output == "clip" else "(N, T, K) logits with a row per frame of the window"
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    hint = ""
    if how.output == "clip" and isinstance(logits, Tensor) and logits.ndim == 3:
        hint = "; a model that scores every frame of its window is --input output=frames"
    raise ModelError(f"the model must return {wanted}, got {shape} for input {tuple(clips.shape)}{hint}")


def _fits(logits: Sequence[int], clips: Sequence[int], how: Running) -> bool:
    if how.output == "clip":
        return len(logits) == 2 and logits[0] == clips[0]
    axes = {"NTCHW": (1,), "NCTHW": (2,)}.get(how.layout, (1, 2))  # either, while the layout is being tried out
    return len(logits) == 3 and logits[0] == clips[0] and any(logits[1] == clips[axis] for axis in axes)


def _pick(output: Any) -> Any:
    """The logits where a network returns several things: several published ones return (logits, features), or a dict."""
    if isinstance(output, Mapping):
        named = next((output[name] for name in LOGITS if name in output), None)
        return named if named is not None else (next(iter(output.values())) if len(output) == 1 else output)
    if isinstance(output, (tuple, list)) and output:
        return output[0]
    return getattr(output, "logits", output)


def in_batches_of(size: int, call: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """`call` for any number of samples, where it takes exactly `size`: a program exported with a fixed batch.

    The last batch is filled up with its last sample, and the surplus rows are dropped.
    """

    def run(clips: Tensor) -> Tensor:
        rows = []
        for part in torch.split(clips, size):
            lacking = size - len(part)
            whole = torch.cat([part, part[-1:].expand(lacking, *part.shape[1:])]) if lacking else part
            rows.append(_pick(call(whole))[: len(part)])
        return torch.cat(rows)

    return run


def dtype_of(module: Any) -> torch.dtype:
    """What the weights are in: a network saved in half precision takes half precision."""
    parameters = module.parameters() if isinstance(module, nn.Module) else ()
    return next((parameter.dtype for parameter in parameters if parameter.dtype.is_floating_point), torch.float32)


def blank_shape(spec: InputSpec, *, batch: int = 2) -> tuple[int, ...]:
    """Shape of an input of `batch` clips (or images). Two by default: a model that mixes up its axes does not fit then."""
    pixels = (spec.height, spec.width)
    if spec.layout == "NTCHW":
        return (batch, spec.clip_len, spec.num_channels, *pixels)
    if spec.layout == "NCTHW":
        return (batch, spec.num_channels, spec.clip_len, *pixels)
    return (batch, spec.num_channels, *pixels)


def find_layout(forward: Forward, base: InputSpec, *, fixed: set[str], device: str, batch_size: int) -> InputSpec:
    """`base` with the layout, channels and size that the model takes; what is in `fixed` is not tried otherwise.

    Raises ModelError when it takes none, with what it said last, or two layouts that mean different things.
    """
    failure: ModelError | None = None
    for batch in dict.fromkeys((2, 1, batch_size)):  # traced and exported programs may take one batch size only
        for specs in _candidates(base, fixed):
            fitting = []
            for spec in specs:
                try:
                    forward(torch.zeros(blank_shape(spec, batch=batch), device=device))
                    fitting.append(spec)
                except ModelError as error:
                    failure = error
            if len(fitting) > 1:
                layouts = " and ".join(spec.layout for spec in fitting)
                raise ModelError(
                    f"the model takes {layouts} alike, and they mean different things; say --input layout=…"
                )
            if fitting:
                return fitting[0]
    raise ModelError(
        "the model takes none of the usual inputs; say what it takes with --input (layout, height, width, channels, "
        f"clip_len) and --batch-size. Last: {failure.message if failure else 'nothing was tried'}"
    )


def _candidates(base: InputSpec, fixed: set[str]) -> Iterator[list[InputSpec]]:
    """Groups of specs of one size and one kind of channels, which differ in the layout."""
    layouts = (base.layout,) if "layout" in fixed else ("NTCHW", "NCTHW", "NCHW")
    channels = (base.channels,) if "channels" in fixed else ("rgb", "grey")
    sizes = [(base.height, base.width)]
    if not {"height", "width"} & fixed:
        sizes += [(224, 224), (112, 112), (64, 64), (48, 48)]
    for height, width in dict.fromkeys(sizes):
        for channel in channels:
            sized = dataclasses.replace(base, height=height, width=width, channels=channel)
            yield [dataclasses.replace(sized, layout=layout) for layout in layouts]
