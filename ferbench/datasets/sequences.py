"""Posed sequences, neutral first and the expression at its peak last (CK+, Oulu-CASIA): whole, or the pictures people take.

sequence         the frames as one sample
last-3           the last three frames, a sample each
last-3-neutral   these, and the first frame as neutral
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ferbench.datasets.reading import Tally

COLUMNS = ("sample_id", "path", "media", "label", "num_frames", "subject")
LEAST = {"sequence": 1, "last-3": 3, "last-3-neutral": 4}
"""Way of taking frames -> how many frames a sequence must have."""


@dataclass(slots=True)
class SequenceRows:
    """Manifest columns, filled sequence by sequence."""

    frames: str
    """A key of `LEAST`."""
    neutral: int | None = None
    """Label of the first frame, for `last-3-neutral`."""
    columns: dict[str, list[Any]] = field(init=False)
    read: int = 0
    """Sequences left out, and samples: what `Reading.rows_read` wants."""

    def __post_init__(self) -> None:
        # What ties the pictures of one sequence together; a whole sequence is tied to nothing but its subject.
        names = COLUMNS if self.frames == "sequence" else (*COLUMNS, "group")
        self.columns = {name: [] for name in names}

    def skip(self, tally: Tally, reason: str, where: str, *, severity: str = "error") -> None:
        """One sequence is left out."""
        self.read += 1
        tally.skip(reason, where, severity=severity)

    def add(
        self, sequence: str, folder: str, names: list[str], *, label: int, subject: str, tally: Tally, **extra: str
    ) -> None:
        """The samples of one sequence: its id, its folder relative to the root, and its frames' names in order."""
        if len(names) < LEAST[self.frames]:
            what = f"{folder}: {len(names)} frames, and {self.frames} takes {LEAST[self.frames]}"
            return self.skip(tally, "too-few-frames", what)
        for values in self._samples(sequence, folder, names, label, subject):
            self.read += 1
            for column, value in zip(self.columns, values, strict=False):
                self.columns[column].append(value)
            for column, text in extra.items():
                self.columns.setdefault(column, []).append(text)
        return None

    def _samples(
        self, sequence: str, folder: str, names: list[str], label: int, subject: str
    ) -> Iterator[tuple[Any, ...]]:
        if self.frames == "sequence":
            yield sequence, folder, "frames", label, len(names), subject
            return
        chosen = [(name, label) for name in names[-3:]]
        if self.frames == "last-3-neutral" and self.neutral is not None:
            chosen.insert(0, (names[0], self.neutral))
        for name, number in chosen:
            stem = os.path.splitext(name)[0]
            picture = stem if stem.startswith(sequence) else f"{sequence}_{stem}"
            yield picture, f"{folder}/{name}", "image", number, 1, subject, sequence
