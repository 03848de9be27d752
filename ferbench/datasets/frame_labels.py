"""One label per video frame, one line per frame: files of millions of lines, parsed without a Python object per line.

    Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise
    0
    -1

The usual lines, a digit with or without a sign, are read as arrays; every other line goes through `whole_number` by itself.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import DataError
from ferbench.textfiles import whole_number

NOT_A_NUMBER = np.iinfo(np.int16).min
"""Stands in `FrameLabels.values` for a line that holds no whole number."""
_MOST = 2**15 - 1
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, eq=False)
class FrameLabels:
    """What a file says."""

    header: tuple[str, ...] | None
    """The names of the first line; None where the file begins with a number."""
    values: NDArray[np.int16]
    """(frames,) the integer of each line, `NOT_A_NUMBER` where there is none."""
    first_line: int
    """Number of the line of the first value, from 1."""
    odd: dict[int, str]
    """Index into `values` -> text, of the lines that hold no whole number."""

    def line_of(self, index: int) -> int:
        """The line of a value, from 1."""
        return self.first_line + int(index)


def read_frame_labels(path: Path) -> FrameLabels:
    """Parse a file. Blank lines at its ends are no lines; in the middle they are, since a line's place is its frame.

    Raises DataError for a file that cannot be read or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", reason="unreadable") from error
    if b"\0" in data:
        raise DataError(f"{path}: not a text file", reason="unreadable")
    data = data.removeprefix(_BOM)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    body = data.lstrip(b"\n \t").rstrip()
    line = 1 + data[: len(data) - len(data.lstrip(b"\n \t"))].count(b"\n")
    first, _, rest = body.partition(b"\n")
    title = first.decode("utf-8", "replace").strip()
    header = None
    if body and whole_number(title) is None:
        header, body, line = tuple(name.strip() for name in title.split(",")), rest, line + 1
    values, odd = _parse(body)
    return FrameLabels(header, values, line, odd)


def _parse(body: bytes) -> tuple[NDArray[np.int16], dict[int, str]]:
    if not body:
        return np.empty(0, np.int16), {}
    # Two bytes more than the text, so that the byte after any start can be looked at.
    text = np.frombuffer(body + b"\n\n", np.uint8)
    ends = np.flatnonzero(text[:-1] == 10)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths, first, second = ends - starts, text[starts], text[starts + 1]
    plain = (lengths == 1) & (first >= 48) & (first <= 57)
    minus = (lengths == 2) & (first == 45) & (second >= 48) & (second <= 57)
    values = np.full(len(starts), NOT_A_NUMBER, np.int16)
    values[plain] = first[plain] - np.int16(48)
    values[minus] = np.int16(48) - second[minus]
    odd: dict[int, str] = {}
    for index in np.flatnonzero(~(plain | minus)).tolist():
        line = body[starts[index] : ends[index]].decode("utf-8", "replace")
        number = whole_number(line)
        if number is None:
            odd[index] = line.strip()
        else:
            values[index] = max(-_MOST, min(number, _MOST))
    return values, odd


_PICTURE = re.compile(r"([0-9]{1,9})\.(jpg|jpeg|png)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class NumberedPictures:
    """The numbered pictures of one folder."""

    numbers: NDArray[np.int32]
    """(pictures,) ascending, without doubles."""
    names: pa.Array | None
    """Their file names; None where each is five digits and `.jpg`."""

    def paths_of(self, numbers: NDArray[np.int32], digits: pa.Array, folder: str) -> pa.Array:
        """Paths of these numbers, whose `five_digits` are given; with the usual name where there is no such picture."""
        usual = pc.binary_join_element_wise(pa.scalar(f"{folder}/"), digits, pa.scalar(".jpg"), "")
        if self.names is None or not len(self.numbers):
            return usual
        own = pc.binary_join_element_wise(pa.scalar(folder), self.names.take(pa.array(self._places(numbers))), "/")
        return pc.if_else(pa.array(self.has(numbers)), own, usual)

    def has(self, numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
        """True where there is a picture of that number."""
        if not len(self.numbers):
            return np.zeros(len(numbers), dtype=bool)
        there: NDArray[np.bool_] = self.numbers[self._places(numbers)] == numbers
        return there

    def _places(self, numbers: NDArray[np.int32]) -> NDArray[np.intp]:
        return np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)


def list_pictures(folder: Path) -> NumberedPictures:
    """List a folder once. Files whose name is no number are none of its pictures. No pictures where there is no folder."""
    try:
        found = os.listdir(folder)
    except OSError:
        return NumberedPictures(np.empty(0, np.int32), None)
    numbers = _usual_numbers(found)
    if numbers is not None:
        return NumberedPictures(np.sort(numbers), None)
    # The usual name, then the shortest, where one number has two files.
    matches = [match for match in map(_PICTURE.fullmatch, found) if match]
    best: dict[int, str] = {}
    for match in sorted(matches, key=lambda match: (match[0] != f"{int(match[1]):05d}.jpg", len(match[0]), match[0])):
        best.setdefault(int(match[1]), match[0])
    ordered = sorted(best)
    return NumberedPictures(np.array(ordered, np.int32), pa.array([best[number] for number in ordered], pa.string()))


def _usual_numbers(names: list[str]) -> NDArray[np.int32] | None:
    """Numbers of names that are all five digits and `.jpg`; None when one is not."""
    # With a slash, which no name holds, between them, nine bytes and a slash can only be one name.
    joined = ("/".join(names) + "/").encode("utf-8", "surrogateescape")
    if not names or len(joined) != 10 * len(names):
        return None
    table = np.frombuffer(joined, np.uint8).reshape(-1, 10)
    digits = table[:, :5].astype(np.int32) - 48
    if (table[:, 5:] != np.frombuffer(b".jpg/", np.uint8)).any() or (digits < 0).any() or (digits > 9).any():
        return None
    return digits @ np.array([10_000, 1_000, 100, 10, 1], np.int32)


def five_digits(numbers: NDArray[np.int32]) -> pa.Array:
    """Numbers as text, padded with zeros to five digits."""
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 5, "0")
