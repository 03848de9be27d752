"""Published counts, and what a manifest's counts differ from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.findings import Finding
from ferbench.manifest import Manifest

STRENGTHS = ("counted", "stated", "believed")
"""Counted in a public list; stated by a source; believed, with no source opened. Only the last is a mere warning."""
_KEYS = {"strength", "source", "where", "when", "total", "per-class"}


@dataclass(frozen=True, slots=True)
class PublishedCount:
    """How many samples a part of a dataset has, according to somebody."""

    strength: str
    total: int
    per_class: tuple[int, ...] | None = None
    """In the card's class order."""
    source: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Column -> value. `fold = 2` is the test part of fold 2, `train-of = 2` its train part; empty is everything."""
    when: Mapping[str, str] = field(default_factory=dict)
    """Facts about the copy (`layout`, `rule`, …) under which the figure applies; empty is always."""

    @classmethod
    def of(cls, entry: Mapping[str, Any], num_classes: int) -> PublishedCount:
        """From a card's `[[counts]]`; ValueError for what does not add up."""
        unknown = set(entry) - _KEYS
        if unknown:
            raise ValueError(f"unknown key {sorted(unknown)[0]!r} in [[counts]]; known: {', '.join(sorted(_KEYS))}")
        per_class = tuple(entry["per-class"]) if "per-class" in entry else None
        total = entry.get("total", sum(per_class) if per_class is not None else None)
        if entry["strength"] not in STRENGTHS:
            raise ValueError(f"strength must be one of {', '.join(STRENGTHS)}, got {entry['strength']!r}")
        if total is None:
            raise ValueError("a count needs total or per-class")
        if per_class is not None and len(per_class) != num_classes:
            raise ValueError(f"per-class must have {num_classes} numbers, got {len(per_class)}")
        if per_class is not None and sum(per_class) != total:
            raise ValueError(f"per-class sums to {sum(per_class)}, and total says {total}")
        return cls(
            entry["strength"], total, per_class, entry.get("source", ""), entry.get("where", {}), entry.get("when", {})
        )

    @property
    def part(self) -> str:
        """What is counted, in words: `train`, `test of fold 2`, `train of fold 2, scene Action`, `everything`."""
        words = {"fold": "test of fold {}", "train-of": "train of fold {}", "split": "{}"}
        parts = [words.get(key, f"{key} {{}}").format(value) for key, value in self.where.items()]
        return ", ".join(parts) or "everything"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "part": self.part, "strength": self.strength, "source": self.source, "total": self.total,
            "per_class": list(self.per_class) if self.per_class is not None else None,
            "where": dict(self.where), "when": dict(self.when),
        }  # fmt: skip


def verify_counts(
    manifest: Manifest, counts: Sequence[PublishedCount], *, facts: Mapping[str, str] | None = None
) -> list[Finding]:
    """What differs from the published counts that apply to `manifest`; [] when nothing does.

    Labelled rows are counted, failed ones too: a missing picture is another finding. A count of a fold is looked at only
    when the manifest has folds, one of a split only when it has splits.
    """
    facts = facts or {}
    findings: list[Finding] = []
    applicable = [count for count in counts if all(facts.get(key) == value for key, value in count.when.items())]
    for count in applicable:
        found = count_part(manifest, count.where)
        if found is not None:
            findings += _compare(manifest, count, found)
    return findings


def count_part(manifest: Manifest, where: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """(K,) labelled rows per class of a part, as `PublishedCount.where` names it; None when the manifest cannot tell."""
    mask = _mask(manifest, where)
    if mask is None:
        return None
    labels = manifest.table.column("label").fill_null(-1).to_numpy().astype(np.int64)
    return np.bincount(labels[mask & (labels >= 0)], minlength=len(manifest.labels))


def _mask(manifest: Manifest, where: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    """Rows of a part; None when the manifest cannot tell."""
    mask = np.ones(len(manifest), dtype=bool)
    for key, value in where.items():
        column = {"train-of": "fold"}.get(key, key)
        if not manifest.has_values(column):
            return None
        values = manifest.table.column(column)
        hit = pc.equal(values, pa.scalar(value, values.type))
        if key == "train-of":
            hit = pc.invert(hit)
        mask &= hit.fill_null(False).to_numpy()
    return mask


def _compare(manifest: Manifest, count: PublishedCount, found: NDArray[np.int64]) -> list[Finding]:
    total = int(found.sum())
    per_class = np.array(count.per_class) if count.per_class is not None else None
    if total == count.total and (per_class is None or np.array_equal(found, per_class)):
        return []
    severity = "warning" if count.strength == "believed" else "error"
    origin = f"{count.strength}{f', {count.source}' if count.source else ''}"
    names = manifest.labels.names
    if per_class is not None and sorted(found.tolist()) == sorted(per_class.tolist()):
        wrong = _permutation(found, per_class, names)
        return [
            Finding(
                severity,
                "class-order",
                f"{count.part}: the class counts are the published ones ({origin}) in another order: {wrong}",
                "the integers of this copy index another class order; give the reader the copy's own order, or fix it",
            )
        ]
    differing = [
        f"{name} {found[label]} of {per_class[label]}"
        for label, name in enumerate(names)
        if per_class is not None and found[label] != per_class[label]
    ]
    shown = ", ".join(differing[:8]) + (f" and {len(differing) - 8} more classes" if len(differing) > 8 else "")
    return [
        Finding(
            severity,
            "class-count",
            f"{count.part}: {total:,} samples, published are {count.total:,} ({origin}){f'; {shown}' if shown else ''}",
            "find out what this copy lacks or adds before you compare results with published ones",
        )
    ]


def _permutation(found: NDArray[np.int64], published: NDArray[np.int64], names: Sequence[str]) -> str:
    """`'happy' has the count of 'anger', …`, for the classes out of place."""
    by_count = {int(number): names[label] for label, number in enumerate(published)}
    wrong = [
        f"{names[label]!r} has the {int(number)} of {by_count[int(number)]!r}"
        for label, number in enumerate(found)
        if number != published[label]
    ]
    return ", ".join(wrong[:4]) + (", …" if len(wrong) > 4 else "")
