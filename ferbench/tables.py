"""Parquet files that say what they mean: an Arrow table with ferbench's metadata as JSON in its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench.errors import DataError
from ferbench.storage import write_atomically

FORMAT_VERSION = 1
"""Of the metadata; a file of a later version is refused with the advice to upgrade."""


def write_table(
    table: pa.Table, path: Path, *, kind: str, metadata: Mapping[str, Any], staging: Path | None = None
) -> None:
    """Write atomically; equal tables and metadata give equal bytes. `kind` names what the file is."""
    text = json.dumps({"format": FORMAT_VERSION, **metadata}, sort_keys=True)
    described = table.combine_chunks().replace_schema_metadata({_key(kind): text.encode()})
    write_atomically(path, lambda temporary: pq.write_table(described, temporary), staging=staging)


def read_table(path: Path, *, kind: str, error: type[DataError]) -> tuple[pa.Table, dict[str, Any]]:
    """The table without its schema metadata, and the metadata; `error` when the file is not one of that kind."""
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


def _key(kind: str) -> bytes:
    return f"ferbench.{kind.split()[-1]}".encode()
