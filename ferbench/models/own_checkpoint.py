"""ferbench's own checkpoints: a safetensors file that says itself which network it is and what it was trained on.

The file is an ordinary safetensors file; any reader has the weights. One metadata entry, `ferbench`, holds JSON: the
network and its options, the classes in order, the input, the recipe of the faces, the protocol and how the epoch was
chosen. The bytes follow from the contents alone: the same training gives the same file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ferbench.errors import ModelError
from ferbench.inputspec import InputSpec
from ferbench.models.files import first_line
from ferbench.storage import write_bytes

KEY = "ferbench"
VERSION = 1
_NEXT = "fetch the file again, or load its weights as a bare state dict with --arch"


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointAbout:
    """What a checkpoint says of itself."""

    model: str
    """A built-in's name or `timm:NAME`. With a name of other code, the file is loaded with --arch alone."""
    input_spec: InputSpec
    labels: tuple[str, ...]
    """The classes, in the order of the outputs."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the network was built with beside `num_classes`."""
    recipe_id: str = ""
    """Recipe of the faces it was trained on."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """The protocol of the manifest, and which fold or split was trained and which held out."""
    selection: str = ""
    """What the epoch was chosen on: `validation`, `test`, `last`; empty is unknown."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else: manifest, epoch, seed, versions, the log of the training."""

    def as_facts(self) -> dict[str, Any]:
        """Plain values for a report: all but what the input spec says already."""
        return {
            "model": self.model, "options": dict(self.options), "labels": list(self.labels), "recipe_id": self.recipe_id,
            "protocol": dict(self.protocol), "selection": self.selection, **self.facts,
        }  # fmt: skip


def write_checkpoint(module: nn.Module, about: CheckpointAbout, path: Path) -> None:
    """Write the weights and what is known of them, atomically. Every tensor is stored as it is, on the CPU.

    Raises ModelError when something in `about` is no plain value, StorageError when the place cannot be written.
    """
    from safetensors.torch import save

    # Cloned, because safetensors refuses tensors that share memory (tied embeddings).
    state = {key: value.detach().cpu().contiguous().clone() for key, value in module.state_dict().items()}
    values = {
        "version": VERSION, "model": about.model, "options": dict(about.options), "labels": list(about.labels),
        "input_spec": about.input_spec.as_dict(), "recipe_id": about.recipe_id, "protocol": dict(about.protocol),
        "selection": about.selection, "facts": dict(about.facts), "weights_sha256": weights_sha256(state),
    }  # fmt: skip
    try:
        text = json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: what the checkpoint says of itself must be plain JSON values ({error})") from error
    write_bytes(path, save(state, metadata={KEY: text}))


def read_about(path: Path) -> CheckpointAbout | None:
    """What a safetensors file says of itself; None when it is not one of ferbench's.

    Raises ModelError when the file cannot be read, is of a version that is not known, or does not hold what it must.
    """
    text = _metadata(path).get(KEY)
    if text is None:
        return None
    values = _values(text, path)
    try:
        return CheckpointAbout(
            model=_of(values, "model", str), input_spec=InputSpec.from_dict(_of(values, "input_spec", dict)),
            labels=tuple(str(name) for name in _of(values, "labels", list)), options=_of(values, "options", dict),
            recipe_id=_of(values, "recipe_id", str), protocol=_of(values, "protocol", dict),
            selection=_of(values, "selection", str), facts=_of(values, "facts", dict),
        )  # fmt: skip
    except (KeyError, TypeError, ModelError) as error:
        raise ModelError(f"{path}: its {KEY} metadata is not as ferbench writes it ({error}); {_NEXT}") from error


def check_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """ModelError when the weights are not those the checkpoint was written with."""
    stated = _values(_metadata(path)[KEY], path).get("weights_sha256")
    if stated != weights_sha256(weights):
        raise ModelError(f"{path}: its weights are not those it was written with (their hash differs); {_NEXT}")


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, types, shapes and bytes of a state dict, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        digest.update(f"{key}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def with_labels(about: CheckpointAbout) -> InputSpec:
    """Its input spec with its classes and recipe, where the spec itself leaves them out."""
    spec = about.input_spec
    return dataclasses.replace(spec, classes=spec.classes or about.labels, recipe_id=spec.recipe_id or about.recipe_id)


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({first_line(error)})") from error


def _values(text: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}: its {KEY} metadata is not JSON ({error}); {_NEXT}") from error
    if not isinstance(values, dict) or values.get("version") != VERSION:
        version = values.get("version") if isinstance(values, dict) else None
        raise ModelError(
            f"{path}: a ferbench checkpoint of version {version!r}; this ferbench reads version {VERSION}. Update ferbench"
        )
    return values


def _of(values: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    value = values[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {type(value).__name__}, not {kind.__name__}")
    return value
