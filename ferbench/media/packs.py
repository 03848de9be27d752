"""Packs: pictures of many samples in one file, addressed as if the file were a folder.

    faces/shards/00003.tar/clip_a            the frames of sample clip_a
    faces/shards/00003.tar/clip_a/00001.jpg  the first of them
    faces/shards/00003.tar/still_b.jpg       a sample that is one image

A tar is a WebDataset shard: `clip_a.00001.jpg` is a member, `clip_a` its key (what stands before the first dot). A parquet
file has one row per sample: `key`, and `frames` (a list of structs of bytes and name) or `image` (one such struct), which
the `datasets` library opens as images. Both are read at the place of the sample; what is where is kept per process.

A pack is made of parts, some samples that lie side by side: groups of rows, stretches of a tar. Who reads a pack in order
has a part read once and held in memory while it is wanted (`ferbench.media.streaming`).
"""

from __future__ import annotations

import functools
import os
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ferbench import remote
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

    def counts(self) -> tuple[int, int]:
        """(samples, pictures)."""

    def part_of(self, key: str) -> int | None:
        """Number of the part that the sample is in; None when it is not there."""

    def part_bytes(self, part: int) -> int:
        """What holding it takes."""

    def hold(self, part: int) -> None:
        """Read a part in one go; its pictures then come from memory. OSError, ValueError."""

    def release(self, part: int) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path into a pack."""

    pack: Path
    inner: str
    """What stands after the pack's name: a key, a key and a file name, or a key with an image's suffix."""

    def picture(self, pack: Pack) -> tuple[str, str]:
        """(key, file name) of one picture: `clip_a/00001.jpg`, or `still_b.jpg`, whose name is its suffix.

        `video/00001.jpg` may be either: it is a still where the pack has that key.
        """
        folder, _, name = self.inner.rpartition("/")
        stem, _, suffix = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if folder and stem.isdecimal() and pack.part_of(key) is None:
            return folder, name
        return key, suffix


def find_place(path: str | Path) -> Place | None:
    """The pack and the place in it, or None for an ordinary path. Only an existing file makes a pack of a name."""
    text = str(path)
    for suffix in SUFFIXES:
        end = text.find(f"{suffix}/")
        while end >= 0:
            pack = text[: end + len(suffix)]
            remote.ensure(pack)
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
    pack = open_pack(place.pack)
    try:
        return pack.read(*place.picture(pack))
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
    from ferbench.media.parquet_pack import ParquetPack
    from ferbench.media.tar_pack import TarPack

    return TarPack(path) if path.endswith(".tar") else ParquetPack(path)
