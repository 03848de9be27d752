"""A user's own CSV as a manifest: a header row, a `path` column, class names in `label`, and any schema column.

    # classes: neutral, happy
    path,label,subject,start_frame,end_frame
    clips/a.mp4,happy,anna,0,66

Lines before the header that begin with `#` are comments; `# classes: neutral, happy, sad` fixes the class order, which is
otherwise alphabetical. Labels are names, never integers. `sample_id` defaults to the path without its suffix, with the
frame range after it where one is given (`clips/a_0-66`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferbench.errors import FerbenchError, ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import SCHEMA, Manifest, manifest_of
from ferbench.media import media_of

_INTEGERS = ("start_frame", "end_frame", "num_frames", "fold")
_REFUSED = ("votes", "status", "error")


def read_csv_manifest(path: Path, *, root: Path | None = None) -> Manifest:
    """Read the CSV; paths are relative to `root`, by default the CSV's own folder.

    Raises ManifestError with file and line for anything that does not fit.
    """
    root = (root or path.parent).resolve()
    classes, lines, first_line = _read(path)
    reader = csv.reader(io.StringIO(lines), strict=True)
    rows = _rows(path, reader, first_line)
    header = _header(path, next(rows, (first_line, []))[1])
    columns: dict[str, list[Any]] = {name: [] for name in header}
    media: list[str] = []
    ids: list[str] = []
    for line, fields in rows:
        where = f"{path}:{line}"
        if len(fields) != len(header):
            raise ManifestError(f"{where}: expected {len(header)} fields, got {len(fields)}")
        values = {name: _value(name, text, where) for name, text in zip(header, fields, strict=True)}
        if values["path"] is None:
            raise ManifestError(f"{where}: the path is empty")
        for name in header:
            columns[name].append(values[name])
        media.append(values.get("media") or _media(root, values["path"], where))
        ids.append(values.get("sample_id") or _default_id(values))
    try:
        labels = LabelSet.of(classes or _names_in(path, columns.get("label", ())))
        if "label" in columns:
            columns["label"] = [None if name is None else labels.label_of(name) for name in columns["label"]]
        return manifest_of({**columns, "sample_id": ids, "media": media}, labels=labels, name=path.stem, root=root)
    except FerbenchError as error:
        raise ManifestError(f"{path}: {error.message}", reason=error.reason) from error


def _read(path: Path) -> tuple[list[str], str, int]:
    """The class order if a comment gives one, the text from the header on, and the number of the header's line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such manifest") from error
    except (UnicodeDecodeError, OSError) as error:
        raise ManifestError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    classes: list[str] = []
    lines = text.splitlines(keepends=True)
    number = 0
    while number < len(lines) and (lines[number].startswith("#") or not lines[number].strip()):
        keyword, separator, rest = lines[number][1:].partition(":")
        if separator and keyword.strip() == "classes":
            classes = [name.strip() for name in rest.split(",")]
        number += 1
    return classes, "".join(lines[number:]), number + 1


def _rows(path: Path, reader: Any, first_line: int) -> Any:
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
    refused = [name for name in _REFUSED if name in header]
    if refused:
        raise ManifestError(f"{path}: the columns {', '.join(refused)} cannot be given in a CSV")
    if len(set(header)) != len(header):
        raise ManifestError(f"{path}: a column name occurs twice in {header}")
    return header


def _names_in(path: Path, names: Sequence[str | None]) -> list[str]:
    found = sorted({name for name in names if name is not None})
    numbers = [name for name in found if name.lstrip("-").isdigit()]
    if numbers:
        raise ManifestError(
            f"{path}: label {numbers[0]!r} is a number, and nothing says which class it means; write class names"
        )
    return found


def _value(name: str, text: str, where: str) -> Any:
    text = text.strip()
    # pandas writes what is missing as `nan` where it was asked to.
    if not text or text.lower() == "nan":
        return None
    if name not in _INTEGERS:
        return text
    try:
        return int(text)
    except ValueError:
        raise ManifestError(f"{where}: {name} must be a whole number, got {text!r}") from None


def _media(root: Path, relative: str, where: str) -> str:
    media = media_of(root / relative)
    if media is None:
        raise ManifestError(
            f"{where}: {relative!r} is neither a video, an image nor a folder of frames; give a media column"
        )
    return media


def _default_id(values: dict[str, Any]) -> str:
    stem = Path(values["path"]).with_suffix("").as_posix()
    if values.get("start_frame") is None and values.get("end_frame") is None:
        return stem
    return f"{stem}_{values.get('start_frame') or 0}-{'' if values.get('end_frame') is None else values['end_frame']}"
