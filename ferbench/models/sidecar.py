"""The card beside a checkpoint: `ckpt.toml` next to `ckpt.pt`, with the model's input and what is known of it.

layout = "NCHW"
height = 112
width = 112
classes = ["neutral", "happy", "sad"]

[facts]
selection = "validation"
epoch = 37
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferbench import remote
from ferbench.errors import DataError
from ferbench.inputspec import InputSpec
from ferbench.settings import FILE_NAME, read_toml, resolve

FACTS = "facts"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the card says; all empty where there is none."""

    path: Path = Path()
    input: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the InputSpec."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def states_layout(self) -> bool:
        """True when it says enough of the input that nothing has to be tried out."""
        return "layout" in self.input


def read_sidecar(checkpoint: Path) -> Sidecar:
    """The card beside `checkpoint`, if there is one.

    Raises UsageError for an unknown or wrong setting, DataError for bad TOML; both name the card.
    """
    card = checkpoint.with_suffix(".toml") if checkpoint.name else checkpoint
    if not remote.has_file(card) or card.name == FILE_NAME:
        return Sidecar()
    values = read_toml(card)
    facts = values.pop(FACTS, {})
    if not isinstance(facts, dict):
        raise DataError(f"{card}: {FACTS!r} must be a table, [{FACTS}]")
    resolve(InputSpec, values, where=str(card))  # a mistake is one of the card, whatever it is combined with
    return Sidecar(card, values, facts)
