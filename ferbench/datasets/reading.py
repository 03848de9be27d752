"""Reading: what a reader found in somebody's copy of a dataset, and the tally of what it left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ferbench.cards import Card
from ferbench.errors import UsageError
from ferbench.findings import Finding
from ferbench.labels import LabelSet

MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Skip:
    """Rows of the copy that became no sample, by reason."""

    reason: str
    """Kebab-case: `bad-row`, `no-label`, `not-a-face`."""
    severity: str
    """`error` for what should not be there, `note` for what the dataset is known to hold."""
    count: int
    first: tuple[str, ...]
    """Where the first few are: `file:line: what`."""

    def as_finding(self) -> Finding:
        """For the summary and the exit code."""
        return Finding(
            self.severity, self.reason, f"{self.count:,} rows skipped: {'; '.join(self.first)}", count=self.count
        )


class Tally:
    """Counts what a reader leaves out, with the first few places; made into `Reading.skipped` at the end."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], tuple[int, list[str]]] = {}

    def skip(self, reason: str, where: str, *, severity: str = "error", count: int = 1) -> None:
        """`count` rows are left out for `reason`; `where` says which and what is wrong."""
        total, first = self._entries.get((reason, severity), (0, []))
        if len(first) < MOST_SHOWN:
            first.append(where)
        self._entries[reason, severity] = (total + count, first)

    def skips(self) -> tuple[Skip, ...]:
        """Everything skipped, in the order of first occurrence."""
        return tuple(
            Skip(reason, severity, count, tuple(first)) for (reason, severity), (count, first) in self._entries.items()
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """What was found. Every row of the label source is a sample or is counted in `skipped`."""

    columns: Mapping[str, Sequence[Any]]
    """Manifest columns: `sample_id`, `path` (relative to the root), `media` and any other; sequences, numpy or Arrow.
    `label` holds indices into `labels`, None or null where unknown."""
    labels: LabelSet
    """The class order that this copy's labels were read in. The index job maps it to the card's order by name."""
    layout: str
    """Which layout was recognised, with the folder or file that decided it."""
    rows_read: int
    """Rows of the label source: lines of the list, files of the tree."""
    base: int | None = None
    """First integer of the copy's labels, where they are integers."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What decides which published counts apply: `{"layout": "npy", "rule": "majority"}`."""
    skipped: tuple[Skip, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What differs from the official layout, beyond counts and missing files."""
    files_known: bool = False
    """True when the paths come from a listing of the disk, so that none of them needs to be looked for again."""

    def __post_init__(self) -> None:
        rows = len(self.columns["sample_id"])
        skipped = sum(skip.count for skip in self.skipped)
        if self.rows_read != rows + skipped:
            raise ValueError(f"read {self.rows_read} rows, but {rows} samples and {skipped} skipped")


def resolve_options(card: Card, given: Mapping[str, str]) -> dict[str, str]:
    """The reader's options with their defaults; UsageError for an option or value that the card does not list."""
    for name, value in given.items():
        if name not in card.options:
            known = ", ".join(card.options) or "none"
            raise UsageError(f"{card.name} has no option {name!r}; its options: {known}")
        choices = card.options[name]
        if choices and value not in choices:
            raise UsageError(f"{card.name}: option {name} is one of {', '.join(choices)}, got {value!r}")
    return {name: given.get(name, choices[0] if choices else "") for name, choices in card.options.items()}
