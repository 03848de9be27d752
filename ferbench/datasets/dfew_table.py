"""DFEW's label table, for copies without fold lists: `Annotation/annotation.xlsx`, the same saved as CSV, or `name,label`.

    1happy,2sad,3neutral,4angry,5surprise,6disgust,7fear,order,label
    0,1,9,0,0,0,0,1,3

Seven votes of ten annotators, the clip, and the class that most agree on; 0 is no single label. The columns are found by
their header; without one, they are in the order that the official README gives. Source: DFEW's README.txt, "annotation".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import find_files
from ferbench.datasets.fold_lists import Row
from ferbench.datasets.reading import Tally
from ferbench.datasets.spreadsheet import xlsx_rows
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.textfiles import csv_rows, detect_base, whole_number

TABLES = (
    r"annotations?\.csv",
    r"(dfew[-_ ]?)?(single[-_ ])?labels?\.csv",
    r"single[-_ ]label+ed\.csv",
    r"annotations?\.xlsx",
)
"""Names of label tables, the one that needs no spreadsheet library first."""
_CLIP_COLUMN = re.compile(r"(video|clip|file)?_?names?|video|clip|order|id|clip_id", re.IGNORECASE)
_LABEL_COLUMN = re.compile(r"labels?|annotation|emotion", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What the table holds: one row per clip, with the votes where the table has them."""

    rows: tuple[Row, ...]
    """A label below `base` is none."""
    votes: tuple[tuple[float, ...] | None, ...]
    base: int
    findings: tuple[Finding, ...]
    rows_read: int


@dataclass(frozen=True, slots=True)
class _Columns:
    clip: int
    label: int
    votes: tuple[int, ...] = ()


def find_table(root: Path) -> Path | None:
    """The label table below the root, or None; a CSV is preferred to a spreadsheet."""
    for pattern in TABLES:
        found = find_files(root, pattern)
        if found:
            return found[0]
    return None


def read_table(path: Path, card: Card, tally: Tally, clip_id: Callable[[str], str | None]) -> LabelTable:
    """Read a table. Clips without a single label are kept where they have votes, and noted; else skipped, and noted."""
    found: dict[str, tuple[Row, tuple[float, ...] | None]] = {}
    columns: _Columns | None = None
    rows_read = 0
    for index, (number, fields) in enumerate(_cells(path)):
        where = f"{path}:{number}"
        if index == 0:
            columns = _header(fields, card.labels)
            if columns is not None:
                continue
        rows_read += 1
        columns = columns or _by_position(len(fields), len(card.labels))
        clip, label, votes = _fields(fields, columns, clip_id)
        if clip is None or label is None:
            tally.skip("bad-row", f"{where}: no clip and label in {','.join(fields)!r}")
        elif clip in found:
            tally.skip("duplicate", f"{where}: {clip!r} occurs a second time")
        else:
            found[clip] = Row(clip, label, where), votes
    numbers = [row.label for row, _ in found.values()]
    if len(card.labels) in numbers or any(votes for _, votes in found.values()):
        numbers = [number for number in numbers if number]  # there, 0 is no class but no single label
    base, findings = detect_base(numbers, card.labels, expected=card.label_base or 0, where=str(path))
    kept: dict[str, tuple[Row, tuple[float, ...] | None]] = {}
    unlabelled = 0
    for clip, (row, votes) in sorted(found.items()):
        if base and row.label == 0 and votes is None:
            tally.skip("no-label", f"{row.where}: {clip} has no single label", severity="note")
        elif base <= row.label < base + len(card.labels) or (base and row.label == 0):
            kept[clip] = row, votes
            unlabelled += row.label < base
        else:
            tally.skip("label-range", f"{row.where}: label {row.label} is not in {base}..{base + len(card.labels) - 1}")
    if unlabelled:
        message = f"{unlabelled:,} clips have votes and no single label"
        findings.append(
            Finding("note", "no-label", message, "they are in the manifest without a label", count=unlabelled)
        )
    return LabelTable(
        rows=tuple(row for row, _ in kept.values()),
        votes=tuple(votes for _, votes in kept.values()),
        base=base,
        findings=tuple(findings),
        rows_read=rows_read,
    )


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    return xlsx_rows(path) if path.suffix.lower() == ".xlsx" else csv_rows(path)


def _header(fields: Sequence[str], labels: LabelSet) -> _Columns | None:
    """Where the columns are, from a header; None where the first row is none."""
    names = [re.sub(r"^[0-9]+\s*", "", field.strip()) for field in fields]
    clips = [place for place, name in enumerate(names) if _CLIP_COLUMN.fullmatch(name)]
    found = [place for place, name in enumerate(names) if _LABEL_COLUMN.fullmatch(name) and place not in clips]
    if not clips or not found:
        return None
    places = {label: place for place, name in enumerate(names) if name in labels for label in (labels.label_of(name),)}
    votes = tuple(places[label] for label in range(len(labels))) if len(places) == len(labels) else ()
    return _Columns(clips[0], found[0], votes)


def _by_position(fields: int, classes: int) -> _Columns:
    if fields == classes + 2:
        return _Columns(classes, classes + 1, tuple(range(classes)))
    return _Columns(0, 1)


def _fields(
    fields: Sequence[str], columns: _Columns, clip_id: Callable[[str], str | None]
) -> tuple[str | None, int | None, tuple[float, ...] | None]:
    if max(columns.clip, columns.label, *columns.votes) >= len(fields):
        return None, None, None
    votes = [whole_number(fields[place]) for place in columns.votes]
    if any(vote is None or vote < 0 for vote in votes):
        return None, None, None
    return (
        clip_id(fields[columns.clip]),
        whole_number(fields[columns.label]),
        tuple(float(vote or 0) for vote in votes) or None,
    )
