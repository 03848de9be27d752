"""Lines of the journal to the columns of the tables, a stretch at a time: a million outcomes as objects are gigabytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench.errors import DataError

STRETCH = 16_384
"""Rows that are Python objects at once, and of a row group of faces.parquet."""


class Columns:
    """Columns of given types that grow by a value each."""

    def __init__(self, kinds: Mapping[str, pa.DataType]) -> None:
        self._kinds = dict(kinds)
        self._waiting: dict[str, list[Any]] = {name: [] for name in kinds}
        self._chunks: dict[str, list[pa.Array]] = {name: [] for name in kinds}
        self._count = 0

    def add(self, values: Mapping[str, Any]) -> None:
        """One row; a column that `values` lacks is null there."""
        for name, waiting in self._waiting.items():
            waiting.append(values.get(name))
        self._count += 1
        if self._count % STRETCH == 0:
            self._settle()

    def _settle(self) -> None:
        for name, waiting in self._waiting.items():
            self._chunks[name].append(pa.array(waiting, self._kinds[name]))
            waiting.clear()

    def arrays(self) -> dict[str, pa.ChunkedArray]:
        """All of them."""
        self._settle()
        return {name: pa.chunked_array(chunks, self._kinds[name]) for name, chunks in self._chunks.items()}


class FacesWriter:
    """Writes faces.parquet in row groups of `STRETCH`."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._waiting: dict[str, list[Any]] = {name: [] for name in schema.names}
        self._count = 0

    def add(self, sample_id: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """The crops of a sample, as the journal has them."""
        for row in rows:
            for name, waiting in self._waiting.items():
                waiting.append(sample_id if name == "sample_id" else row[name])
            self._count += 1
            if self._count % STRETCH == 0:
                self.flush()

    def flush(self) -> None:
        """Write what waits as a row group."""
        arrays = [pa.array(self._waiting[field.name], field.type) for field in self._schema]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        for waiting in self._waiting.values():
            waiting.clear()


def parts_of_line(line: str) -> tuple[dict[str, Any], list[tuple[dict[str, Any], list[dict[str, Any]]]]]:
    """A journal's line as plain values: the source sample, and (who, rows) of each row of the manifest, which is the
    sample itself or with `--faces all` its persons. DataError for a line that is damaged."""
    texts = line.split("\t")
    try:
        heads = [json.loads(text) for text in texts[::2]]
        shown = range(1, len(heads)) if len(heads) > 1 else range(1)
        return heads[0], [(heads[number], json.loads(texts[2 * number + 1])) for number in shown]
    except (ValueError, IndexError) as error:
        raise DataError(f"the journal is damaged at {line[:60]!r} ({error})") from error
