"""What a reader of other tools' predictions may be told where the file does not say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ferbench.errors import UsageError
from ferbench.labels import LabelSet

VALUES = ("auto", "logits", "probabilities")
COLUMN_ROLES = ("sample", "target", "predicted", "values", "logits", "probabilities", "fold")
"""What `--column ROLE=NAME` may name. `values`, `logits` and `probabilities` take several: `logits=2-8`, `logits=a,b,c`."""


@dataclass(frozen=True, slots=True)
class ScoreFileOptions:
    """How to read files of other tools; everything has a default that is looked for in the file itself."""

    format: str = ""
    """A name of `FORMATS`; empty is what the file looks like."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Role -> column name, or number from 0 in a file without names."""
    classes: tuple[str, ...] = ()
    """Class names in the order that the file's columns and integers have."""
    label_base: int = 0
    """The integer of the first class."""
    values: str = "auto"
    """`logits`, `probabilities`, or `auto`: probabilities when every row sums to 1."""
    files_are_folds: bool = False
    """Each file is one fold, named by its file."""

    def __post_init__(self) -> None:
        if self.values not in VALUES:
            raise UsageError(f"values must be one of {', '.join(VALUES)}, got {self.values!r}")
        if self.label_base not in (0, 1):
            raise UsageError(f"label-base must be 0 or 1, got {self.label_base}")
        unknown = [role for role in self.columns if role not in COLUMN_ROLES]
        if unknown:
            raise UsageError(f"--column knows {', '.join(COLUMN_ROLES)}, not {unknown[0]!r}")
        LabelSet(self.classes)


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """`--column sample=path` texts as a mapping; UsageError for one without `=`, an empty side or a role given twice."""
    columns: dict[str, str] = {}
    for text in texts:
        role, separator, name = (part.strip() for part in text.partition("="))
        if not separator or not role or not name:
            raise UsageError(f"--column takes ROLE=NAME, such as sample=path, got {text!r}")
        if role in columns:
            raise UsageError(f"--column {role} is given twice: {columns[role]!r} and {name!r}")
        columns[role] = name
    return columns


def parse_classes(text: str) -> tuple[str, ...]:
    """`neutral, happy,sad` as names in that order; empty text is none. LabelError for an empty or a doubled name."""
    return LabelSet.of(name.strip() for name in text.split(",")).names if text.strip() else ()
