"""One forward pass: the shapes a spec means, the logits that come out, and finding a layout by trying."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ferbench.errors import ModelError
from ferbench.inputspec import InputSpec

AMP = ("off", "bf16", "fp16")
"""Automatic mixed precision, by choice."""

Forward = Callable[[Tensor], Tensor]
"""float32 input of a spec's layout to (N, K) float32 logits on the input's device."""


def logits_of(module: Any) -> Forward:
    """A network as a `Forward`. Whatever goes wrong in it is a ModelError with the shape it was given."""
    dtype = _dtype_of(module)

    def forward(clips: Tensor) -> Tensor:
        try:
            with torch.inference_mode():
                output = module(clips.to(dtype))
        except Exception as error:  # a stranger's network may raise anything
            message = f"{type(error).__name__}: {_first_line(error)}"
            raise ModelError(f"the model fails on an input of shape {tuple(clips.shape)}: {message}") from error
        # Several published networks return (logits, features).
        logits = output[0] if isinstance(output, (tuple, list)) and output else output
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(clips):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(f"the model must return (N, K) logits, got {shape} for input {tuple(clips.shape)}")
        return logits.detach().float()

    return forward


def _dtype_of(module: Any) -> torch.dtype:
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


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else "no message"
