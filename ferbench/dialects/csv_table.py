"""A user's own CSV as a manifest: a header row, a `path` column, class names in `label`, and any schema column.

    path,label,subject,start_frame,end_frame
    clips/a.mp4,happy,anna,0,66

Lines that begin with `#` are comments; `# classes: neutral, happy, sad` fixes the class order, which is otherwise
alphabetical. Labels are names, never integers. `sample_id` defaults to the path without its suffix, with the frame
range after it where one is given (`clips/a_0-66`).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from ferbench.errors import FerbenchError, ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.media import media_of

_INTEGERS = ("start_frame", "end_frame", "num_frames", "fold")
_REFUSED = ("votes", "status", "error")


def read_csv_manifest(path: Path, *, root: Path | None = None) -> Manifest:
    """Read the CSV; paths are relative to `root`, by default the CSV's own folder.

    Raises ManifestError with file and line for anything that does not fit.
    """
    root = (root or path.parent).resolve()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such manifest") from error
    except (UnicodeDecodeError, OSError) as error:
        raise ManifestError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    classes: list[str] = []
    numbered = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if line.startswith("#"):
            keyword, separator, rest = line[1:].partition(":")
            if separator and keyword.strip() == "classes":
                classes = [name.strip() for name in rest.split(",")]
        elif line.strip():
            numbered.append((number, line))
    reader = csv.DictReader(io.StringIO("".join(line for _, line in numbered)))
    header = reader.fieldnames or []
    _check_header(path, header)
    columns: dict[str, list[Any]] = {name: [] for name in header}
    media: list[str] = []
    ids: list[str] = []
    for position, row in enumerate(reader, start=1):
        where = f"{path}:{numbered[position][0]}" if position < len(numbered) else str(path)
        if None in row or None in row.values():
            raise ManifestError(f"{where}: expected {len(header)} fields")
        values = {name: _value(name, text, where) for name, text in row.items()}
        for name in header:
            columns[name].append(values[name])
        media.append(values.get("media") or _media(root, str(values["path"]), where))
        ids.append(values.get("sample_id") or _default_id(values))
    names = sorted({name for name in columns.get("label", ()) if name})
    try:
        labels = LabelSet.of(classes or names)
        if "label" in columns:
            columns["label"] = [None if name is None else labels.label_of(name) for name in columns["label"]]
        return manifest_of({**columns, "sample_id": ids, "media": media}, labels=labels, name=path.stem, root=root)
    except FerbenchError as error:
        raise ManifestError(f"{path}: {error.message}", reason=error.reason) from error


def _check_header(path: Path, header: Any) -> None:
    if "path" not in header:
        raise ManifestError(f"{path}: the first row must name the columns, 'path' among them; found: {list(header)}")
    refused = [name for name in _REFUSED if name in header]
    if refused:
        raise ManifestError(f"{path}: the columns {', '.join(refused)} cannot be given in a CSV")
    if len(set(header)) != len(header):
        raise ManifestError(f"{path}: a column name occurs twice in {list(header)}")


def _value(name: str, text: str, where: str) -> Any:
    text = text.strip()
    if not text:
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
    stem = Path(str(values["path"])).with_suffix("").as_posix()
    if values.get("start_frame") is None and values.get("end_frame") is None:
        return stem
    return f"{stem}_{values.get('start_frame') or 0}-{'' if values.get('end_frame') is None else values['end_frame']}"
