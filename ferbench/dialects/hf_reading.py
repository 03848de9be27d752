"""Reading a folder with `metadata.parquet` in its splits, whoever wrote it; the grammar is in `hf`."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench.dialects.lists import official_labels, read_order, sample_ids_of
from ferbench.dialects.options import ImportOptions
from ferbench.errors import FerbenchError, ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

METADATA = "metadata.parquet"
COLUMNS = {"image": "file_name", "video": "file_name", "frames": "file_names"}
"""Media -> the column that names them."""
HF_KEY = b"huggingface"
"""Key of a schema's metadata where Hugging Face keeps its features."""
_FOLDER = re.compile(r"fold_(?P<fold>[1-9]\d*)|(?P<part>train|training|val|valid|validation|dev|test|testing)")
_PARTS = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}
_ORDER = ("train", "validation", "test")
_MADE = frozenset({"file_name", "file_names", "path", "media", "split", "fold", "label"})
"""Columns that become others, or that the folder says."""


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """A folder with `train/metadata.parquet` or the like, or with `fold_1/metadata.parquet`.

    Raises ManifestError for a table that cannot be read or does not say what its samples are, UsageError for integers that
    nothing names.
    """
    found = sorted(_tables(place), key=lambda each: (each[1] or 0, _ORDER.index(each[2] or "train"), each[0]))
    if not found:
        raise ManifestError(f"{place}: no {METADATA} in train, validation, test or fold_1 is here")
    if len({fold is None for _, fold, _ in found}) > 1:
        raise ManifestError(f"{place}: folders of folds and of a fixed split lie together; name one, or clear up")
    root = (options.root or place).absolute()
    if not place.absolute().is_relative_to(root):
        raise ManifestError(f"{place}: does not lie below the root {root}")
    columns: dict[str, list[Any]] = {name: [] for name in ("path", "media", "split", "fold")}
    class_names: list[str | None] = []
    tables = []
    order: LabelSet | None = None
    for path, fold, part in found:
        table = _table(path)
        folder = path.parent.absolute().relative_to(root).as_posix()
        for row, (media, name) in enumerate(_media(table, path), start=1):
            if not name or posixpath.isabs(name):
                raise ManifestError(f"{path}: row {row}: the name {name!r} is not one below its folder")
            columns["path"].append(posixpath.normpath(posixpath.join(folder, name)))
            columns["media"].append(media)
        columns["split"] += [part] * len(table)
        columns["fold"] += [fold] * len(table)
        listed, names = _labels(table, path, options)
        class_names += listed
        order = order.united_with(names) if order and names else names or order
        tables.append(table.drop_columns([name for name in table.column_names if name in _MADE]))
    order = order or LabelSet(())
    labels = official_labels(options, order)
    missing = order.missing_from(labels)
    if missing:
        raise ManifestError(
            f"{place}: the class {missing[0]!r} is none of {options.dataset}: {', '.join(labels.names)}"
        )
    columns["label"] = [None if name is None else labels.label_of(name) for name in class_names]
    return _manifest(place, columns, tables, labels, options.dataset or place.absolute().name, root)


def _manifest(
    place: Path, columns: dict[str, Any], tables: Sequence[pa.Table], labels: LabelSet, name: str, root: Path
) -> Manifest:
    try:
        extra = pa.concat_tables(tables, promote_options="default")
        columns |= {column: extra.column(column).combine_chunks() for column in extra.column_names}
        if "sample_id" not in columns:
            columns["sample_id"] = sample_ids_of(columns["path"], columns["media"][0] if columns["media"] else "image")
        return manifest_of(columns, labels=labels, name=name, root=root)
    except FerbenchError as error:
        raise ManifestError(f"{place}: {error.message}", reason=error.reason) from error
    except (pa.ArrowException, ValueError) as error:
        raise ManifestError(f"{place}: its tables do not go together ({str(error).splitlines()[0]})") from error


def _tables(place: Path) -> Iterator[tuple[Path, int | None, str | None]]:
    """(metadata.parquet, fold or None, split or None) of every folder."""
    for path in place.glob(f"*/{METADATA}"):
        match = _FOLDER.fullmatch(path.parent.name)
        if match is None:
            raise ManifestError(f"{path}: the folder {path.parent.name!r} is neither a split nor fold_1, fold_2, …")
        part = match["part"]
        yield path, int(match["fold"]) if match["fold"] else None, _PARTS.get(part, part) if part else None


def _table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ManifestError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise ManifestError(f"{path}: a column name occurs twice in {table.column_names}")
    return table


def _media(table: pa.Table, path: Path) -> Iterator[tuple[str, str]]:
    """(media, path relative to the table's folder) of every row."""
    given = [name for name in ("file_name", "file_names") if name in table.column_names]
    if len(given) != 1:
        raise ManifestError(f"{path}: needs the column file_name, or file_names for frames; found {table.column_names}")
    for row, value in enumerate(table.column(given[0]).to_pylist(), start=1):
        where = f"{path}: row {row}"
        if given[0] == "file_names":
            yield "frames", _folder_of(value, where)
            continue
        if not isinstance(value, str):
            raise ManifestError(f"{where}: file_name must be text, got {value!r}")
        suffix = os.path.splitext(value)[1].lower()
        if suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            raise ManifestError(f"{where}: {value!r} is neither an image nor a video")
        yield ("video" if suffix in VIDEO_SUFFIXES else "image"), value


def _folder_of(names: object, where: str) -> str:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ManifestError(f"{where}: file_names must be a list of names, got {str(names)[:80]}")
    folders = {posixpath.dirname(name) for name in names}
    if len(folders) > 1 or "" in folders:
        raise ManifestError(
            f"{where}: the frames of a sample lie in one folder of their own, got {sorted(folders)[:3]}"
        )
    return str(folders.pop())


def _labels(table: pa.Table, path: Path, options: ImportOptions) -> tuple[list[str | None], LabelSet | None]:
    """(class name or None of every row, the classes in their order)."""
    if "label" not in table.column_names:
        return [None] * len(table), None
    values = table.column("label").to_pylist()
    if pa.types.is_string(table.schema.field("label").type) or pa.types.is_large_string(
        table.schema.field("label").type
    ):
        return values, LabelSet.of(sorted({name for name in values if name is not None}))
    if not pa.types.is_integer(table.schema.field("label").type):
        if table.column("label").null_count == len(table):
            return [None] * len(table), None
        raise ManifestError(
            f"{path}: label must be class names or whole numbers, not {table.schema.field('label').type}"
        )
    order = _class_label(table) if not options.labels else None
    order = order or read_order(options, "hf")
    outside = next((value for value in values if value is not None and not 0 <= value < len(order)), None)
    if outside is not None:
        raise ManifestError(f"{path}: label {outside} is not in 0..{len(order) - 1}")
    return [None if value is None else order.names[value] for value in values], order


def _class_label(table: pa.Table) -> LabelSet | None:
    """The names that Hugging Face keeps in the schema, where it does."""
    try:
        feature = json.loads((table.schema.metadata or {})[HF_KEY])["info"]["features"]["label"]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return LabelSet.of(names)
