"""What a stopped training needs to continue: one file, replaced after every epoch."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ferbench import remote
from ferbench.errors import ModelError, UsageError
from ferbench.storage import write_bytes

STATE = "state.pt"


@dataclass(slots=True, eq=False)
class State:
    """After `epoch` epochs."""

    epoch: int = 0
    module: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    best: float = float("-inf")
    best_epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The log so far."""
    question: str = ""
    """Hash of recipe, data and versions: another training must not be continued with this one's state."""


def save_state(state: State, folder: Path) -> None:
    """Write it, atomically."""
    buffer = io.BytesIO()
    values = {name: getattr(state, name) for name in State.__dataclass_fields__}
    torch.save(values, buffer)
    write_bytes(folder / STATE, buffer.getvalue())


def load_state(folder: Path, *, question: str) -> State | None:
    """The state of an earlier run of the same training, or None where there is none.

    Raises UsageError when the folder holds another training, ModelError when the file cannot be read.
    """
    path = folder / STATE
    if not remote.has_file(path):
        return None
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        state = State(**values)
    except Exception as error:
        raise ModelError(f"{path}: not a readable training state ({error}); --overwrite starts anew") from error
    if state.question != question:
        raise UsageError(
            f"{path}: belongs to a training with another recipe or other data; choose another -o, or --overwrite"
        )
    return state
