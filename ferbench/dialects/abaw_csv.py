"""The `abaw-csv` dialect: `path,EXPR`, one frame a line, `Train_Set.csv` and `Validation_Set.csv` (ABAW2021).

    path,EXPR
    1-30-1280x720/00001.jpg,0

Paths are `<video>/<image>` below the folder of crops, whatever `--paths` says: the loader joins them to its own folder.
Frames that are -1 or have no crop are not in the files. The repository writes videos in the order of os.listdir, which
differs from disk to disk; here lines ascend, so that equal manifests give equal bytes. Files in any order are read.

Source: xinqi-fan/ABAW2021 data/custom_dataset.py, `_gen_label` and `frames_to_label`.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ferbench.dialects.abaw import (
    FRAME,
    PARTS,
    checked_prefix,
    first_bad_label,
    frame_parts,
    manifest_of_frames,
    slices_of,
    text_of,
)
from ferbench.dialects.lists import read_order, written_order
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest
from ferbench.textfiles import csv_rows, whole_number

DIALECT = "abaw-csv"
VARIANTS = ("official",)
FILES = re.compile(r"(Train|Validation|Test)_Set\.csv")
HEADER = ("path", "EXPR")


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """A file per part that has labels; each is written piece by piece."""
    order = written_order(manifest, options, options.variant, DIALECT)
    prefix = checked_prefix(options.prefix)
    return {
        f"{name}.csv": partial(_write, table.select(["frame", "label"]), prefix, len(order))
        for name, table in frame_parts(manifest, options, order, DIALECT)
    }


def _write(table: pa.Table, prefix: str, classes: int, path: Path) -> None:
    ends = pa.array([f"{label}\n" for label in range(classes)])
    with path.open("wb") as file:
        file.write(f"{','.join(HEADER)}\n".encode())
        for piece in slices_of(table):
            frames = piece.column("frame").chunk(0)
            if prefix:
                frames = pc.binary_join_element_wise(pa.scalar(prefix), frames, "")
            file.write(
                text_of(pc.binary_join_element_wise(_quoted(frames), ends.take(piece.column("label").chunk(0)), ","))
            )


def _quoted(values: pa.Array) -> pa.Array:
    """In quotes where a comma or a quote is inside, as pandas writes them."""
    special = pc.match_substring_regex(values, '[",]')
    if not pc.any(special).as_py():
        return values
    quoted = pc.binary_join_element_wise(pa.scalar('"'), pc.replace_substring(values, '"', '""'), pa.scalar('"'), "")
    return pc.if_else(special, quoted, values)


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One file, or the folder they are in. A single file of another name is the test part.

    Raises ManifestError with file and line for a line that is not `path,EXPR`, UsageError without class names.
    """
    order = read_order(options, options.variant, DIALECT)
    names = {f"{name}.csv": part for part, name in PARTS.items()}
    if place.is_dir():
        files = [(place / name, part) for name, part in names.items() if (place / name).is_file()]
        if not files:
            raise ManifestError(f"{place}: none of {', '.join(names)} is here")
    else:
        files = [(place, names.get(place.name, "test"))]
    tables = []
    for path, part in files:
        rows = _read_fast(path, order)
        rows = _read_exactly(path, order) if rows is None else rows
        tables.append(rows.append_column("part", pa.repeat(part, len(rows))))
    rows = pa.concat_tables(tables)
    if not len(rows):
        raise ManifestError(f"{place}: no frame is listed")
    return manifest_of_frames(
        rows, options, order=order, folder=place if place.is_dir() else place.parent,
        name=options.dataset or place.stem, where=str(place),
    )  # fmt: skip


def _read_fast(path: Path, order: LabelSet) -> pa.Table | None:
    """The whole file at once; None where anything is out of the ordinary, which `_read_exactly` then names or reads."""
    try:
        rows = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=False),
            convert_options=csv.ConvertOptions(
                column_types={"path": pa.string(), "EXPR": pa.int64()}, null_values=[""], strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError):
        return None
    if tuple(rows.column_names) != HEADER or not len(rows):
        return None
    usual = pc.all(pc.match_substring_regex(rows.column("path"), FRAME)).as_py()
    if not usual or first_bad_label(rows.column("EXPR"), order) >= 0:
        return None
    return rows.rename_columns(["path", "label"])


def _read_exactly(path: Path, order: LabelSet) -> pa.Table:
    frame = re.compile(FRAME)
    columns: dict[str, list[Any]] = {"path": [], "label": []}
    rows = csv_rows(path)
    line, header = next(rows, (1, []))
    if tuple(field.strip() for field in header) != HEADER:
        raise ManifestError(f"{path}:{line}: expected the header {','.join(HEADER)!r}, got {','.join(header)[:80]!r}")
    for line, fields in rows:
        where = f"{path}:{line}"
        if len(fields) != 2:
            raise ManifestError(f"{where}: expected {','.join(HEADER)!r}, got {len(fields)} fields")
        label = whole_number(fields[1])
        if not frame.fullmatch(fields[0]):
            raise ManifestError(f"{where}: expected '<video>/<number>.jpg', got {fields[0][:80]!r}")
        if label is None or not 0 <= label < len(order):
            raise ManifestError(f"{where}: label {fields[1][:80]!r} is not in 0..{len(order) - 1}")
        columns["path"].append(fields[0])
        columns["label"].append(label)
    try:
        return pa.table(columns, schema=pa.schema([("path", pa.string()), ("label", pa.int64())]))
    except UnicodeEncodeError as error:
        raise ManifestError(f"{path}: a path is no valid text ({error})") from error
