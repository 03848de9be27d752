"""A tar whose members are `key.name`: a WebDataset shard."""

from __future__ import annotations

import bisect
import tarfile

from ferbench.media.contents import Contents, read_at

PART_BYTES = 4 << 20
"""A part of a tar ends with the sample that reaches this."""
_NO_PICTURES = frozenset({"cls", "json", "txt", "__key__"})
"""Endings of what a WebDataset keeps beside pictures."""


class TarPack:
    """Its parts are stretches of members."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._contents = Contents()
        self._begins: list[int] = []
        self._held: dict[int, bytes] = {}
        self._pictures, self._keys, last = 0, set[str](), ""
        # Without a buffer: the headers of small members are read, and not what lies between them.
        with open(path, "rb", buffering=0) as file, tarfile.open(path, "r:", fileobj=file) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, name = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                self._contents.add(key, [name], [(member.offset_data, member.size)])
                if not self._begins or (key != last and member.offset - self._begins[-1] >= PART_BYTES):
                    self._begins.append(member.offset)
                if name.rpartition(".")[2] not in _NO_PICTURES:
                    self._pictures += 1
                    self._keys.add(key)
                last = key
            self._end = tar.offset

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
