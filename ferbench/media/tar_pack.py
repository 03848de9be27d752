"""A tar whose members are `key.name`: a WebDataset shard."""

from __future__ import annotations

import bisect
import io
import os
import tarfile

from ferbench.media.contents import Contents, read_at

PART_BYTES = 4 << 20
"""A part of a tar ends with the sample that reaches this."""
_NO_PICTURES = frozenset({"cls", "json", "txt", "__key__"})
"""Endings of what a WebDataset keeps beside pictures."""


_Member = tuple[str, int, int, int]
"""Name, offset of the header, offset of the contents, size."""


def _members(path: str) -> list[_Member]:
    """The files in a tar, in order. tarfile.TarError for what is none, or was cut short."""
    # Without a buffer: the headers of small members are read, and not what lies between them.
    with open(path, "rb", buffering=0) as file:
        members = _plain_members(file, os.fstat(file.fileno()).st_size)
        if members is not None:
            return members
        file.seek(0)
        with tarfile.open(path, "r:", fileobj=file) as tar:
            return [(member.name, member.offset, member.offset_data, member.size) for member in tar]


def _plain_members(file: io.FileIO, length: int) -> list[_Member] | None:
    """The members of a tar of nothing but files with short names, as packs are: tarfile takes four times as long.

    None where there is anything else in it, such as a header that tells a longer name. The layout is POSIX's ustar.
    """
    members, at = list[_Member](), 0
    while at < length:
        file.seek(at)
        header = file.read(512)
        if header == bytes(512):
            break
        if len(header) < 512 or header[257:263] != b"ustar\0" or header[156:157] not in (b"0", b"\0"):
            return None
        try:
            size, checksum = (
                int(header[begin:end].strip(b" \0") or b"0", 8) for begin, end in ((124, 136), (148, 156))
            )
            name, prefix = (header[begin:end].partition(b"\0")[0].decode() for begin, end in ((0, 100), (345, 500)))
        except ValueError:
            return None
        if checksum != sum(header) - sum(header[148:156]) + 8 * 32:
            return None
        members.append((f"{prefix}/{name}" if prefix else name, at, at + 512, size))
        at += 512 + -(-size // 512) * 512
    return members if members and at <= length else None


class TarPack:
    """Its parts are stretches of members."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._contents = Contents()
        self._begins: list[int] = []
        self._held: dict[int, bytes] = {}
        self._pictures, self._keys, last = 0, set[str](), ""
        self._end = 0
        for name, offset, begin, size in _members(path):
            folder, _, name = name.rpartition("/")
            stem, _, name = name.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            self._contents.add(key, [name], [(begin, size)])
            if not self._begins or (key != last and offset - self._begins[-1] >= PART_BYTES):
                self._begins.append(offset)
            if name.rpartition(".")[2] not in _NO_PICTURES:
                self._pictures += 1
                self._keys.add(key)
            last, self._end = key, begin + size

    def names(self, key: str) -> list[str]:
        """Names that begin with a frame's number."""
        return [name for name in self._contents.names(key) if name.partition(".")[0].isdecimal()]

    def read(self, key: str, name: str) -> bytes:
        """Straight from the member's place."""
        offset, size = self._contents.place(key, name)
        part = bisect.bisect_right(self._begins, offset) - 1
        held = self._held.get(part)
        if held is None:
            return read_at(self._path, offset, size)
        begin = offset - self._begins[part]
        return held[begin : begin + size]

    def counts(self) -> tuple[int, int]:
        """Keys with a picture, and pictures."""
        return len(self._keys), self._pictures

    def part_of(self, key: str) -> int | None:
        """By the place of its first member."""
        return bisect.bisect_right(self._begins, self._contents.only(key)[0]) - 1 if key in self._contents else None

    def part_bytes(self, part: int) -> int:
        """Headers are read with it."""
        begins = [*self._begins, self._end]
        return begins[part + 1] - begins[part]

    def hold(self, part: int) -> None:
        """As it stands in the file."""
        self._held[part] = read_at(self._path, self._begins[part], self.part_bytes(part))

    def release(self, part: int) -> None:
        """Let go of it."""
        self._held.pop(part, None)
