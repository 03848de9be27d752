"""Label files as people have them: CRLF or LF, with or without a last newline or a BOM, UTF-8 or GB18030."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.labels import LabelSet

ENCODINGS = ("utf-8-sig", "gb18030")
"""Tried in turn. MAFW's captions are GBK, of which GB18030 is a superset."""


def read_text(path: Path) -> str:
    """A text file, decoded; line ends become `\\n`. DataError when it is missing or no text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", reason="unreadable") from error
    for encoding in ENCODINGS:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            # Not str.splitlines(): it would also cut at form feeds and Unicode line separators inside a caption.
            return text.replace("\r\n", "\n").replace("\r", "\n")
    raise DataError(f"{path}: not a text file in {' or '.join(ENCODINGS)}", reason="unreadable")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of every line that is not blank."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line


def csv_rows(path: Path, *, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of every row that is not blank; a quoting mistake is a DataError with its line."""
    reader = csv.reader(io.StringIO(read_text(path)), delimiter=delimiter)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error
        if any(field.strip() for field in fields):
            yield reader.line_num, fields


def whole_number(text: str) -> int | None:
    """`"3"`, `" 3 "` or `"3.0000000e+00"` as 3; None for anything that is no whole number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value == value and abs(value) < 2**53 and value == int(value) else None


def detect_base(numbers: Sequence[int], labels: LabelSet, *, expected: int, where: str) -> tuple[int, list[Finding]]:
    """The first integer of a copy's labels, 0 or 1, from the numbers themselves; and a warning when it is not `expected`.

    A 0 means base 0, a C (the number of classes) means base 1. With neither, or with both, the copy does not tell and the
    card's base is taken. Numbers outside 0..C tell nothing; the caller skips what is outside the range, row by row.
    """
    present = set(numbers)
    zero, top = 0 in present, len(labels) in present
    if zero != top:
        base = 0 if zero else 1
        if base == expected:
            return base, []
        message = f"{where}: labels are {base}-based, the official files are {expected}-based"
        return base, [Finding("warning", "label-base", message, "read as they are; other tools may be off by one")]
    message = f"{where}: labels do not tell whether they start at 0 or 1; taken as {expected}-based"
    return expected, [Finding("warning", "label-base", message, "check that the classes are what they should be")]
