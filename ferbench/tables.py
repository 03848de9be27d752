"""Parquet files that say what they mean: an Arrow table with ferbench's metadata as JSON in its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench import remote
from ferbench.errors import DataError
from ferbench.storage import write_atomically

FORMAT_VERSION = 1
"""Of the metadata; a file of a later version is refused with the advice to upgrade."""

ROWS_PER_GROUP = 1 << 20
"""Of a parquet file; pyarrow's own number."""


def write_table(
    table: pa.Table, path: Path, *, kind: str, metadata: Mapping[str, Any], staging: Path | None = None
) -> None:
    """Write atomically; equal tables and metadata give equal bytes. `kind` names what the file is."""
    text = json.dumps({"format": FORMAT_VERSION, **metadata}, sort_keys=True)
    described = _plainly_named(table).replace_schema_metadata({_key(kind): text.encode()})
    write_atomically(path, lambda temporary: _write_groups(described, temporary), staging=staging)


def _write_groups(table: pa.Table, path: Path) -> None:
    # Where chunks end would show in the bytes, so each group is one chunk; the whole as one would be in memory twice.
    with pq.ParquetWriter(path, table.schema) as writer:
        for start in range(0, max(1, len(table)), ROWS_PER_GROUP):
            writer.write_table(table.slice(start, ROWS_PER_GROUP).combine_chunks(), row_group_size=ROWS_PER_GROUP)


def read_table(path: Path, *, kind: str, error: type[DataError]) -> tuple[pa.Table, dict[str, Any]]:
    """The table without its schema metadata, and the metadata; `error` when the file is not one of that kind."""
    remote.ensure(path)
    try:
        table = pq.read_table(path)
    except FileNotFoundError as missing:
        raise error(f"{path}: no such file") from missing
    except (pa.ArrowInvalid, OSError) as broken:
        raise error(f"{path}: not a readable parquet file ({str(broken).splitlines()[0]})") from broken
    raw = (table.schema.metadata or {}).get(_key(kind))
    if raw is None:
        raise error(
            f"{path}: a parquet file, but not {kind} of ferbench: its metadata, with the class names, is missing"
        )
    try:
        metadata = json.loads(raw)
        version = int(metadata["format"])
    except (ValueError, KeyError, TypeError) as damaged:
        raise error(f"{path}: its ferbench metadata cannot be read ({damaged!r})") from damaged
    if version > FORMAT_VERSION:
        raise error(f"{path}: its format {version} is newer than this ferbench knows; upgrade ferbench")
    return table.replace_schema_metadata(None), metadata


def _plainly_named(table: pa.Table) -> pa.Table:
    """Parquet calls the values of a list `element`, Arrow calls them `item`: a table that was read and one that was made
    are equal, and would be written differently."""
    fields = [
        field.with_type(pa.list_(field.type.value_type)) if pa.types.is_list(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)) if _has_elements(table) else table


def _has_elements(table: pa.Table) -> bool:
    return any(pa.types.is_list(field.type) and field.type.value_field.name != "item" for field in table.schema)


def _key(kind: str) -> bytes:
    return f"ferbench.{kind.split()[-1]}".encode()
