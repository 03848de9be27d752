"""What a family of checks sees, and how it lists what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.cards import Card
from ferbench.checks.options import CheckOptions
from ferbench.checks.probing import Probes
from ferbench.checks.sides import Sides
from ferbench.findings import Finding
from ferbench.manifest import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """One manifest under examination."""

    manifest: Manifest
    options: CheckOptions
    card: Card | None
    """Of the dataset it was indexed from, where that is known."""
    sides: tuple[Sides, ...]
    """The folds and the fixed split that it holds."""
    probes: Probes
    """What the samples' files are; empty where no family that runs needs them."""
    fix: bool = False
    """Whether wrong frame counts are being corrected."""

    def sample_id(self, row: int) -> str:
        """Of one row."""
        return str(self.manifest.table.column("sample_id")[int(row)])

    def value(self, column: str, row: int) -> str:
        """Of one cell, as text."""
        return str(self.manifest.table.column(column)[int(row)])

    def failed(self) -> NDArray[np.bool_]:
        """(N,) True for rows that an earlier job already gave up."""
        return mask_of(pc.equal(self.manifest.table.column("status"), "failed"))

    def each(
        self, severity: str, rule: str, rows: Sequence[int] | NDArray[np.int64], say: Callable[[int], str], advice: str
    ) -> list[Finding]:
        """One finding for each of the first rows, `say(row)` being its message; and one that counts the others."""
        most = self.options.per_rule
        listed = [Finding(severity, rule, say(int(row)), advice, sample=self.sample_id(row)) for row in rows[:most]]
        return listed + rest(severity, rule, len(rows) - most, "samples", advice)


def rest(severity: str, rule: str, count: int, what: str, advice: str) -> list[Finding]:
    """The finding that stands for those that are not listed one by one; [] when there are none."""
    return [Finding(severity, rule, f"and {count:,} more {what}", advice, count=count)] if count > 0 else []


def mask_of(array: pa.ChunkedArray) -> NDArray[np.bool_]:
    """A boolean Arrow column as numpy; null is False."""
    return pc.fill_null(array, False).to_numpy()  # type: ignore[no-any-return]


def counted_words(counts: Sequence[tuple[str, int]], most: int = 8) -> str:
    """`happy 5, sad 9`, those that are not 0."""
    shown = [f"{name} {count:,}" for name, count in counts if count]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
