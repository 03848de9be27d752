"""ExpW: pictures of the web with several faces each, and one list of faces.

    angry_actor_104.jpg 0 28 113 226 141 22.9 0

name, face id, then the box as top, left, right, bottom (not x, y, width, height, as one loader says), confidence, label.
Sources: Multitask-Emotion-Recognition-with-Incomplete-Labels, create_annotation_file/ExpW/create_annotations.py, for the
order; CD-FER-Benchmark for the paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import files_in, find, nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.media import IMAGE_SUFFIXES
from ferbench.textfiles import detect_base, numbered_lines, whole_number

FIELDS = 8
COLUMNS = (
    "sample_id", "path", "media", "label", "group", "face", "box_x0", "box_y0", "box_x1", "box_y1", "confidence",
)  # fmt: skip
MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Face:
    """One line of the list."""

    picture: str
    face: int
    top: int
    left: int
    right: int
    bottom: int
    confidence: float
    label: int

    @property
    def sample_id(self) -> str:
        return f"{PurePosixPath(self.picture).stem}_{self.face}"


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the list; DataError when there is none."""
    lists = find(root, r"label\.lst")
    if not lists:
        raise nothing_found(root, card.name, "label/label.lst")
    if len(lists) > 1:
        names = ", ".join(relative(path, root) for path in lists)
        raise DataError(f"{root}: {len(lists)} label lists ({names}); name the folder of one of them", reason="layout")
    (path,) = lists
    tally = Tally()
    faces: list[tuple[_Face, str]] = []
    read_rows = 0
    for number, line in numbered_lines(path):
        read_rows += 1
        face = _parse(line)
        if isinstance(face, str):
            tally.skip("bad-row", f"{path}:{number}: {face}")
        else:
            faces.append((face, f"{path}:{number}"))
    base, findings = detect_base(
        [face.label for face, _ in faces], card.labels, expected=card.label_base or 0, where=str(path)
    )
    images = relative(_images_folder(path, root), root)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    seen: set[str] = set()
    empty: list[str] = []
    for face, where in faces:
        if not 0 <= face.label - base < len(card.labels):
            what = f"label {face.label} is not in {base}..{base + len(card.labels) - 1}"
            tally.skip("label-range", f"{where}: {what}")
        elif face.sample_id in seen:
            tally.skip("duplicate", f"{where}: face {face.face} of {face.picture!r} occurs a second time")
        else:
            seen.add(face.sample_id)
            if face.right <= face.left or face.bottom <= face.top:
                empty.append(where)
            values = (
                face.sample_id, f"{images}/{face.picture}", "image", face.label - base, PurePosixPath(face.picture).stem,
                face.face, face.left, face.top, face.right, face.bottom, face.confidence,
            )  # fmt: skip
            for column, value in zip(COLUMNS, values, strict=True):
                columns[column].append(value)
    if empty:
        message = f"{len(empty):,} boxes are empty, right of right or below bottom: {', '.join(empty[:MOST_SHOWN])}"
        advice = "the fields are top, left, right, bottom; the samples are kept"
        findings.append(Finding("warning", "empty-box", message, advice, count=len(empty)))
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=f"list {relative(path, root)}, pictures in {images}",
        rows_read=read_rows,
        base=base,
        facts={"layout": "list"},
        skipped=tally.skips(),
        findings=tuple(findings),
    )


def _parse(line: str) -> _Face | str:
    """A line, read from the right since names may hold spaces; or what is wrong with it."""
    fields = line.strip().rsplit(None, FIELDS - 1)
    if len(fields) != FIELDS:
        return f"expected 'name face top left right bottom confidence label', got {len(fields)} fields"
    name, *boxes, confidence, label = fields
    numbers = [whole_number(field) for field in (*boxes, label)]
    whole = [number for number in numbers if number is not None]
    if len(whole) != len(numbers):
        return f"face, box and label must be whole numbers, got {' '.join((*boxes, label))!r}"
    if any(abs(number) >= 2**31 for number in whole):
        return f"no picture has a coordinate like {max(whole, key=abs)}"
    if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES or "/" in name or "\\" in name:
        return f"{name[:80]!r} is no picture's name"
    try:
        face, top, left, right, bottom, number = whole
        return _Face(name, face, top, left, right, bottom, float(confidence), number)
    except ValueError:
        return f"the confidence must be a number, got {confidence!r}"


def _images_folder(list_path: Path, root: Path) -> Path:
    """`image/origin` in any nesting, `image` where the archive was unpacked into it."""
    found = [folder for folder in find(root, "origin") if folder.is_dir()]
    found = found or [folder for folder in find(root, "images?") if folder.is_dir()]
    # origin/origin, as archives unpack into a folder of their own name: the inner one has the pictures.
    filled = [folder for folder in found if files_in(folder)]
    return (filled or found or [list_path.parent.parent / "image" / "origin"])[0]
