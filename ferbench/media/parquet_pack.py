"""A parquet file with one row per sample: `key`, and `frames` or `image`."""

from __future__ import annotations

import io
import os
import threading
from typing import Any

from ferbench.media.contents import Contents, read_at


class ParquetPack:
    """A parquet file with one row per sample; its parts are its groups of rows.

    A group is read once, to find where its pictures lie in the file: in one that is not compressed, as ferbench writes
    them, their bytes stand there as they are, and each is then read from its place. Else the group is read again whenever
    the one before was another.
    """

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._lock = threading.Lock()
        self._size = os.path.getsize(path)
        with pq.ParquetFile(path) as file:
            self._about = file.metadata
            schema = file.schema_arrow
            if "key" not in schema.names:
                raise ValueError("it has no column 'key'")
            self._column = "image" if "image" in schema.names else "frames"
            self._rows: dict[str, tuple[int, int]] = {}
            for group in range(file.num_row_groups):
                keys = file.read_row_group(group, columns=["key"]).column("key").to_pylist()
                self._rows |= {key: (group, row) for row, key in enumerate(keys)}
        self._contents = Contents()
        self._seen: set[int] = set()
        self._group: tuple[int, _Group] | None = None
        self._held: dict[int, _Group] = {}

    def names(self, key: str) -> list[str]:
        """The names in the row's structs."""
        if key not in self._rows or self._column == "image":
            return []
        group, row = self._rows[key]
        held = self._held.get(group)
        if held is not None:
            return held.names(row)
        return self._contents.names(key) if self._find(key) else self._kept(group).names(row)

    def read(self, key: str, name: str) -> bytes:
        """From what is held, from its place in the file, or from its row."""
        is_image = self._column == "image"
        group, row = self._rows[key]
        held = self._held.get(group)
        if held is None and self._find(key):
            return read_at(self._path, *(self._contents.only(key) if is_image else self._contents.place(key, name)))
        return (held or self._kept(group)).picture(row, None if is_image else name).to_pybytes()  # type: ignore[no-any-return]

    def counts(self) -> tuple[int, int]:
        """Rows, and the pictures in them."""
        if self._column == "image":
            return len(self._rows), len(self._rows)
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path, metadata=self._about) as file:
            names = f"{self._column}.{self._leaf('.path')}"
            lists = file.read(columns=[names]).column(self._column)
        return len(self._rows), sum(len(chunk.flatten()) for chunk in lists.chunks)

    def part_of(self, key: str) -> int | None:
        """Its group of rows."""
        return self._rows[key][0] if key in self._rows else None

    def part_bytes(self, part: int) -> int:
        """Of the pictures, as they are when they are unpacked."""
        return sum(chunk.total_uncompressed_size for chunk in self._chunks(part))

    def hold(self, part: int) -> None:
        """The pictures' columns of a group."""
        if part not in self._held:
            self._held[part] = self._read_group(part)[2]

    def release(self, part: int) -> None:
        """Let go of it."""
        self._held.pop(part, None)

    def _leaf(self, ending: str) -> str:
        """`list.element.path` where `ending` is `.path`: how the file calls a field of the pictures' structs."""
        about = self._about.row_group(0)
        paths = [about.column(number).path_in_schema for number in range(about.num_columns)]
        found = next(path for path in paths if path.startswith(f"{self._column}.") and path.endswith(ending))
        return str(found)[len(self._column) + 1 :]

    def _chunks(self, group: int) -> list[Any]:
        about = self._about.row_group(group)
        columns = [about.column(number) for number in range(about.num_columns)]
        return [each for each in columns if each.path_in_schema.startswith(f"{self._column}.")]

    def _read_group(self, group: int) -> tuple[int, bytes, _Group]:
        """Where its pictures begin in the file, what stands there, and the same as values: one read."""
        import pyarrow.parquet as pq

        chunks = self._chunks(group)
        begin = min(_begin_of(chunk) for chunk in chunks)
        end = max(_begin_of(chunk) + chunk.total_compressed_size for chunk in chunks)
        data = read_at(self._path, begin, end - begin)
        with pq.ParquetFile(_Stretch(data, begin, self._size), metadata=self._about) as file:
            column = file.read_row_group(group, columns=[self._column], use_threads=False).column(self._column)
        return begin, data, _Group(column)

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
        chunks = self._chunks(group)
        if any(each.compression != "UNCOMPRESSED" for each in chunks if each.path_in_schema.endswith(".bytes")):
            return
        begin, written, values = self._read_group(group)
        keys = [key for key, (of, _) in self._rows.items() if of == group]
        last = 0
        for key in keys:
            row = self._rows[key][1]
            places = []
            entries = values.pictures(row)
            for data in entries:
                # In the order they were written; one that is there twice stands there once.
                found = written.find(data, last) if data else -1
                found = written.find(data) if found < 0 and data else found
                if found < 0:
                    break
                last = found + len(data)
                places.append((begin + found, len(data)))
            names = values.names(row)
            if names and None not in names and len(places) == len(entries):
                self._contents.add(key, names, places)

    def _kept(self, group: int) -> _Group:
        with self._lock:
            if self._group is None or self._group[0] != group:
                self._group = (group, self._read_group(group)[2])
            return self._group[1]


class _Group:
    """The pictures of a group of rows, in memory."""

    def __init__(self, column: Any) -> None:
        import pyarrow as pa

        values = column.combine_chunks()
        values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
        self._bounds: list[int] | None = None
        if not pa.types.is_struct(values.type):
            self._bounds = values.offsets.to_pylist()
            values = values.values
        self._bytes, self._names = values.field("bytes"), values.field("path")

    def _range(self, row: int) -> tuple[int, int]:
        return (row, row + 1) if self._bounds is None else (self._bounds[row], self._bounds[row + 1])

    def names(self, row: int) -> list[Any]:
        """The names of a row's pictures."""
        begin, end = self._range(row)
        return self._names[begin:end].to_pylist()  # type: ignore[no-any-return]

    def pictures(self, row: int) -> list[Any]:
        """The bytes of a row's pictures, not copied."""
        return [self._bytes[place].as_buffer() for place in range(*self._range(row))]

    def picture(self, row: int, name: str | None) -> Any:
        """One by its name, or the first; not copied. KeyError."""
        begin, end = self._range(row)
        if name is not None:
            names = self._names[begin:end].to_pylist()
            if name not in names:
                raise KeyError(name)
            begin += names.index(name)
        if begin >= end or not self._bytes[begin].is_valid:
            raise KeyError(name)
        return self._bytes[begin].as_buffer()


class _Stretch(io.RawIOBase):
    """A stretch of a file in memory, for a reader that reads nothing else of the file."""

    def __init__(self, data: bytes, begin: int, size: int) -> None:
        super().__init__()
        self._data, self._begin, self._size, self._at = memoryview(data), begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        begin = self._at - self._begin
        found = self._data[begin : begin + len(buffer)] if begin >= 0 else self._data[:0]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _begin_of(chunk: Any) -> int:
    """Where a column of a group begins in the file."""
    return int(min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset))))
