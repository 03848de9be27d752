"""AffectNet's older release: training.csv and validation.csv, and pictures in numbered folders.

    subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal
    689/737db248…ca.jpg,134,134,899,899,181.64;530.91;…,1,0.785714,-0.055556

Some copies of one of the files have no header. 420,000 rows, of which Arrow makes columns; no row becomes a Python object.
Source: AffectNet's own description; DAN, affectnet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from ferbench.errors import DataError
from ferbench.textfiles import read_text, whole_number

COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression", "valence",
    "arousal",
)  # fmt: skip
KEPT = tuple(name for name in COLUMNS if name != "facial_landmarks")
BOX = ("face_x", "face_y", "face_width", "face_height")

_EDGES = ' \t"\r\ufeff'
_NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$"
_UNSAFE = r"(^[/\\])|(^[A-Za-z]:[/\\])|(\x00)|((^|[/\\])\.\.([/\\]|$))|(^$)"


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one file that have the right number of fields, as columns."""

    columns: Mapping[str, pa.Array]
    """`KEPT`, as text without outer blanks and quotes."""
    lines: NDArray[np.int64]
    """(N,) line of each row in the file, from 1."""
    broken: tuple[int, ...]
    """Lines of the rows with another number of fields."""

    @property
    def count(self) -> int:
        """Rows of the file, without a header and blank lines."""
        return len(self.lines) + len(self.broken)


def read_rows(path: Path) -> Rows:
    """One list as columns; DataError when it cannot be read or has other columns."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", reason="unreadable") from error
    try:
        # Arrow would fail in the middle, inside the function that counts bad rows; so the whole is looked at before.
        data.decode()
    except UnicodeDecodeError:
        data = read_text(path).encode()
    try:
        return _parse(path, data)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not valid CSV ({error})") from error


def _parse(path: Path, data: bytes) -> Rows:
    first = data.removeprefix(b"\xef\xbb\xbf")[:4096].lstrip().split(b"\n")[0].decode("utf-8", "replace").strip()
    names = [name.strip(_EDGES).lower() for name in first.split(",")]
    header = "expression" in names
    wanted = [name.lower() for name in KEPT]
    if not header:
        names = [name.lower() for name in COLUMNS]
    elif not set(wanted) <= set(names) or len(set(names)) != len(names):
        raise DataError(f"{path}:1: expected the columns {','.join(COLUMNS)}; got {first[:80]!r}")
    broken: list[int] = []
    blank: list[int] = []

    def invalid(row: pacsv.InvalidRow) -> str:
        (broken if row.text.strip() else blank).append(row.number)
        return "skip"

    # One thread: only then do bad rows know their line. For the same reason no quotes, which could hold line ends.
    table = pacsv.read_csv(
        pa.py_buffer(data),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=names),
        parse_options=pacsv.ParseOptions(quote_char=False, invalid_row_handler=invalid, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
        ),
    )
    columns = [pc.utf8_trim(_one_array(table.column(name)), _EDGES) for name in wanted]
    gone = np.array([*broken, *blank], np.int64)
    lines = np.setdiff1d(np.arange(1, table.num_rows + len(gone) + 1), gone, assume_unique=True)
    # A blank line is a row of nothing, and a header is a row too.
    there = np.any([pc.not_equal(column, "").to_numpy(zero_copy_only=False) for column in columns], axis=0)
    if header and there.any():
        there[int(there.argmax())] = False
    mask = pa.array(there)
    return Rows(
        {name: column.filter(mask) for name, column in zip(KEPT, columns, strict=True)}, lines[there], tuple(broken)
    )


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def whole_numbers(column: pa.Array) -> NDArray[np.int64]:
    """(N,) of a column of few different texts; -1 where one is no whole number from 0."""
    encoded = column.dictionary_encode()
    numbers = [whole_number(text) for text in encoded.dictionary.to_pylist()]
    table = np.array([number if number is not None and number >= 0 else -1 for number in numbers], np.int64)
    return np.asarray(table[encoded.indices.to_numpy(zero_copy_only=False)], np.int64)


def floats(column: pa.Array) -> NDArray[np.float64]:
    """(N,) of a column of numbers; NaN where a text is none."""
    valid = pc.match_substring_regex(column, _NUMBER)
    numbers = pc.cast(pc.if_else(valid, column, pa.scalar(None, pa.string())), pa.float64())
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def is_blank(column: pa.Array) -> NDArray[np.bool_]:
    """(N,) True where a field says that there is nothing."""
    nothing = pc.is_in(pc.utf8_lower(column), pa.array(["", "null", "nan", "none"]))
    return np.asarray(nothing.to_numpy(zero_copy_only=False), bool)


def is_unsafe(column: pa.Array) -> NDArray[np.bool_]:
    """(N,) True where a path is empty, absolute or leaves its folder."""
    return np.asarray(pc.match_substring_regex(column, _UNSAFE).to_numpy(zero_copy_only=False), bool)
