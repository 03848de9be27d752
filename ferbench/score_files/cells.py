"""The cells of a table's columns as numbers, texts, lists or classes, whatever their Arrow type is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.score_files.rows import NO_NUMBER, ClassColumn

Where = Callable[[int], str]


def texts(column: pa.Array, *, what: str, where: Where) -> pa.Array:
    """(N,) string without white space at the ends; empty cells are null. PredictionsError for lists and their kin."""
    if not pa.types.is_string(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowException as error:
            raise PredictionsError(
                f"{where(0)}: column {what!r} holds {column.type} values; text or numbers are needed"
            ) from error
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def numbers(column: pa.Array, *, what: str, where: Where) -> NDArray[np.float64]:
    """(N,) numbers, NaN where a cell is empty; PredictionsError names the first cell that is none."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = texts(column, what=what, where=where)
        try:
            column = column.cast(pa.float64())
        except pa.ArrowException:
            column = pa.array(_slowly(column, what, where), pa.float64())
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise PredictionsError(f"{where(0)}: column {what!r} holds {column.type} values; numbers are needed")
    if pa.types.is_integer(column.type):
        column = column.cast(pa.float64(), safe=False)
    result: NDArray[np.float64] = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
    return result


def _slowly(column: pa.Array, what: str, where: Where) -> list[float | None]:
    """Python's own idea of a number is wider than Arrow's: `+1`, `1_0` aside."""
    values: list[float | None] = []
    for row, text in enumerate(column.to_pylist()):
        try:
            values.append(None if text is None else float(text))
        except ValueError:
            raise PredictionsError(
                f"{where(row)}: column {what!r} must hold numbers, got {text[:80]!r}; --column says which columns do"
            ) from None
    return values


def classes(column: pa.Array, *, what: str, where: Where) -> ClassColumn:
    """Integers where every cell is a whole number, names otherwise; PredictionsError for fractions."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_dictionary(column.type):
        names = texts(column, what=what, where=where)
        try:
            found = names.cast(pa.float64())
        except pa.ArrowException:
            return ClassColumn(names=names)
        values = pc.fill_null(found, float("nan")).to_numpy(zero_copy_only=False)
    elif pa.types.is_boolean(column.type):
        raise PredictionsError(f"{where(0)}: column {what!r} holds true and false; classes are names or whole numbers")
    else:
        values = numbers(column, what=what, where=where)
    return ClassColumn(numbers=whole(values, what=what, where=where))


def whole(values: NDArray[np.float64], *, what: str, where: Where) -> NDArray[np.int64]:
    """(N,) integers, `NO_NUMBER` for NaN; PredictionsError names the first that is not whole."""
    empty = np.isnan(values)
    odd = ~empty & ((np.abs(values) > 2**31) | (values != np.floor(np.where(np.isfinite(values), values, 0))))
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        raise PredictionsError(
            f"{where(row)}: column {what!r} must hold classes, as names or whole numbers; got {values[row]:g}"
        )
    return np.where(empty, NO_NUMBER, np.where(empty, 0, values).astype(np.int64))


def looks_like_lists(column: pa.Array) -> bool:
    """Whether cells hold several numbers each: an Arrow list, or text such as `[0.1, 0.2]`, `0.1;0.2` or `0.1 0.2`."""
    if is_list(column.type):
        return True
    if not pa.types.is_string(column.type):
        return False
    first = next((text for text in column.slice(0, 100).to_pylist() if text and text.strip()), "")
    parts = _separated(pa.array([first]))[0].as_py().split(",")
    try:
        return len([float(part) for part in parts]) > 1
    except ValueError:
        return False


def is_list(kind: pa.DataType) -> bool:
    """Any of Arrow's list types."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def lists(column: pa.Array, *, what: str, where: Where) -> NDArray[np.float64]:
    """(N, K) numbers; a row of NaN where the cell is empty. PredictionsError names a row of another length."""
    if not is_list(column.type):
        text = texts(column, what=what, where=where)
        column = pc.split_pattern(_separated(text), ",")
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    there = np.flatnonzero(lengths >= 0)
    if not len(there):
        raise PredictionsError(f"{where(0)}: column {what!r} is empty in every row")
    width = int(lengths[there[0]])
    odd = there[lengths[there] != width]
    if len(odd):
        row = int(odd[0])
        raise PredictionsError(
            f"{where(row)}: {lengths[row]} values in {what!r}, but {width} in {where(int(there[0]))}; every sample has one "
            "per class"
        )
    rows = np.repeat(there, width)
    flat = numbers(pc.list_flatten(column), what=what, where=lambda index: where(int(rows[index])))
    values = np.full((len(column), width), np.nan)
    values[there] = flat.reshape(len(there), width)
    return values


def _separated(column: pa.Array) -> pa.Array:
    """`tensor([0.1  0.2])` -> `0.1,0.2`."""
    bare = pc.replace_substring_regex(column, r"(tensor|array)|[\[\]()]", "")
    return pc.utf8_trim(pc.replace_substring_regex(bare, r"[\s,;|]+", ","), ",")
