"""Where in its file a pack's pictures lie."""

from __future__ import annotations

from array import array
from collections.abc import Iterable


class Contents:
    """Where in its file each sample's pictures lie: a few bytes a picture, not a few objects."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, array[int]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def add(self, key: str, names: Iterable[str], places: Iterable[tuple[int, int]]) -> None:
        """More pictures of a sample: their names, and (offset, size) of each."""
        known, numbers = self._rows.get(key, ("", array("Q")))
        for place in places:
            numbers.extend(place)
        joined = "\0".join(names)
        self._rows[key] = (f"{known}\0{joined}" if known else joined, numbers)

    def names(self, key: str) -> list[str]:
        """[] for a sample that is not there."""
        return self._rows[key][0].split("\0") if key in self._rows else []

    def place(self, key: str, name: str) -> tuple[int, int]:
        """(offset, size); KeyError."""
        names, numbers = self._rows[key]
        listed = names.split("\0")
        if name not in listed:
            raise KeyError(name)
        at = 2 * listed.index(name)
        return numbers[at], numbers[at + 1]

    def only(self, key: str) -> tuple[int, int]:
        """(offset, size) of a sample's first picture, whatever its name; KeyError."""
        numbers = self._rows[key][1]
        return numbers[0], numbers[1]


def read_at(path: str, offset: int, size: int) -> bytes:
    """A stretch of a file."""
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)
