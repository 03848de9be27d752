"""Packs: pictures of many samples in one file, addressed as if the file were a folder.

    faces/shards/00003.tar/clip_a            the frames of sample clip_a
    faces/shards/00003.tar/clip_a/00001.jpg  the first of them
    faces/shards/00003.tar/still_b.jpg       a sample that is one image

A tar is a WebDataset shard: `clip_a.00001.jpg` is a member, `clip_a` its key (what stands before the first dot). A parquet
file has one row per sample: `key`, and `frames` (a list of structs of bytes and name) or `image` (one such struct), which
the `datasets` library opens as images. Both are read at the place of the sample; what is where is kept per process.
"""

from __future__ import annotations

import functools
import os
import tarfile
import threading
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ferbench.errors import MediaError

SUFFIXES = (".tar", ".parquet")
OPEN_PACKS = 512
"""Tables of contents kept in memory per process: a shuffled epoch goes to and fro between all shards of a data set."""

_opening = threading.Lock()


class Pack(Protocol):
    """The contents of one file."""

    def names(self, key: str) -> list[str]:
        """File names of a sample's frames; [] when the pack has no such sample of frames."""

    def read(self, key: str, name: str) -> bytes:
        """One picture's encoded bytes; KeyError when there is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path into a pack."""

    pack: Path
    inner: str
    """What stands after the pack's name: a key, a key and a file name, or a key with an image's suffix."""

    def picture(self) -> tuple[str, str]:
        """(key, file name) of one picture: `clip_a/00001.jpg`, or `still_b.jpg`, whose name is its suffix."""
        folder, _, name = self.inner.rpartition("/")
        if folder and name.partition(".")[0].isdecimal():
            return folder, name
        key, _, suffix = name.partition(".")
        return (f"{folder}/{key}" if folder else key), suffix


def find_place(path: str | Path) -> Place | None:
    """The pack and the place in it, or None for an ordinary path. Only an existing file makes a pack of a name."""
    text = str(path)
    for suffix in SUFFIXES:
        end = text.find(f"{suffix}/")
        while end >= 0:
            pack = text[: end + len(suffix)]
            if os.path.isfile(pack):
                return Place(Path(pack), text[end + len(suffix) + 1 :])
            end = text.find(f"{suffix}/", end + 1)
    return None


def frame_names(place: Place) -> list[str]:
    """File names of the frames of a sample in a pack, in order. MediaError when it is not there."""
    names = open_pack(place.pack).names(place.inner)
    if not names:
        raise MediaError(f"{place.pack.name}: it has no sample {place.inner!r}", reason="missing-file")
    return sorted(names)


def picture_bytes(place: Place) -> bytes:
    """One picture's encoded bytes. MediaError when it is not there."""
    key, name = place.picture()
    try:
        return open_pack(place.pack).read(key, name)
    except KeyError:
        raise MediaError(f"{place.pack.name}: it has no picture {place.inner!r}", reason="missing-file") from None
    except OSError as error:
        raise MediaError(f"{place.pack.name}: cannot be read ({error})", reason="unreadable") from error


def open_pack(path: Path) -> Pack:
    """The pack with its table of contents; read once per process while the file stays the same. MediaError."""
    try:
        status = os.stat(path)
        with _opening:  # one thread makes the table, the others wait for it
            return _opened(str(path), status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, tarfile.TarError) as error:
        raise MediaError(f"{path.name}: not a readable pack ({error})", reason="unreadable") from error


@functools.lru_cache(maxsize=OPEN_PACKS)
def _opened(path: str, size: int, modified: int) -> Pack:
    return TarPack(path) if path.endswith(".tar") else ParquetPack(path)


class _Contents:
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


def _read_at(path: str, offset: int, size: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)


class TarPack:
    """A tar whose members are `key.name`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._contents = _Contents()
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                stem, _, name = file.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                self._contents.add(key, [name], [(member.offset_data, member.size)])

    def names(self, key: str) -> list[str]:
        """Names that begin with a frame's number."""
        return [name for name in self._contents.names(key) if name.partition(".")[0].isdecimal()]

    def read(self, key: str, name: str) -> bytes:
        """Straight from the member's place."""
        return _read_at(self._path, *self._contents.place(key, name))


class ParquetPack:
    """A parquet file with one row per sample.

    A group of rows is read once, to find where its pictures lie in the file: in one that is not compressed, as ferbench
    writes them, their bytes stand there as they are, and each is then read from its place. Else the group is read again
    whenever the one before was another.
    """

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._lock = threading.Lock()
        self._file = pq.ParquetFile(path)
        schema = self._file.schema_arrow
        if "key" not in schema.names:
            raise ValueError("it has no column 'key'")
        self._column = "image" if "image" in schema.names else "frames"
        self._rows: dict[str, tuple[int, int]] = {}
        for group in range(self._file.num_row_groups):
            keys = self._file.read_row_group(group, columns=["key"]).column("key").to_pylist()
            self._rows |= {key: (group, row) for row, key in enumerate(keys)}
        self._contents = _Contents()
        self._seen: set[int] = set()
        self._group: tuple[int, Any] | None = None

    def names(self, key: str) -> list[str]:
        """The names in the row's structs."""
        if key not in self._rows or self._column == "image":
            return []
        if self._find(key):
            return self._contents.names(key)
        return [entry["path"] for entry in self._pictures(key)]

    def read(self, key: str, name: str) -> bytes:
        """From its place in the file, or from its row."""
        is_image = self._column == "image"
        if self._find(key):
            return _read_at(self._path, *(self._contents.only(key) if is_image else self._contents.place(key, name)))
        entries = self._pictures(key)
        if is_image:
            return bytes(entries[0]["bytes"])
        return next((bytes(entry["bytes"]) for entry in entries if entry["path"] == name), None) or _missing(name)

    def _find(self, key: str) -> bool:
        """Whether it is known where the sample's pictures lie."""
        group, _ = self._rows[key]
        with self._lock:
            if group not in self._seen:
                self._seen.add(group)
                self._locate(group)
            return key in self._contents

    def _locate(self, group: int) -> None:
        """Find the pictures of a group of rows in the file. A row where one is not found is left out."""
        about = self._file.metadata.row_group(group)
        columns = [about.column(number) for number in range(about.num_columns)]
        chunk = next((each for each in columns if each.path_in_schema.startswith(f"{self._column}.")
                      and each.path_in_schema.endswith(".bytes")), None)  # fmt: skip
        if chunk is None or chunk.compression != "UNCOMPRESSED":
            return
        begin = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
        written = _read_at(self._path, begin, chunk.total_compressed_size)
        values = self._file.read_row_group(group, columns=[self._column]).column(self._column)
        keys = [key for key, (of, _) in self._rows.items() if of == group]
        last = 0
        for key in keys:
            value = values[self._rows[key][1]]
            entries = [value] if self._column == "image" else list(value.values or ())
            names, places = [], []
            for entry in entries:
                data, name = entry["bytes"].as_buffer(), entry["path"].as_py()
                # In the order they were written; one that is there twice stands there once.
                found = written.find(data, last) if data else -1
                found = written.find(data) if found < 0 and data else found
                if found < 0 or name is None:
                    break
                last = found + len(data)
                names.append(name)
                places.append((begin + found, len(data)))
            if names and len(names) == len(entries):
                self._contents.add(key, names, places)

    def _pictures(self, key: str) -> list[dict[str, Any]]:
        group, row = self._rows[key]
        with self._lock:
            if self._group is None or self._group[0] != group:
                self._group = (group, self._file.read_row_group(group, columns=[self._column]).column(self._column))
            value = self._group[1][row].as_py()
        return [value] if self._column == "image" else list(value)


def _missing(name: str) -> bytes:
    raise KeyError(name)
