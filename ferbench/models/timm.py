"""`--arch timm:NAME`: networks of the timm library (the extra `hub`), never its weights."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from ferbench.errors import MissingExtraError, ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.files import first_line

PREFIX = "timm:"
_RESIZES = {"bilinear": "pil-bilinear", "bicubic": "pil-bicubic"}


def timm_network(target: str, num_classes: int, options: Mapping[str, str]) -> tuple[nn.Module, InputSpec, str]:
    """(network without trained weights, the input its timm configuration states, where that is from).

    `options` are arguments of timm.create_model; numbers, True and False are read as such. Nothing is downloaded.
    Raises MissingExtraError with the install line, UsageError with the nearest name, ModelError when timm refuses.
    """
    try:
        import timm
        from timm.data.config import resolve_data_config
    except ImportError as error:
        raise MissingExtraError(f"{target} needs timm: pip install 'ferbench[hub]'") from error
    name = target.removeprefix(PREFIX)
    # A name with a colon or slash is a place in a hub, and timm would go there for its configuration.
    if not name or set(name) & set(":/") or not timm.is_model(name):
        near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=1)
        hint = f"; did you mean timm:{near[0]}?" if near else ""
        raise UsageError(f"timm has no model {name!r}{hint}")
    arguments = {key: _value(value) for key, value in options.items()}
    if "pretrained" in arguments:
        raise UsageError(
            "timm's weights are not downloaded here; give your own with --model weights.pth --arch timm:NAME"
        )
    try:
        network = timm.create_model(name, pretrained=False, **{"num_classes": num_classes, **arguments})
    except Exception as error:  # an option that this architecture does not know raises anything
        raise ModelError(f"{target}: timm cannot make it ({first_line(error)}); options given: {arguments}") from error
    config = resolve_data_config({}, model=network)  # type: ignore[no-untyped-call]
    channels, height, width = config["input_size"]
    channels = arguments.get("in_chans", channels)  # the configuration is that of the published weights
    if channels not in (1, 3):
        raise ModelError(f"{target}: a network on {channels} channels; pictures have 1 (grey) or 3")
    size = arguments.get("img_size", (height, width))
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    mean, std = (tuple(float(value) for value in config[key]) for key in ("mean", "std"))
    if channels == 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    spec = InputSpec(
        height=height, width=width, layout="NCHW", channels="grey" if channels == 1 else "rgb", mean=mean, std=std,
        resize=_RESIZES.get(config["interpolation"], "pil-bicubic"),
    )  # fmt: skip
    return network, spec, f"timm's configuration of {name}"


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
