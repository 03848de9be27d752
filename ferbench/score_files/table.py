"""A table with one row per sample, from whatever file, as ScoreRows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferbench.errors import PredictionsError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.score_files import cells
from ferbench.score_files.cells import Where
from ferbench.score_files.columns import Columns, find_columns, nameless_columns
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.rows import ClassColumn, ScoreRows

MOST_ATTRIBUTES = 64


def rows_of_table(
    table: pa.Table, options: ScoreFileOptions, *, place: str, where: Where, named: bool = True, kind: str = "table"
) -> ScoreRows:
    """Find the columns and read them. `named` is False where the columns have numbers for names.

    Raises PredictionsError where nothing is predicted in it, or a cell does not hold what its column should.
    """
    if not table.num_rows:
        raise PredictionsError(f"{place}: there is no row of predictions in it")
    columns = {name: _one_array(table.column(name)) for name in table.column_names}
    known = LabelSet(options.classes) if options.classes else None
    if named:
        found = find_columns(
            table.column_names, options.columns, known=known, place=place,
            holds_lists=lambda name: cells.looks_like_lists(columns[name]),
        )  # fmt: skip
    else:
        first = [str(column[0].as_py() or "").strip() for column in columns.values()]
        found = nameless_columns(
            len(first), options.columns, num_classes=len(options.classes), first=first, place=place
        )
    if not found.values and not found.predicted:
        shown = ", ".join(table.column_names[:20])
        hint = f"; {found.target!r} was taken for the label" if found.target else ""
        raise PredictionsError(
            f"{place}: no column of predictions among {shown}{hint}; say which: --column predicted=NAME, or "
            "--column logits=FIRST,SECOND,…"
        )
    values = _values(columns, found, where)
    return ScoreRows(
        place=place,
        count=table.num_rows,
        where=where,
        names=_names(columns[found.sample], found.sample, where) if found.sample else None,
        values=values,
        kind=found.kind,
        classes=found.classes,
        predicted=_classes(columns, found.predicted, where),
        targets=_classes(columns, found.target, where),
        folds=_folds(columns[found.fold], where) if found.fold else None,
        attributes=_attributes(columns, found, where),
        facts={"format": kind, **{f"column {role}": name for role, name in found.facts().items()}},
        findings=tuple(Finding("note", "columns", f"{place}: {note}") for note in found.notes),
    )


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _values(columns: dict[str, pa.Array], found: Columns, where: Where) -> np.ndarray | None:
    if not found.values:
        return None
    if len(found.values) == 1:
        name = found.values[0]
        return cells.lists(columns[name], what=name, where=where)
    return np.stack([cells.numbers(columns[name], what=name, where=where) for name in found.values], axis=1)


def _names(column: pa.Array, what: str, where: Where) -> pa.Array:
    if cells.is_list(column.type):
        raise PredictionsError(f"{where(0)}: column {what!r} holds lists; a sample has one id or path")
    names = cells.texts(column, what=what, where=where)
    empty = pc.index(pc.is_null(names), True).as_py()
    if empty >= 0:
        raise PredictionsError(f"{where(empty)}: column {what!r} is empty; every row needs its sample")
    return names


def _classes(columns: dict[str, pa.Array], name: str, where: Where) -> ClassColumn | None:
    return cells.classes(columns[name], what=name, where=where) if name else None


def _folds(column: pa.Array, where: Where) -> tuple[str, ...]:
    folds = cells.texts(column, what="fold", where=where)
    empty = pc.index(pc.is_null(folds), True).as_py()
    if empty >= 0:
        raise PredictionsError(f"{where(empty)}: the fold is empty")
    # A fold written by pandas beside missing values is `1.0`.
    return tuple(pc.replace_substring_regex(folds, r"^([0-9]+)\.0+$", r"\1").to_pylist())


def _attributes(columns: dict[str, pa.Array], found: Columns, where: Where) -> dict[str, tuple[str | None, ...]]:
    """Other columns of texts: what scores may be given by. Numbers are measurements, not groups."""
    attributes: dict[str, tuple[str | None, ...]] = {}
    for name, column in columns.items():
        if name in found.used() or name.isdigit() or not name or not pa.types.is_string(column.type):
            continue
        values = cells.texts(column, what=name, where=where)
        try:
            values.cast(pa.float64())
        except pa.ArrowException:
            attributes[name] = tuple(values.to_pylist())
        if len(attributes) == MOST_ATTRIBUTES:
            break
    return attributes
