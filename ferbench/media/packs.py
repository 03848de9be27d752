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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ferbench.errors import MediaError

SUFFIXES = (".tar", ".parquet")
OPEN_PACKS = 8
"""Tables of contents kept in memory per process."""


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
        status = path.stat()
        return _opened(str(path), status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, tarfile.TarError) as error:
        raise MediaError(f"{path.name}: not a readable pack ({error})", reason="unreadable") from error


@functools.lru_cache(maxsize=OPEN_PACKS)
def _opened(path: str, size: int, modified: int) -> Pack:
    return TarPack(path) if path.endswith(".tar") else ParquetPack(path)


class TarPack:
    """A tar whose members are `key.name`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._members: dict[str, dict[str, tuple[int, int]]] = {}
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                stem, _, name = file.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                self._members.setdefault(key, {})[name] = (member.offset_data, member.size)

    def names(self, key: str) -> list[str]:
        """Names that begin with a frame's number."""
        return [name for name in self._members.get(key, {}) if name.partition(".")[0].isdecimal()]

    def read(self, key: str, name: str) -> bytes:
        """Straight from the member's place."""
        offset, size = self._members[key][name]
        with open(self._path, "rb") as file:
            file.seek(offset)
            return file.read(size)


class ParquetPack:
    """A parquet file with one row per sample."""

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path)
        if "key" not in self._file.schema_arrow.names:
            raise ValueError("it has no column 'key'")
        self._rows: dict[str, tuple[int, int]] = {}
        for group in range(self._file.num_row_groups):
            keys = self._file.read_row_group(group, columns=["key"]).column("key").to_pylist()
            self._rows |= {key: (group, row) for row, key in enumerate(keys)}
        self._group: tuple[int, Any] | None = None
        self._column = "image" if "image" in self._file.schema_arrow.names else "frames"

    def names(self, key: str) -> list[str]:
        """The names in the row's structs."""
        if key not in self._rows or self._column == "image":
            return []
        return [entry["path"] for entry in self._pictures(key)]

    def read(self, key: str, name: str) -> bytes:
        """From the row's group, which is kept until another is asked for."""
        entries = self._pictures(key)
        if self._column == "image":
            return bytes(entries[0]["bytes"])
        return next((bytes(entry["bytes"]) for entry in entries if entry["path"] == name), None) or _missing(name)

    def _pictures(self, key: str) -> list[dict[str, Any]]:
        group, row = self._rows[key]
        if self._group is None or self._group[0] != group:
            self._group = (group, self._file.read_row_group(group, columns=[self._column]).column(self._column))
        value = self._group[1][row].as_py()
        return [value] if self._column == "image" else list(value)


def _missing(name: str) -> bytes:
    raise KeyError(name)
