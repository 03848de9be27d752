"""What the manifest knows of each scored sample, to score subgroups and to draw whole subjects or videos by."""

from __future__ import annotations

import pyarrow as pa

from ferbench.jobs.evaluate.select import Selected
from ferbench.manifest import SCHEMA, Manifest
from ferbench.predictions import COLUMNS

OF_SCHEMA = ("subject", "group")
MOST = 32
"""Attributes that predictions carry; a manifest of hundreds of columns is somebody's features."""


def attributes_of(manifest: Manifest, selected: Selected) -> dict[str, tuple[str | None, ...]]:
    """`subject`, `group` and every column of text or whole numbers that a dataset added, as text, for the rows selected."""
    names = [name for name in OF_SCHEMA if manifest.has_values(name)]
    names += [
        field.name
        for field in manifest.table.schema
        if field.name not in SCHEMA.names
        and field.name not in COLUMNS
        and _is_plain(field.type)
        and manifest.has_values(field.name)
    ]
    rows = pa.array(selected.rows, pa.int64())
    table = manifest.table.select(names[:MOST]).take(rows)
    return {name: tuple(table.column(name).cast(pa.string()).to_pylist()) for name in table.column_names}


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))
