"""The `hf` dialect: a folder that `datasets.load_dataset` of Hugging Face opens, and the card that its Hub shows.

    train/metadata.parquet       a row per sample: file_name, sample_id, label, subject, …
    train/clip_1.mp4             the media, named by sample id with `__` for `/`
    train/clip_2/00001.jpg       frames of a clip; its row has file_names in place of file_name
    validation/…, test/…
    fold_1/…, fold_2/…           cross-validation: the test part of every fold, so that each sample is here once
    README.md                    the dataset card: class names, where the splits are, licence and citation

    load_dataset("imagefolder", data_dir=FOLDER)            stills, and frames as a list of images in `images`
    load_dataset("videofolder", data_dir=FOLDER)            videos
    load_dataset(FOLDER)                                    either, by README.md
    load_dataset(FOLDER, "fold_1")                          train: all other folds; test: fold 1

Sources: huggingface/datasets packaged_modules/folder_based_builder, whose `metadata.parquet` names files below its own
folder and knows no others; `Features.from_arrow_schema`, which takes class names from the key `huggingface` of a table's
schema, so that `label` is a ClassLabel wherever it is opened. Labels are numbered in the dataset's official order, unless
`--labels` gives another. A sample may be without a label.

Reading takes that layout from anybody: metadata.parquet in folders named after splits, `label` a ClassLabel, names as
text, or integers with `--dataset` or `--labels`. metadata.csv and metadata.jsonl are not read; class folders without
metadata are the dialect imagefolder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench.cards import card_of
from ferbench.dialects.hf_card import card_text
from ferbench.dialects.hf_reading import COLUMNS, HF_KEY, METADATA, read_files
from ferbench.dialects.lists import label_numbers, refuse_options, usable_rows, whole_source, written_order
from ferbench.dialects.media_folder import RECORD, groups_of, media_name, record_of, source_of, stems
from ferbench.dialects.options import Content, ExportOptions
from ferbench.errors import ManifestError, MediaError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample
from ferbench.media import frame_files

__all__ = ["FILES", "VARIANTS", "format_files", "read_files"]

DIALECT = "hf"
VARIANTS = ("plain",)
FILES = re.compile(r"README\.md|(train|validation|test|fold_\d+)/metadata\.parquet")
VIDEO_SUFFIXES = frozenset({".mkv", ".mp4", ".avi", ".mpeg", ".mov"})
"""What videofolder takes for a video when it looks at a folder."""
_NOT_WRITTEN = frozenset({"path", "media", "start_frame", "end_frame", "split", "fold", "status", "error", "label"})
_VALUES: Mapping[pa.DataType, str] = {
    pa.string(): "string", pa.large_string(): "large_string", pa.bool_(): "bool", pa.float32(): "float32",
    pa.float64(): "float64", pa.int8(): "int8", pa.int16(): "int16", pa.int32(): "int32", pa.int64(): "int64",
    pa.uint8(): "uint8", pa.uint16(): "uint16", pa.uint32(): "uint32", pa.uint64(): "uint64",
}  # fmt: skip
"""Types of columns that can be written -> their names in Hugging Face's features; and lists of them."""


# --- writing ----------------------------------------------------------------------------------------------------------


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """The media, a metadata.parquet per folder, README.md, and the record of what was placed.

    ManifestError for a manifest of several kinds of media, a frame range, a video that videofolder would not see, and a
    column whose type Hugging Face's features do not have.
    """
    refuse_options(options, DIALECT, prefix="it holds the media themselves", short_count="it writes no counts")
    rows = usable_rows(manifest, options)
    media = _one_kind(rows)
    order = written_order(manifest, options, DIALECT)
    names = stems(rows, DIALECT)
    schema = _schema(rows, media, order)
    placed: dict[str, Content] = {}
    tables: dict[str, Content] = {}
    counts: dict[str, int] = {}
    for folder, part in groups_of(rows):
        files: list[str | list[str]] = []
        for sample in part.samples():
            _check(sample)
            name = media_name(sample, names[sample.sample_id])
            source = source_of(part, sample)
            files.append([f"{name}/{frame}" for frame in _frames(sample, source)] if media == "frames" else name)
            # A folder of links and not a link to a folder: what looks for media does not look behind links.
            linked = media == "frames" and options.media == "link"
            placed[f"{folder}/{name}"] = _linked_frames(source) if linked else source
        tables[f"{folder}/{METADATA}"] = _writer(_table(part, files, order, schema))
        counts[folder] = len(part)
    if any(name in placed for name in tables):
        raise ManifestError(f"a sample is called {METADATA!r}, which is the name of the table; rename it")
    readme = card_text(manifest, card_of(manifest), media, _card_features(schema, media), order, counts)
    record = record_of([*placed, "README.md"])
    return {RECORD: record, **placed, **tables, "README.md": readme}


def _one_kind(manifest: Manifest) -> str:
    kinds = sorted(set(manifest.column("media")))
    if len(kinds) != 1:
        raise ManifestError(f"manifest {manifest.name!r} has {' and '.join(kinds) or 'no samples'}; the {DIALECT} dialect "
                            "holds one kind of media")  # fmt: skip
    return str(kinds[0])


def _check(sample: Sample) -> None:
    whole_source(sample, DIALECT)
    suffix = os.path.splitext(sample.path)[1].lower()
    if sample.media == "video" and suffix not in VIDEO_SUFFIXES:
        raise ManifestError(
            f"sample {sample.sample_id!r}: videofolder does not see {suffix!r}; it sees {', '.join(sorted(VIDEO_SUFFIXES))}"
        )


def _frames(sample: Sample, folder: Path) -> list[str]:
    try:
        names = [path.name for path in frame_files(folder)]
    except MediaError as error:
        raise ManifestError(f"sample {sample.sample_id!r}: {error.message}", reason=error.reason) from error
    if not names:
        raise ManifestError(f"sample {sample.sample_id!r}: no frames in {folder}")
    return names


def _linked_frames(source: Path) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir()
        for frame in frame_files(source):
            os.symlink(os.path.abspath(frame), folder / frame.name)

    return write


def _writer(table: pa.Table) -> Callable[[Path], None]:
    return lambda path: pq.write_table(table, path)


def _schema(manifest: Manifest, media: str, order: LabelSet) -> pa.Schema:
    """The columns every metadata.parquet has, the same in all of them; columns without a value are left out."""
    file_type = pa.list_(pa.string()) if media == "frames" else pa.string()
    fields = [pa.field(COLUMNS[media], file_type), pa.field("sample_id", pa.string()), pa.field("label", pa.int64())]
    for field in manifest.table.schema:
        if field.name in _NOT_WRITTEN or field.name == "sample_id" or not manifest.has_values(field.name):
            continue
        if field.name in ("image", "images", "video") or re.fullmatch(r"(.*_)?file_names?", field.name):
            raise ManifestError(f"the column {field.name!r} means media to Hugging Face's folders; rename it")
        # Parquet gives lists another name for their items: one type for all, or equal tables give unequal files.
        is_list = pa.types.is_list(field.type)
        fields.append(pa.field(field.name, pa.list_(field.type.value_type) if is_list else field.type))
    features = {field.name: _feature(field, order) for field in fields}
    return pa.schema(fields, metadata={HF_KEY: json.dumps({"info": {"features": features}})})


def _feature(field: pa.Field, order: LabelSet) -> dict[str, Any]:
    if field.name == "label":
        return {"names": list(order.names), "_type": "ClassLabel"}
    if pa.types.is_list(field.type) and field.type.value_type in _VALUES:
        return {"feature": {"dtype": _VALUES[field.type.value_type], "_type": "Value"}, "_type": "List"}
    if field.type not in _VALUES:
        raise ManifestError(
            f"the column {field.name!r} is {field.type}, which the {DIALECT} dialect does not write; drop it"
        )
    return {"dtype": _VALUES[field.type], "_type": "Value"}


def _card_features(schema: pa.Schema, media: str) -> list[tuple[str, str, bool]]:
    """(name, type, whether a list) of every column as it is after loading."""
    features = []
    for field in schema:
        if field.name == COLUMNS[media]:
            features.append(("images" if media == "frames" else media, "video" if media == "video" else "image",
                             media == "frames"))  # fmt: skip
        elif field.name == "label":
            features.append((field.name, "class_label", False))
        else:
            is_list = pa.types.is_list(field.type)
            features.append((field.name, _VALUES[field.type.value_type if is_list else field.type], is_list))
    return features


def _table(manifest: Manifest, files: list[Any], order: LabelSet, schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(files, schema.field(0).type)]
    for name in schema.names[1:]:
        if name == "label":
            arrays.append(pa.array(label_numbers(manifest, order), pa.int64()))
        else:
            arrays.append(manifest.table.column(name).combine_chunks().cast(schema.field(name).type))
    return pa.Table.from_arrays(arrays, schema=schema)
