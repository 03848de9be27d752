"""FER2013's csv, its pixels as PNG files, and where people have put those.

    emotion,pixels,Usage
    0,70 80 82 … 106,Training              2,304 numbers 0..255: 48 rows of 48 grey values

A picture is called `fer2013_00060.png` after its row, counted from 0. FER+'s own names, `fer0000059.png`, are no row
numbers, whatever its README says: row 60 of fer2013.csv is row 60 of fer2013new.csv, which calls it fer0000059.png, and
only 57 of 35,714 named rows have their own number (microsoft/FERPlus, fer2013new.csv and src/generate_training_data.py). So
the two kinds of names must not look alike.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ferbench.datasets.tree import DEPTH, JUNK
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.storage import write_atomically

SIDE = 48
COLUMNS = ("emotion", "pixels", "usage")

ROW_NAMES = r"fer2013_\d{5}"
FERPLUS_NAMES = r"fer\d{7}"
"""Patterns of a picture's name without suffix."""

_SUFFIXES = r"\.(?:png|jpe?g|bmp)"
_VALUES = {str(value).encode(): value for value in range(256)}


# --- the csv ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the csv, as it stands there."""

    index: int
    """From 0."""
    line: int
    """Line of the file, from 1."""
    fields: tuple[bytes, bytes, bytes] | None
    """emotion, pixels, usage, without quotes and outer blanks; None for a row that does not have three fields."""

    @property
    def name(self) -> str:
        """The picture's name without suffix."""
        return row_name(self.index)


def row_name(index: int) -> str:
    """`fer2013_00060`: the sample of a row, and its picture without suffix."""
    return f"fer2013_{index:05d}"


def csv_rows_of(path: Path) -> Iterator[Row]:
    """The rows of fer2013.csv or icml_face_data.csv, one at a time: the file has 300 MB.

    Fields go by the names in the header, whose order differs. Raises DataError when the file cannot be read or has
    another header.
    """
    try:
        with path.open("rb") as file:
            header = file.readline(4096).removeprefix(b"\xef\xbb\xbf")
            names = [name.strip().strip(b'"').lower().decode("latin-1") for name in header.split(b",")]
            if sorted(names) != sorted(COLUMNS):
                shown = header.strip()[:60].decode("latin-1")
                raise DataError(f"{path}:1: expected the columns emotion, pixels and Usage, got {shown!r}")
            order = [names.index(name) for name in COLUMNS]
            index = 0
            for line, text in enumerate(file, start=2):
                if text.isspace():
                    continue
                parts = text.split(b",")
                if len(parts) == len(COLUMNS):
                    emotion, pixels, usage = (parts[place].strip().strip(b'"') for place in order)
                    yield Row(index, line, (emotion, pixels, usage))
                else:
                    yield Row(index, line, None)
                index += 1
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", reason="unreadable") from error


def grey_values(pixels: bytes) -> bytes | str:
    """The 2,304 bytes of a row's pixels, or what is wrong with them."""
    # The quick way is four times as fast, and lenient; what it could misread goes the strict way, which says what is wrong.
    if not pixels.translate(None, b"0123456789 "):
        values = np.fromstring(pixels, np.int64, sep=" ")
        if len(values) == SIDE * SIDE and values.max() <= 255 and values.min() >= 0:
            return values.astype(np.uint8).tobytes()
    words = pixels.split()
    if len(words) != SIDE * SIDE:
        return f"{len(words):,} numbers, a picture has {SIDE * SIDE:,}"
    try:
        return bytes(map(_VALUES.__getitem__, words))
    except KeyError as error:
        return f"{error.args[0][:20].decode('latin-1')!r} is no whole number from 0 to 255"


# --- the pictures -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extraction:
    """What `extract_pixels` did."""

    rows: int
    written: int
    findings: tuple[Finding, ...]
    """One per row that has no picture."""


def extract_pixels(csv: Path, out: Path) -> Extraction:
    """Write every row's picture to `out` as `fer2013_00000.png`, 48x48 grey; all of them or, when it is interrupted, none.

    A row whose pixels are not 2,304 numbers from 0 to 255 is a finding. `out` must not exist or be empty. Raises
    DataError for a file that is not FER2013's, StorageError when the pictures cannot be written.
    """
    import cv2

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is there already; name a new or an empty folder for the pictures", reason="not-empty")
    findings: list[Finding] = []
    rows = 0

    def write(temporary: Path) -> None:
        nonlocal rows
        temporary.mkdir()
        for row in csv_rows_of(csv):
            rows += 1
            grey = grey_values(row.fields[1]) if row.fields else "not three fields"
            if isinstance(grey, str):
                where = f"{csv}:{row.line}: {row.name} has no picture: {grey}"
                findings.append(Finding("error", "bad-pixels", where, "get a whole copy of the csv", sample=row.name))
                continue
            picture = np.frombuffer(grey, np.uint8).reshape(SIDE, SIDE)
            _, png = cv2.imencode(".png", picture, (cv2.IMWRITE_PNG_COMPRESSION, 1))
            with open(f"{temporary}/{row.name}.png", "wb", buffering=0) as file:
                file.write(png.data)

    write_atomically(out, write)
    return Extraction(rows, rows - len(findings), tuple(findings))


@dataclass(frozen=True)
class Pictures:
    """Where pictures are, by their names."""

    paths: Mapping[str, str]
    """Name without suffix, in lower case -> path relative to the root."""
    folders: tuple[str, ...] = ()
    """The folders that hold them, relative to the root."""
    twice: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Names found in two folders -> the folder taken, and the other."""

    def finding(self) -> list[Finding]:
        """What to say when pictures lie in two folders."""
        if not self.twice:
            return []
        taken, other = next(iter(self.twice.values()))
        message = f"{len(self.twice):,} pictures are both in {taken} and in {other}; those in {taken} are taken"
        return [Finding("warning", "two-pictures", message, "say which with -o images=FOLDER", count=len(self.twice))]


def find_pictures(root: Path, folder: Path | None, *patterns: str) -> Pictures:
    """Pictures whose names match a pattern, anywhere below `folder` or else the root; each folder is listed once."""
    wanted = re.compile(f"(?:{'|'.join(patterns)}){_SUFFIXES}", re.IGNORECASE)
    paths: dict[str, str] = {}
    folders: list[str] = []
    twice: dict[str, tuple[str, str]] = {}
    level = [folder or root]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for place in level:
            where = place.relative_to(root).as_posix()
            prefix = "" if where == "." else f"{where}/"
            holds = False
            for name, is_folder in _listed(place):
                if is_folder:
                    below.append(place / name)
                elif wanted.fullmatch(name):
                    holds = True
                    stem = name.rpartition(".")[0].lower()
                    if stem in paths:
                        twice[stem] = (os.path.dirname(paths[stem]) or ".", where)
                    else:
                        paths[stem] = prefix + name
            if holds:
                folders.append(where)
        level = below
    return Pictures(paths, tuple(folders), twice)


def _listed(folder: Path) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as found:
            return sorted((entry.name, entry.is_dir()) for entry in found if not JUNK.fullmatch(entry.name))
    except OSError:
        return []


def images_folder(root: Path, images: str, dataset: str) -> Path | None:
    """The folder of the option `images`, which is relative to the root; None where it is not given.

    DataError for a folder outside the root, which no manifest of it could name.
    """
    if not images:
        return None
    folder = Path(os.path.normpath(root / images))
    if folder != root and root not in folder.parents:
        raise DataError(
            f"images={images}: {folder} is not below {root}; {dataset}'s manifest names pictures relative to that root",
            reason="layout",
        )
    return folder
