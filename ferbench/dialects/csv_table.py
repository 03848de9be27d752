"""The `csv` dialect: a manifest as one CSV that people and spreadsheets edit, and a user's own list of samples.

    # classes: neutral, happy
    path,label,subject,start_frame,end_frame
    clips/a.mp4,happy,anna,0,66

Only `path` is needed. Labels are names, never integers. Lines before the header that begin with `#` are comments; some
say what the table cannot:

    # classes: neutral, happy, sad     the class order, which is otherwise alphabetical
    # root: /data/clips                the folder that paths are relative to, which is otherwise the CSV's own
    # name: clips                      the manifest's name, which is otherwise the file's
    # dataset: raf-db                  the card, where the manifest was indexed from one
    # types: {"box_x0": "int64"}       types of extra columns that are not text, in JSON

`sample_id` defaults to the path without its suffix, with the frame range after it where one is given (`clips/a_0-66`),
`media` to what the path's suffix says, or the folder that is there. `votes` and other lists have semicolons between their
numbers. A written table comes back equal, failed rows too; the recipe and the protocol's record stay behind.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferbench.cards import read_card
from ferbench.dialects.csv_cells import TYPES, format_value, parse_value, type_name
from ferbench.dialects.lists import strip_prefix
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import FerbenchError, ManifestError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import SCHEMA, Manifest, manifest_of
from ferbench.media import media_of

VARIANTS = ("plain",)
NAME = "manifest.csv"
FILES = re.compile(re.escape(NAME))
KEEPS_FAILED = True
"""Failed rows are written too, with their `status` and `error`."""

_COLUMN_TYPES = {**{field.name: field.type for field in SCHEMA}, "label": pa.string()}

# --- reading ----------------------------------------------------------------------------------------------------------


def read_csv_manifest(path: Path, *, root: Path | None = None) -> Manifest:
    """Read the CSV; paths are relative to `root`, by default what its comment says, else the CSV's own folder.

    Raises ManifestError with file and line for anything that does not fit.
    """
    table = _read_table(path)
    return _manifest_of_table(table, table.columns["path"], root or table.root)


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One CSV, or the one in a folder. Absolute paths are made relative, classes put in the order that is asked for."""
    path = _one_csv(place)
    table = _read_table(path)
    paths, root = strip_prefix(table.columns["path"], options, folder=table.root)
    manifest = _manifest_of_table(table, paths, root)
    if options.labels:
        return _reordered(path, manifest, LabelSet.of(name.strip() for name in options.labels.split(",")))
    return _reordered(path, manifest, read_card(options.dataset).labels) if options.dataset else manifest


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """A CSV before its paths and labels mean anything."""

    path: Path
    comments: Mapping[str, str]
    columns: dict[str, list[Any]]
    lines: list[int]
    """Line of each row, for messages."""
    types: Mapping[str, pa.DataType]
    """Of the extra columns that are not text."""

    @property
    def root(self) -> Path:
        folder = self.path.absolute().parent
        return Path(os.path.normpath(folder / self.comments.get("root", ".")))


def _read_table(path: Path) -> _Table:
    comments, text, first_line = _read_text(path)
    types = _extra_types(path, comments.get("types", "{}"))
    rows = _rows(path, csv.reader(io.StringIO(text), strict=True), first_line)
    header = _header(path, next(rows, (first_line, []))[1])
    columns: dict[str, list[Any]] = {name: [] for name in header}
    lines = []
    for line, fields in rows:
        if len(fields) != len(header):
            raise ManifestError(f"{path}:{line}: expected {len(header)} fields, got {len(fields)}")
        for name, field in zip(header, fields, strict=True):
            try:
                columns[name].append(parse_value(field, types.get(name, _COLUMN_TYPES.get(name, pa.string()))))
            except ValueError as error:
                raise ManifestError(f"{path}:{line}: {name} {error}") from error
        if columns["path"][-1] is None:
            raise ManifestError(f"{path}:{line}: the path is empty")
        lines.append(line)
    return _Table(path, comments, columns, lines, types)


def _read_text(path: Path) -> tuple[dict[str, str], str, int]:
    """The comments by keyword, the text from the header on, and the number of the header's line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such manifest") from error
    except (UnicodeDecodeError, OSError) as error:
        raise ManifestError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    comments: dict[str, str] = {}
    lines = text.split("\n")
    number = 0
    while number < len(lines) and (lines[number].startswith("#") or not lines[number].strip()):
        keyword, separator, rest = lines[number][1:].partition(":")
        if separator:
            comments[keyword.strip()] = rest.strip()
        number += 1
    return comments, "\n".join(lines[number:]), number + 1


def _extra_types(path: Path, text: str) -> dict[str, pa.DataType]:
    try:
        named = dict(json.loads(text))
        return {name: TYPES[kind] for name, kind in named.items() if name not in _COLUMN_TYPES}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ManifestError(
            f'{path}: `# types:` must be JSON like {{"column": "int64"}}, its types {", ".join(TYPES)}; got {text[:80]!r}'
        ) from error


def _rows(path: Path, reader: Any, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each row that is not empty."""
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ManifestError(f"{path}:{first_line + reader.line_num - 1}: not valid CSV ({error})") from error
        if fields:
            yield first_line + reader.line_num - 1, fields


def _header(path: Path, fields: Sequence[str]) -> list[str]:
    """Column names; those of the schema in any case, white space around them ignored."""
    known = {name.lower(): name for name in SCHEMA.names}
    header = [known.get(field.strip().lower(), field.strip()) for field in fields]
    if "path" not in header:
        raise ManifestError(f"{path}: the first row must name the columns, 'path' among them; found: {header}")
    if len(set(header)) != len(header):
        raise ManifestError(f"{path}: a column name occurs twice in {header}")
    return header


def _manifest_of_table(table: _Table, paths: Sequence[str], root: Path) -> Manifest:
    root = root.resolve()
    rows = len(paths)
    columns: dict[str, Any] = {**table.columns, "path": list(paths)}
    given = {name: columns.get(name, [None] * rows) for name in ("media", "sample_id", "start_frame", "end_frame")}
    columns["media"] = [
        media or _media(root, path, f"{table.path}:{line}")
        for media, path, line in zip(given["media"], paths, table.lines, strict=True)
    ]
    columns["sample_id"] = [
        sample_id or _default_id(path, start, end)
        for sample_id, path, start, end in zip(
            given["sample_id"], paths, given["start_frame"], given["end_frame"], strict=True
        )
    ]
    try:
        names = columns.get("label", [])
        if "classes" in table.comments:
            labels = LabelSet.of(name.strip() for name in table.comments["classes"].split(","))
        else:
            labels = LabelSet.of(_names_in(names))
        if "label" in columns:
            columns["label"] = [None if name is None else labels.label_of(name) for name in names]
        for name in columns:
            if name not in _COLUMN_TYPES:
                columns[name] = pa.array(columns[name], table.types.get(name, pa.string()))
        name = table.comments.get("name") or table.path.stem
        manifest = manifest_of(columns, labels=labels, name=name, root=root)
    except FerbenchError as error:
        raise ManifestError(f"{table.path}: {error.message}", reason=error.reason) from error
    except (pa.ArrowException, OverflowError) as error:
        raise ManifestError(f"{table.path}: a number is too large for its column's type ({error})") from error
    dataset = table.comments.get("dataset")
    return manifest.replace(provenance={"dataset": dataset}) if dataset else manifest


def _names_in(names: Sequence[str | None]) -> list[str]:
    found = sorted({name for name in names if name is not None})
    numbers = [name for name in found if name.lstrip("-").isdigit()]
    if numbers:
        raise ManifestError(
            f"label {numbers[0]!r} is a number, and nothing says which class it means; write class names"
        )
    return found


def _media(root: Path, relative: str, where: str) -> str:
    """By the suffix, whether the file is there or not; a path without one is a folder of frames, or will be."""
    place = root / relative
    try:
        media = media_of(place)
        if media is None and not place.suffix and not place.exists():
            media = "frames"
    except (OSError, ValueError) as error:
        raise ManifestError(f"{where}: {relative[:80]!r} cannot be looked for ({error})") from error
    if media is None:
        raise ManifestError(
            f"{where}: {relative!r} is neither a video, an image nor a folder of frames; give a media column"
        )
    return media


def _default_id(path: str, start: int | None, end: int | None) -> str:
    stem = os.path.splitext(path)[0]
    if start is None and end is None:
        return stem
    return f"{stem}_{start or 0}-{'' if end is None else end}"


def _one_csv(place: Path) -> Path:
    """The CSV that is meant by a file or a folder."""
    if not place.is_dir():
        return place
    found = [place / NAME] if (place / NAME).is_file() else sorted(place.glob("*.csv"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5]) or "none"
        raise ManifestError(f"{place}: one CSV is needed here, found {names}; name the file")
    return found[0]


def _reordered(path: Path, manifest: Manifest, labels: LabelSet) -> Manifest:
    missing = manifest.labels.missing_from(labels)
    if missing:
        raise ManifestError(f"{path}: class {missing[0]!r} is not one of {', '.join(labels.names)}")
    mapping = pa.array(manifest.labels.mapping_to(labels), pa.int16())
    column = mapping.take(manifest.table.column("label").combine_chunks())
    # Both at once: labels and the order they index must never be looked at apart.
    index = manifest.table.column_names.index("label")
    return manifest.replace(table=manifest.table.set_column(index, "label", column), labels=labels)


# --- writing ----------------------------------------------------------------------------------------------------------


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """`manifest.csv`: the comments, then every column that has a value, and every extra one.

    With absolute paths the root is in a comment, and the paths stay relative to it. Raises ManifestError, naming the
    sample, for a value that would not come back the same.
    """
    if options.short_count:
        raise UsageError("the csv dialect holds the frame counts as they are; leave --short-count out")
    if options.min_frames:
        enough = pc.greater_equal(manifest.table.column("num_frames"), options.min_frames)
        manifest = manifest.where(pc.fill_null(enough, True))
    needed = ("sample_id", "path", "media")
    names = [
        name
        for name in manifest.table.column_names
        if name in needed or name not in SCHEMA.names or manifest.has_values(name)
    ]
    text = io.StringIO()
    text.write(_comments(manifest, options, names))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*(_column(manifest, name, options) for name in names), strict=True))
    return {NAME: text.getvalue()}


def _comments(manifest: Manifest, options: ExportOptions, names: Sequence[str]) -> str:
    order = manifest.labels
    if options.labels not in ("", "manifest"):
        order = LabelSet.of(name.strip() for name in options.labels.split(","))
        missing = manifest.labels.missing_from(order)
        if missing:
            raise UsageError(f"--labels lacks the class {missing[0]!r} of the manifest")
    types: dict[str, str] = {}
    for name in names:
        if name not in SCHEMA.names:
            if not name or name != name.strip() or name.lower() in SCHEMA.names or "\r" in name:
                raise ManifestError(f"manifest {manifest.name!r}: a CSV cannot hold the column name {name!r}")
            kind = type_name(manifest.table.column(name).type)
            if kind is None:
                found = manifest.table.column(name).type
                raise ManifestError(f"manifest {manifest.name!r}: a CSV cannot hold column {name!r} of type {found}")
            if kind != "string":
                types[name] = kind
    comments = {
        "classes": ", ".join(order.names),
        "root": str(manifest.root) if options.paths == "absolute" and not options.prefix else "",
        "name": manifest.name,
        "dataset": str(manifest.provenance.get("dataset", "")),
        "types": json.dumps(types, ensure_ascii=False) if types else "",
    }
    lines = []
    for keyword, value in comments.items():
        if "\n" in value or "\r" in value or value != value.strip():
            raise ManifestError(f"manifest {manifest.name!r}: a comment cannot hold the {keyword} {value!r}")
        if value:
            lines.append(f"# {keyword}: {value}\n")
    if any("," in name or name != name.strip() for name in order.names):
        raise ManifestError(f"manifest {manifest.name!r}: a class name has a comma or white space at its ends")
    return "".join(lines)


def _column(manifest: Manifest, name: str, options: ExportOptions) -> list[str]:
    """The fields of one column."""
    kind = _COLUMN_TYPES.get(name, manifest.table.column(name).type)
    values = manifest.column(name)
    if name == "label":
        values = [None if label is None else manifest.labels.names[label] for label in values]
    elif name == "path" and options.prefix:
        values = [f"{options.prefix.rstrip('/')}/{path}" for path in values]
    fields = []
    for row, value in enumerate(values):
        try:
            fields.append(format_value(value, kind))
        except ValueError as error:
            sample = manifest.table.column("sample_id")[row].as_py()
            raise ManifestError(f"sample {sample!r}: column {name!r} of a CSV cannot hold {error}") from error
    return fields
