"""MAFW's class names and its label tables: `single_label.txt`, `multi_label.txt`, `single_set.xlsx`, `multi_set.xlsx`.

A compound label is a set: `surprise_fear` is `fear_surprise`. The tables' columns are found by what is in them: the first
cell that is a clip, and the cells that name a class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ferbench.datasets.clip_tree import find_files
from ferbench.datasets.fold_lists import Row
from ferbench.datasets.reading import Tally
from ferbench.datasets.spreadsheet import xlsx_rows
from ferbench.labels import LabelSet, canonical_name
from ferbench.textfiles import csv_rows, numbered_lines

_ID = re.compile(r"0*([0-9]{1,5})(\.[A-Za-z0-9]{1,4})?")
_BETWEEN = re.compile(r"[\s,;+/&|_-]+")


class ClassNames:
    """Class names in any spelling and any order of their parts -> label."""

    def __init__(self, labels: LabelSet) -> None:
        self._by_name = {canonical_name(name): label for label, name in enumerate(labels.names)}
        sets: dict[frozenset[str], int | None] = {}
        for name, label in self._by_name.items():
            parts = frozenset(name.split("_"))
            sets[parts] = None if parts in sets else label
        self._by_parts = {parts: label for parts, label in sets.items() if label is not None}
        self._words = {word for name in self._by_name for word in name.split("_")}

    def label_of(self, text: str) -> int | None:
        """The label of a name, by its spelling or else by its parts; None for no class."""
        name = canonical_name("_".join(_BETWEEN.split(text)))
        exact = self._by_name.get(name)
        return exact if exact is not None else self._by_parts.get(frozenset(name.split("_")))

    def label_of_cells(self, cells: list[str]) -> int | None:
        """The label that a row's cells name: one cell, or one per part of a compound label."""
        for cell in cells:
            label = self.label_of(cell)
            if label is not None and "_" in canonical_name("_".join(_BETWEEN.split(cell))):
                return label
        words = [cell for cell in cells if canonical_name(cell) in self._words]
        return self.label_of("_".join(words)) if words else None


def clip_id(text: str) -> str | None:
    """`00025.mp4`, `00025` or `25` as `00025`; None for anything else."""
    match = _ID.fullmatch(text.strip())
    return match[1].zfill(5) if match else None


def find_table(root: Path, *, compound: bool) -> Path | None:
    """The label table of single or of multiple labels below the root, or None; text is preferred to a spreadsheet."""
    kind = "multi" if compound else "single"
    for pattern in (rf"{kind}_(label|set)\.(txt|csv)", rf"{kind}_(label|set)\.xlsx"):
        found = find_files(root, pattern)
        if found:
            return found[0]
    return None


def read_table(path: Path, names: ClassNames, tally: Tally) -> tuple[tuple[Row, ...], int]:
    """The rows of a table, by clip, and how many it has; what cannot be read, or comes twice, is skipped with its line."""
    rows: dict[str, Row] = {}
    rows_read = 0
    for index, (number, cells) in enumerate(_cells(path)):
        where = f"{path}:{number}"
        clip = next((found for found in map(clip_id, cells) if found), None)
        if clip is None and index == 0:
            continue
        rows_read += 1
        label = names.label_of_cells([cell for cell in cells if not clip_id(cell)])
        if clip is None or label is None:
            tally.skip("bad-row", f"{where}: no clip and class in {' '.join(cells)[:60]!r}")
        elif clip in rows:
            tally.skip("duplicate", f"{where}: {clip!r} occurs a second time")
        else:
            rows[clip] = Row(clip, label, where)
    return tuple(rows[clip] for clip in sorted(rows)), rows_read


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        yield from xlsx_rows(path)
    elif suffix == ".csv":
        yield from csv_rows(path)
    else:
        for number, line in numbered_lines(path):
            yield number, [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
