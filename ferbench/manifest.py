"""Manifest: the list of samples as one Arrow table with a fixed schema, and the parquet file that carries it.

Rows are samples. The label set, the recipe of the faces, the protocol of the folds and the provenance travel in the
file's schema metadata, so that a manifest alone says what its integers mean. Paths are POSIX and relative to a root:
the folder named in the metadata relative to the file's own folder, or the one the user gives (`--root`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferbench import remote
from ferbench.errors import DataError, ManifestError
from ferbench.labels import LabelSet
from ferbench.recipe import Recipe
from ferbench.tables import read_table, write_table

MEDIA = ("image", "video", "frames")
STATUSES = ("ok", "failed")
KIND = "a manifest"

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("media", pa.string(), nullable=False),
        pa.field("start_frame", pa.int32()),
        pa.field("end_frame", pa.int32()),
        pa.field("num_frames", pa.int32()),
        pa.field("label", pa.int16()),
        pa.field("votes", pa.list_(pa.float32())),
        pa.field("subject", pa.string()),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("fold", pa.int32()),
        pa.field("status", pa.string()),
        pa.field("error", pa.string()),
        pa.field("sha256", pa.string()),
    ]
)
"""The columns every manifest has, in this order; a job may add its own after them.

- sample_id: unique, and the only thing anything is joined by
- path: relative to the root; a video, an image, or the folder of a frame sequence, as `media` says
- start_frame, end_frame: half-open range within the source, 0-based; null is the whole source
- num_frames: frames of the sample; 1 for an image; null where nobody has counted yet
- label: index into the label set; null where unknown. votes: annotator counts or weights per class
- subject: the person. group: what else ties samples together (movie, scene, source video)
- split: train, validation or test of a fixed split. fold: 1-based, the fold whose test part the sample is in
- status: ok or failed, null before any job; error: `reason: message` of a failed sample
- sha256: of the source file's bytes
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One manifest row, built only where a single row is needed."""

    sample_id: str
    path: str
    media: str
    start_frame: int | None = None
    end_frame: int | None = None
    num_frames: int | None = None
    label: int | None = None
    votes: tuple[float, ...] | None = None
    subject: str | None = None
    group: str | None = None
    split: str | None = None
    fold: int | None = None
    status: str | None = None
    error: str | None = None
    sha256: str | None = None


_SAMPLE_FIELDS = tuple(field.name for field in dataclasses.fields(Sample))


@dataclass(frozen=True, eq=False)
class Manifest:
    """Samples with what their values mean. `root` is the absolute folder that `path` is relative to."""

    table: pa.Table
    labels: LabelSet
    name: str
    root: Path
    recipe: Recipe | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _conformed(self.table))
        _check(self)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"Manifest({self.name!r}, {len(self)} samples, {len(self.labels)} classes, root={str(self.root)!r})"

    def column(self, name: str) -> list[Any]:
        """One column as Python values."""
        if name not in self.table.column_names:
            raise ManifestError(
                f"manifest {self.name!r} has no column {name!r}; it has {', '.join(self.table.column_names)}"
            )
        return self.table.column(name).to_pylist()  # type: ignore[no-any-return]

    def has_values(self, name: str) -> bool:
        """True when the column exists and at least one row has a value in it."""
        return name in self.table.column_names and self.table.column(name).null_count < len(self)

    def samples(self) -> Iterator[Sample]:
        """The rows in order, one record at a time."""
        for batch in self.table.select(_SAMPLE_FIELDS).to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                row["votes"] = tuple(row["votes"]) if row["votes"] is not None else None
                yield Sample(**row)

    def with_columns(self, **columns: Sequence[Any] | pa.Array) -> Manifest:
        """The same rows with columns replaced or added."""
        table = self.table
        for name, values in columns.items():
            type_ = SCHEMA.field(name).type if name in SCHEMA.names else None
            array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, type=type_)
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), name, array)
            else:
                table = table.append_column(name, array)
        return dataclasses.replace(self, table=table)

    def where(self, mask: pa.Array | Sequence[bool]) -> Manifest:
        """The rows where `mask` is true, in order."""
        array = mask if isinstance(mask, (pa.Array, pa.ChunkedArray)) else pa.array(list(mask), type=pa.bool_())
        return self._unchecked(table=self.table.filter(array))

    def replace(self, **changes: Any) -> Manifest:
        """The same manifest with other metadata (or another table)."""
        if {"table", "labels"} & set(changes):
            return dataclasses.replace(self, **changes)
        return self._unchecked(**changes)

    def _unchecked(self, **changes: Any) -> Manifest:
        # Rows of a checked table need no second check, and 1,000 folds of a million rows would pay for it.
        unknown = set(changes) - {each.name for each in dataclasses.fields(self)}
        if unknown:
            raise TypeError(f"a manifest has no field {sorted(unknown)[0]!r}")
        copy = object.__new__(Manifest)
        for each in dataclasses.fields(self):
            object.__setattr__(copy, each.name, changes.get(each.name, getattr(self, each.name)))
        return copy

    def path_of(self, sample: Sample) -> Path:
        """Absolute path of a sample's media."""
        return self.root / sample.path


def manifest_of(
    columns: Mapping[str, Sequence[Any]],
    *,
    labels: LabelSet,
    name: str,
    root: Path,
    provenance: Mapping[str, Any] | None = None,
) -> Manifest:
    """A manifest from plain columns; columns of the schema that are not given are null.

    `sample_id`, `path` and `media` must be given. Raises ManifestError when a rule of the schema is broken.
    """
    length = len(columns["sample_id"])
    arrays: dict[str, pa.Array] = {}
    for schema_field in SCHEMA:
        values = columns.get(schema_field.name)
        arrays[schema_field.name] = (
            pa.nulls(length, schema_field.type) if values is None else _array(values, schema_field)
        )
    for extra in columns:
        if extra not in arrays:
            values = columns[extra]
            arrays[extra] = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return Manifest(pa.table(arrays), labels=labels, name=name, root=root.resolve(), provenance=provenance or {})


def _array(values: Sequence[Any], schema_field: pa.Field) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values  # Manifest casts it. pa.array() would make a Python object of every value of a ChunkedArray.
    try:
        return pa.array(values, type=schema_field.type)
    except (pa.ArrowException, OverflowError) as error:
        raise ManifestError(f"column {schema_field.name!r} must hold {schema_field.type} values: {error}") from error


def _conformed(table: pa.Table) -> pa.Table:
    """Columns in schema order with schema types, extras after them; ManifestError when one cannot be."""
    missing = [name for name in ("sample_id", "path", "media") if name not in table.column_names]
    if missing:
        raise ManifestError(f"the columns {', '.join(missing)} are missing; found: {', '.join(table.column_names)}")
    arrays = {}
    for schema_field in SCHEMA:
        if schema_field.name not in table.column_names:
            arrays[schema_field.name] = pa.nulls(table.num_rows, schema_field.type)
            continue
        column = table.column(schema_field.name)
        if column.type != schema_field.type:
            if pa.types.is_integer(schema_field.type) and not _is_number(column.type):
                raise ManifestError(f"column {schema_field.name!r} must hold whole numbers, not {column.type}")
            try:
                column = column.cast(schema_field.type)
            except pa.ArrowException as error:
                raise ManifestError(f"column {schema_field.name!r} must hold {schema_field.type}: {error}") from error
        arrays[schema_field.name] = column
    for name in table.column_names:
        if name not in arrays:
            arrays[name] = table.column(name)
    return pa.table(arrays)


def _is_number(kind: pa.DataType) -> bool:
    # Text that looks like numbers is refused: "1" as a class name must not become label 1.
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def unsafe_path_rule(path: str) -> str | None:
    """Why a manifest path is refused, or None: paths are relative POSIX paths that stay below their root."""
    if not path:
        return "is empty"
    if "\0" in path:
        return "has a NUL character"
    # Backslashes count as separators too: on Windows they are, elsewhere they are a rare part of a name.
    posix = path.replace("\\", "/")
    if posix.startswith("/") or (posix[:1].isalpha() and posix[1:3] == ":/"):
        return "is absolute; paths are relative to the manifest's root"
    if ".." in posix.split("/"):
        return "leaves the root with '..'"
    return None


def _check(manifest: Manifest) -> None:
    table = manifest.table
    for name in ("sample_id", "path", "media"):
        if table.column(name).null_count:
            _refuse(manifest, pc.is_null(table.column(name)), f"{name} is empty")
    ids = table.column("sample_id")
    # Ascending ids, which large readers give, are unique without a hash table of millions of strings.
    if not _ascending(ids) and len(pc.unique(ids)) != len(ids):
        counts = pc.value_counts(ids)
        twice = [entry["values"] for entry in counts.to_pylist() if entry["counts"] > 1]
        raise ManifestError(
            f"manifest {manifest.name!r}: {len(twice)} sample ids occur more than once, first: {twice[0]!r}"
        )
    paths = table.column("path")
    # One vectorised look for anything suspicious; the exact rule is then worked out for the first offender only.
    suspicious = pc.match_substring_regex(paths, r"(^[/\\])|(^[A-Za-z]:[/\\])|(\x00)|((^|[/\\])\.\.([/\\]|$))|(^$)")
    if pc.any(suspicious).as_py():
        index = pc.index(suspicious, True).as_py()
        path = paths[index].as_py()
        raise ManifestError(
            f"manifest {manifest.name!r}, sample {ids[index].as_py()!r}: path {path!r} {unsafe_path_rule(path)}",
            reason="unsafe-path",
        )
    _refuse(
        manifest, pc.invert(pc.is_in(table.column("media"), pa.array(MEDIA))), f"media is not one of {', '.join(MEDIA)}"
    )
    _refuse(
        manifest, pc.invert(pc.is_in(table.column("status"), pa.array([*STATUSES, None], pa.string()))),
        f"status is not one of {', '.join(STATUSES)}",
    )  # fmt: skip
    label = table.column("label")
    _refuse(
        manifest, pc.or_(pc.less(label, 0), pc.greater_equal(label, max(len(manifest.labels), 0))),
        f"label is outside 0..{len(manifest.labels) - 1} ({', '.join(manifest.labels.names) or 'no classes'})",
    )  # fmt: skip
    start, end = table.column("start_frame"), table.column("end_frame")
    _refuse(manifest, pc.less(start, 0), "start_frame is negative")
    _refuse(
        manifest, pc.less_equal(end, pc.coalesce(start, pa.scalar(0, pa.int32()))), "end_frame is not after start_frame"
    )
    _refuse(manifest, pc.less(table.column("fold"), 1), "fold is below 1; folds are numbered from 1")


def _ascending(values: pa.ChunkedArray) -> bool:
    """Whether each value is greater than the one before it."""
    return bool(pc.all(pc.less(values.slice(0, max(len(values) - 1, 0)), values.slice(1))).as_py() is not False)


def _refuse(manifest: Manifest, broken: pa.ChunkedArray, rule: str) -> None:
    """ManifestError naming the first row where `broken` is true; null counts as fine."""
    index = pc.index(pc.fill_null(broken, False), True).as_py()
    if index >= 0:
        sample = manifest.table.column("sample_id")[index].as_py()
        raise ManifestError(f"manifest {manifest.name!r}, sample {sample!r} (row {index + 1}): {rule}")


# --- the file ----------------------------------------------------------------------------------------------------------


def write_manifest(manifest: Manifest, path: Path, *, staging: Path | None = None) -> None:
    """Write parquet, atomically. Equal manifests at equal places relative to their root give equal bytes."""
    metadata = {
        "name": manifest.name,
        "root": remote.recorded(manifest.root, path.parent.resolve()),
        "labels": list(manifest.labels.names),
        "recipe": manifest.recipe.as_dict() if manifest.recipe else None,
        "recipe_id": manifest.recipe.id if manifest.recipe else None,
        "protocol": dict(manifest.protocol),
        "provenance": dict(manifest.provenance),
    }
    write_table(manifest.table, path, kind=KIND, metadata=metadata, staging=staging)


def read_manifest(path: Path, *, root: Path | None = None) -> Manifest:
    """Read a parquet manifest. `root` overrides the folder that its paths are relative to.

    Raises ManifestError when the file is missing, is not parquet, is not a ferbench manifest or breaks a rule.
    """
    table, metadata = read_table(path, kind=KIND, error=ManifestError)
    try:
        # Resolved, as it was when the relative root was written: '..' through a link leads elsewhere.
        base = root if root is not None else _read_root(metadata["root"], path.parent.resolve())
        return Manifest(
            table,
            labels=LabelSet.of(metadata["labels"]),
            name=metadata["name"],
            root=Path(os.path.normpath(base.absolute())),
            recipe=Recipe.from_dict(metadata["recipe"]) if metadata["recipe"] else None,
            protocol=metadata["protocol"],
            provenance=metadata["provenance"],
        )
    except DataError as error:
        raise ManifestError(f"{path}: {error.message}", reason=error.reason) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path}: its ferbench metadata cannot be read ({error!r})") from error


def _read_root(text: str, folder: Path) -> Path:
    """The folder that a recorded root means. ManifestError for a manifest of a store whose root is not there: it would have
    files of this machine read. Another bucket is named by a whole URL."""
    ours, base = remote.spot_of(folder), remote.meant(text, folder)
    theirs = remote.spot_of(base)
    if ours is not None and (theirs is None or (theirs.bucket != ours.bucket and not remote.is_url(text))):
        raise ManifestError(
            f"its root, {remote.shown(text)}, is outside of {ours.bucket}; say with --root where its media are",
            reason="unsafe-path",
        )
    return base
