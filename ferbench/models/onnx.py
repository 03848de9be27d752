"""ONNX files through onnxruntime (the extra `onnx`): a callable on tensors, and what the file says of its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ferbench.errors import MissingExtraError, ModelError
from ferbench.models.files import first_line
from ferbench.models.forward import LOGITS, in_batches_of

METADATA_KEY = "ferbench"
"""Property of the model under which its InputSpec lies, as JSON."""
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A loaded ONNX file."""

    run: Callable[[Tensor], Tensor]
    """Input of the file's layout to its logits, on the input's device; computed where onnxruntime computes."""
    hints: dict[str, Any]
    """What the shape of its input says of the InputSpec: layout, height, width, channels, clip_len."""
    spec_text: str
    """The InputSpec it carries, as JSON; empty when it carries none."""
    facts: dict[str, Any]


def read_onnx(path: Path, *, device: str) -> OnnxModel:
    """Load the file; MissingExtraError with the install line, or ModelError when it is no network on one tensor."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(f"{path}: ONNX files need onnxruntime: pip install 'ferbench[onnx]'") from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = torch.get_num_threads()
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        number = int(device.partition(":")[2] or 0)
        providers = [("CUDAExecutionProvider", {"device_id": number}), *providers]
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise ModelError(f"{path}: not a loadable ONNX file ({first_line(error)})") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES:
        found = ", ".join(f"{each.name} {each.type}" for each in inputs)
        raise ModelError(f"{path}: the network must take one tensor of floats, and it takes {found or 'nothing'}")
    outputs = [each.name for each in session.get_outputs()]
    wanted = next((name for name in LOGITS if name in outputs), outputs[0])
    about = session.get_modelmeta()
    properties = dict(about.custom_metadata_map)
    shape = list(inputs[0].shape)

    def call(clips: Tensor) -> Tensor:
        values = clips.detach().cpu().numpy().astype(_TYPES[inputs[0].type])
        (logits,) = session.run([wanted], {inputs[0].name: values})
        return torch.from_numpy(np.asarray(logits, np.float32)).to(clips.device)

    fixed = shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None
    facts = {key: value for key, value in properties.items() if key != METADATA_KEY and len(value) < 300}
    facts |= {"producer": about.producer_name} if about.producer_name else {}
    return OnnxModel(
        run=in_batches_of(fixed, call) if fixed else call,
        hints=shape_hints(shape),
        spec_text=properties.get(METADATA_KEY, ""),
        facts=facts,
    )


def shape_hints(shape: list[Any]) -> dict[str, Any]:
    """InputSpec settings that an input shape of numbers and names of free axes settles; empty where it settles none."""
    sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
    found: dict[str, Any] = {}
    if len(sizes) == 4:
        found["layout"], channels = "NCHW", sizes[1]
    elif len(sizes) == 5 and (sizes[1] in (1, 3)) != (sizes[2] in (1, 3)):
        first = sizes[1] in (1, 3)
        found["layout"], channels, frames = (
            "NCTHW" if first else "NTCHW", sizes[1 if first else 2], sizes[2 if first else 1],
        )  # fmt: skip
        found |= {"clip_len": frames} if frames else {}
    else:
        return {}
    if channels in (1, 3):
        found["channels"] = "grey" if channels == 1 else "rgb"
    for name, size in (("height", sizes[-2]), ("width", sizes[-1])):
        found |= {name: size} if size else {}
    return found
