"""CSV, TSV and their kin: one sample a line, columns by name or by number.

    path,label,neutral,happy,sad                 names; class columns are logits or probabilities
    clips/a.mp4,happy,0.1,2.3,-1.0

    0,1,2,3,4,5,6,7,8                            ABAW2021's `<model>_validation_result.cvs`: pandas' numbers for names,
    video/00001.jpg,3,0.1,…                      then path, label and seven logits

    clips/a.mp4 3 4                              no names: sample, label, class

The sign between fields is a tab, comma, semicolon or white space, whichever the first line has. Source of the ABAW2021
file: xinqi-fan/ABAW2021 main_Aff_Wild2_EXPR.py, `validate`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence, Set
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from ferbench.errors import DataError, PredictionsError
from ferbench.score_files.cells import Where
from ferbench.score_files.columns import is_known_name
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.peek import Peek
from ferbench.score_files.rows import ScoreRows
from ferbench.score_files.table import rows_of_table
from ferbench.textfiles import csv_rows, read_text

TITLE = "CSV, TSV or text with one sample a line"
SEPARATORS = ("\t", ",", ";", " ")


def recognises(peek: Peek) -> bool:
    """Every text file that nobody else knows."""
    return bool(peek.lines)


def read(path: Path, options: ScoreFileOptions) -> ScoreRows:
    """Read one file; PredictionsError with file and line for what does not fit."""
    table, named, titled = read_delimited(path, set(options.columns.values()))
    where = line_finder(path, titled)
    return rows_of_table(table, options, place=str(path), where=where, named=named, kind="delimited")


def read_delimited(path: Path, asked: Set[str] = frozenset()) -> tuple[pa.Table, bool, bool]:
    """A table of texts, whether its columns have names, and whether its first line is a title; columns without names are
    called `0`, `1`, …. `asked` are names that the user gives to columns.

    Raises PredictionsError with the line for a row of another width, and for quoting that does not end.
    """
    try:
        text = read_text(path).lstrip("\n")
    except DataError as error:
        raise PredictionsError(error.message, reason=error.reason) from error
    separator = separator_of(text)
    if separator == " ":
        text = re.sub(r"(?m)^[ \t]+|[ \t]+$", "", re.sub(r"[ \t]+", " ", text))
    if not text.strip():
        raise PredictionsError(f"{path}: the file is empty")
    reader = csv.reader(io.StringIO("\n".join(text.split("\n", 2)[:2]) + "\n"), delimiter=separator)
    header, second = ([name.strip() for name in next(reader, [])] for _ in range(2))
    counted = header == [str(number) for number in range(len(header))] and len(header) > 1
    named = not counted and _has_names(header, second, asked)
    names = header if named else [str(number) for number in range(len(header))]
    if len(set(names)) != len(names) or "" in names[1:]:
        twice = next((name for name in names if names.count(name) > 1), "")
        raise PredictionsError(f"{path}:1: {f'the column {twice!r} occurs twice' if twice else 'a column has no name'}")
    # pandas writes its row numbers under an empty name.
    names[0] = names[0] or "row number"
    options = arrow_csv.ReadOptions(column_names=names, skip_rows=1 if named or counted else 0, block_size=16 << 20)
    kinds = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )  # fmt: skip
    parsing = arrow_csv.ParseOptions(delimiter=separator, newlines_in_values='"' in text)
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.encode()), read_options=options, convert_options=kinds, parse_options=parsing
        )
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise _explained(path, separator, len(names), error) from error
    if names[0] == "row number" and len(names) > 1:
        table = table.drop_columns(["row number"])
    return table, named, named or counted


def _has_names(first: Sequence[str], second: Sequence[str], asked: Set[str]) -> bool:
    """Whether the first row names the columns: no number in it, and a known name, or text above a number."""
    if any(_is_number(name) for name in first[1:] or first):
        return False
    if set(first) & asked or any(is_known_name(name) for name in first):
        return True
    return any(not _is_number(name) and _is_number(cell) for name, cell in zip(first, second, strict=False))


def separator_of(text: str) -> str:
    """The sign between the fields of the first line."""
    line = text.split("\n", 1)[0]
    return next((sign for sign in SEPARATORS if sign in line.strip()), ",")


def line_finder(path: Path, header: bool) -> Where:
    """Row -> `file:line`. The lines are counted when the first is asked for."""

    @lru_cache(maxsize=1)
    def lines() -> list[int]:
        try:
            found = [line for line, _ in csv_rows(path, delimiter=separator_of(read_text(path).lstrip("\n")))]
        except DataError:
            return []
        return found[1:] if header else found

    def where(row: int) -> str:
        found = lines()
        return f"{path}:{found[row]}" if row < len(found) else f"{path}, row {row + 1}"

    return where


def _explained(path: Path, separator: str, width: int, error: Exception) -> PredictionsError:
    """The same mistake, with its line."""
    try:
        for line, fields in csv_rows(path, delimiter=separator):
            if len(fields) != width:
                return PredictionsError(
                    f"{path}:{line}: expected {width} fields as in the first line, got {len(fields)}; is the file cut off?"
                )
    except DataError as mistake:
        return PredictionsError(mistake.message, reason=mistake.reason)
    return PredictionsError(f"{path}: not a readable table ({str(error).splitlines()[0][:200]})")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
