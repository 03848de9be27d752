"""ScoreRows: what a file of another tool says, before it is joined to anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.findings import Finding

NO_NUMBER = np.iinfo(np.int64).min
"""Stands in `ClassColumn.numbers` for an empty cell."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassColumn:
    """One class per row, as names or as integers; exactly one of the two is there."""

    names: pa.Array | None = None
    """(N,) string, null where empty."""
    numbers: NDArray[np.int64] | None = None
    """(N,) integers as the file has them, `NO_NUMBER` where empty."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreRows:
    """N rows of one or several files."""

    place: str
    """The file or folder, for messages."""
    count: int
    where: Callable[[int], str]
    """Row -> `file:line`, for messages."""
    names: pa.Array | None = None
    """(N,) string: sample id or path of each row, none of them null; None in a file that has none."""
    values: NDArray[np.float64] | None = None
    """(N, K) logits or probabilities; NaN where a cell is empty."""
    kind: str = ""
    """`logits` or `probabilities` where the file says which."""
    classes: tuple[str, ...] = ()
    """Names of the columns of `values` and of integers; empty where the file does not say."""
    predicted: ClassColumn | None = None
    targets: ClassColumn | None = None
    ignored: frozenset[int] = frozenset()
    """Integers that mean `no class` in this format: the -1 of Aff-Wild2."""
    reasons: Mapping[int, str] = field(default_factory=dict)
    """Row -> `reason: message` of why it has no prediction, where the file says so."""
    folds: tuple[str, ...] | None = None
    attributes: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was taken for what, for the record."""
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        lengths = {
            len(column)
            for column in (self.names, self.values, self.folds, *self.attributes.values())
            if column is not None
        }
        if lengths - {self.count}:
            raise PredictionsError(f"{self.place}: {self.count} rows, but columns of {sorted(lengths)}")
        if not self.count:
            raise PredictionsError(f"{self.place}: there is no row of predictions in it")


def joined_rows(parts: list[ScoreRows], *, place: str, files_are_folds: bool) -> ScoreRows:
    """Several files as one; PredictionsError names the two that cannot be one table."""
    first = parts[0]
    if files_are_folds:
        folds = [(stem_of(part.place),) * part.count for part in parts]
        if len({each[0] for each in folds}) < len(parts):
            raise PredictionsError(
                f"{place}: two files have the same name, and folds are named by their files; rename one"
            )
    else:
        folds = [part.folds for part in parts if part.folds is not None]
    for part in parts[1:]:
        _refuse_unlike(first, part)
    starts = np.cumsum([0, *(part.count for part in parts)])

    def where(row: int) -> str:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return parts[part].where(row - int(starts[part]))

    shared = set.intersection(*(set(part.attributes) for part in parts))
    return ScoreRows(
        place=place,
        count=int(starts[-1]),
        where=where,
        names=None if first.names is None else pa.concat_arrays([part.names for part in parts]),
        values=None if first.values is None else np.concatenate([part.values for part in parts]),
        kind=first.kind,
        classes=first.classes,
        predicted=_joined_classes([part.predicted for part in parts], place),
        targets=_joined_classes([part.targets for part in parts], place),
        ignored=first.ignored,
        folds=tuple(name for names in folds for name in names) if len(folds) == len(parts) else None,
        attributes={
            name: tuple(value for part in parts for value in part.attributes[name])
            for name in first.attributes
            if name in shared
        },
        facts=first.facts,
        findings=tuple(finding for part in parts for finding in part.findings),
    )


def stem_of(place: str) -> str:
    """`a/b.csv` -> `b`."""
    name = place.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] or name


def _refuse_unlike(first: ScoreRows, part: ScoreRows) -> None:
    facts = {
        "sample ids or paths": (first.names is None, part.names is None),
        "logits or probabilities": (first.values is None, part.values is None),
        "the number of value columns": (
            0 if first.values is None else first.values.shape[1], 0 if part.values is None else part.values.shape[1]
        ),
        "the kind of values": (first.kind, part.kind),
        "class names": (first.classes, part.classes),
        "predicted classes": (first.predicted is None, part.predicted is None),
        "labels": (first.targets is None, part.targets is None),
    }  # fmt: skip
    for what, (one, other) in facts.items():
        if one != other:
            raise PredictionsError(f"{first.place} and {part.place} differ in {what}; score them one by one")


def _joined_classes(columns: list[ClassColumn | None], place: str) -> ClassColumn | None:
    found = [column for column in columns if column is not None]
    if not found:
        return None
    if all(column.names is not None for column in found):
        return ClassColumn(names=pa.concat_arrays([column.names for column in found]))
    if all(column.numbers is not None for column in found):
        return ClassColumn(numbers=np.concatenate([column.numbers for column in found]))
    raise PredictionsError(f"{place}: some files have class names and some integers; score them one by one")
