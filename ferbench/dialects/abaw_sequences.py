"""The `abaw-sequences` dialect: the table ABAW2021's many-to-many training cuts its windows from, one table per video.

    annotations.pkl       {"EXPR_Set": {"Train_Set": {video: DataFrame(path, label, frames_ids)}, "Validation_Set": …}}
    annotations.parquet   the same rows with two columns before them: part, video

`frames_ids` is the image's number less 1. Unpickling runs whatever a file says, so a pickle is written for the repository's
loader and never read; the parquet file beside it is what `import` reads. The pickle holds texts, numbers as bytes, and
calls of pandas.DataFrame, str.split and numpy.frombuffer on them, so that the pandas of the repository's time opens it too:
what a pandas pickles by itself, earlier ones cannot open.

Sources: xinqi-fan/ABAW2021 data/dataset_EXPR.py, `_read_path_label`; wtomin/Multitask-Emotion-Recognition-with-Incomplete-
Labels create_annotation_file/Aff-wild2/create_train_val_annotation_file.py, whose `Training_Set` is `Train_Set` there.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferbench.dialects.abaw import (
    FRAME,
    PARTS,
    checked_prefix,
    first_bad_label,
    frame_parts,
    manifest_of_frames,
    text_of,
)
from ferbench.dialects.lists import read_order, written_order
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest

DIALECT = "abaw-sequences"
VARIANTS = ("official",)
FILES = re.compile(r"annotations\.(pkl|parquet)")
SCHEMA = pa.schema(
    [
        pa.field("part", pa.string(), nullable=False),
        pa.field("video", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),
        pa.field("frames_ids", pa.int64(), nullable=False),
    ]
)
_PICKLES = (".pkl", ".pickle")


# --- writing ----------------------------------------------------------------------------------------------------------


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """`annotations.pkl` and `annotations.parquet`. Paths are absolute, as the loader opens them, unless asked otherwise."""
    order = written_order(manifest, options, options.variant, DIALECT)
    before = _before(manifest, options)
    tables = [pa.table({name: [] for name in SCHEMA.names}, schema=SCHEMA)]
    for part, rows in frame_parts(manifest, options, order, DIALECT):
        fields = pc.extract_regex(rows.column("frame"), FRAME)
        columns = {
            "part": pa.repeat(part, len(rows)),
            "video": pc.struct_field(fields, "video"),
            "path": pc.binary_join_element_wise(pa.scalar(before), rows.column("path"), ""),
            "label": rows.column("label"),
            "frames_ids": pc.subtract(pc.struct_field(fields, "number").cast(pa.int64()), 1),
        }
        tables.append(pa.table(columns, schema=SCHEMA))
    # One chunk per column: where chunks end would show in the bytes of the parquet file.
    table = pa.concat_tables(tables).combine_chunks()
    return {"annotations.pkl": partial(_write_pickle, table), "annotations.parquet": partial(pq.write_table, table)}


def _before(manifest: Manifest, options: ExportOptions) -> str:
    """What is written before a path relative to the root."""
    if options.prefix or options.paths == "relative":
        return checked_prefix(options.prefix)
    return checked_prefix(f"{manifest.root.as_posix()}/")


class _Call:
    """Pickled as the result of a call; nothing is called until somebody unpickles it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._reduced


def _write_pickle(table: pa.Table, path: Path) -> None:
    parts: dict[str, dict[str, _Call]] = {PARTS["train"]: {}, PARTS["validation"]: {}}
    for part, video, rows in _videos(table):
        parts.setdefault(part, {})[video] = _frame_of(rows)
    with path.open("wb") as file:
        pickle.dump({"EXPR_Set": parts}, file, protocol=4)


def _frame_of(rows: pa.Table) -> _Call:
    import pandas

    ends = pa.scalar("\n")
    lines = pc.binary_join_element_wise(rows.column("path").combine_chunks(), ends, "")
    # A text per video, not an object per frame.
    columns: dict[str, Any] = {"path": _Call(str.split, bytes(text_of(lines)[:-1]).decode(), "\n")}
    for name in ("label", "frames_ids"):
        columns[name] = _Call(np.frombuffer, rows.column(name).to_numpy().astype("<i8").tobytes(), "<i8")
    return _Call(pandas.DataFrame, columns)


def _videos(table: pa.Table) -> Iterator[tuple[str, str, pa.Table]]:
    """(part, video, its rows) in the order of the table, where each video's rows are one block."""
    start = 0
    keys = pc.binary_join_element_wise(table.column("part"), table.column("video"), "/").combine_chunks()
    runs = pc.run_end_encode(keys)
    for key, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        part, _, video = key.partition("/")
        yield part, video, table.slice(start, end - start)
        start = end


# --- reading ----------------------------------------------------------------------------------------------------------


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """`annotations.parquet`, or the folder it is in. ManifestError for a pickle, and for rows that break a rule."""
    order = read_order(options, options.variant, DIALECT)
    path = place / "annotations.parquet" if place.is_dir() else place
    if path.suffix.lower() in _PICKLES or (not path.exists() and path.with_suffix(".pkl").exists()):
        raise ManifestError(
            f"{path.with_suffix('.pkl') if path.suffix == '.parquet' else path}: a pickle is not read, because reading one "
            "runs what it says; read annotations.parquet, or index the data set itself (ferbench index aff-wild2)"
        )
    rows = _read(path)
    _check(rows, order, path)
    names = pa.array(list(PARTS.values()), pa.string())
    parts = pa.array(list(PARTS), pa.string()).take(pc.index_in(rows.column("part"), names).combine_chunks())
    return manifest_of_frames(
        pa.table({"path": rows.column("path"), "label": rows.column("label"), "part": parts}), options,
        order=order, folder=path.parent, name=options.dataset or path.stem, where=str(path),
    )  # fmt: skip


def _read(path: Path) -> pa.Table:
    try:
        rows = pq.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    missing = [name for name in SCHEMA.names if name not in rows.column_names]
    if missing:
        raise ManifestError(f"{path}: the column {missing[0]!r} is missing; found: {', '.join(rows.column_names)}")
    rows = rows.select(SCHEMA.names)
    if not len(rows):
        raise ManifestError(f"{path}: no frame is listed")
    try:
        rows = pa.table([rows.column(each.name).cast(each.type) for each in SCHEMA], names=SCHEMA.names)
    except pa.ArrowException as error:
        raise ManifestError(f"{path}: a column is not of its type: {error}") from error
    return rows


def _check(rows: pa.Table, order: LabelSet, path: Path) -> None:
    """ManifestError with the number of the first row that breaks a rule."""
    for name in SCHEMA.names:
        _refuse(rows, pc.is_null(rows.column(name)), path, f"{name} is empty")
    names = ", ".join(PARTS.values())
    _refuse(
        rows, pc.invert(pc.is_in(rows.column("part"), pa.array(list(PARTS.values())))), path, f"part is none of {names}"
    )
    fields = pc.extract_regex(rows.column("path"), FRAME)
    _refuse(rows, pc.is_null(fields), path, "the path is not '<video>/<number>.jpg' below any folder")
    _refuse(
        rows, pc.not_equal(pc.struct_field(fields, "video"), rows.column("video")), path,
        "the folder of the path is not the video",
    )  # fmt: skip
    numbers = pc.struct_field(fields, "number").cast(pa.int64())
    _refuse(
        rows, pc.not_equal(numbers, pc.add(rows.column("frames_ids"), 1)), path,
        "frames_ids is not the number of the image less 1",
    )  # fmt: skip
    bad = first_bad_label(rows.column("label"), order)
    if bad >= 0:
        label = rows.column("label")[bad].as_py()
        raise ManifestError(f"{path}, row {bad + 1}: label {label} is not in 0..{len(order) - 1}")


def _refuse(rows: pa.Table, broken: pa.ChunkedArray, path: Path, rule: str) -> None:
    at = pc.index(broken, True).as_py()
    if at >= 0:
        raise ManifestError(f"{path}, row {at + 1}: {rule}: {rows.column('path')[at].as_py()!r}")
