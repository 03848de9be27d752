"""A network as a file that carries its InputSpec, so that `evaluate --model FILE` needs no other flag."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ferbench.errors import MissingExtraError, ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.files import first_line
from ferbench.models.forward import blank_shape
from ferbench.models.onnx import METADATA_KEY
from ferbench.storage import write_bytes

SPEC_FILE = "ferbench.json"
"""Extra file inside a TorchScript or .pt2 archive that holds the InputSpec."""


def save_model(module: nn.Module, spec: InputSpec, path: Path) -> None:
    """Write in the format that the ending of `path` names; UsageError lists them, ModelError says what does not export."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: cannot write that format; known: {', '.join(FORMATS)}")
    try:
        FORMATS[path.suffix](module, spec, path)
    except (RuntimeError, torch.jit.Error, AssertionError, ValueError) as error:
        raise ModelError(f"{path}: the network cannot be written as {path.suffix} ({first_line(error)})") from error


def save_torchscript(module: nn.Module, spec: InputSpec, path: Path) -> None:
    """Write a TorchScript file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(module.eval())
        # Through memory: written to a file, the archive would hold that file's name, which is a temporary one here.
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer, _extra_files={SPEC_FILE: _text(spec)})
    write_bytes(path, buffer.getvalue())


def save_exported(module: nn.Module, spec: InputSpec, path: Path) -> None:
    """Write a torch.export program for batches of any size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), _example(spec), dynamic_shapes=_any_batch())
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files={SPEC_FILE: _text(spec)})
    write_bytes(path, buffer.getvalue())


def save_onnx(module: nn.Module, spec: InputSpec, path: Path) -> None:
    """Write an ONNX file for batches of any size, weights inside; MissingExtraError without onnx and onnxscript."""
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: writing ONNX needs onnx and onnxscript: pip install 'ferbench[onnx]'"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), _example(spec), dynamo=True, dynamic_shapes=_any_batch(), verbose=False,
            input_names=["input"], output_names=["logits"], external_data=False,
        )  # fmt: skip
    if program is None:
        raise ModelError(f"{path}: torch made no ONNX program of the network")
    network = program.model_proto
    onnx.helper.set_model_props(network, {METADATA_KEY: _text(spec)})
    write_bytes(path, network.SerializeToString())


FORMATS: dict[str, Callable[[nn.Module, InputSpec, Path], None]] = {
    ".pt": save_torchscript,
    ".pt2": save_exported,
    ".onnx": save_onnx,
}
"""Ending -> writer."""


def _text(spec: InputSpec) -> str:
    return json.dumps(spec.as_dict())


def _example(spec: InputSpec) -> tuple[torch.Tensor, ...]:
    return (torch.zeros(blank_shape(spec, batch=2)),)


def _any_batch() -> tuple[dict[int, Any], ...]:
    return ({0: torch.export.Dim("batch", min=1)},)
