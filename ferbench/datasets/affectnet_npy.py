"""AffectNet's newer release: `train_set/images/0.jpg` with `train_set/annotations/0_{exp,val,aro,lnd}.npy`.

Each npy is one value, a string or a number: 291,651 pictures have over a million files. They are read whole with three
system calls each, sorted by their headers, of which there are a handful, and decoded one header at a time. Sources: DAN,
affectnet.py; POSTER, data_preprocessing/dataset_affectnet.py (whose copy calls the second folder `valid_set`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import DataError
from ferbench.media.kinds import IMAGE_SUFFIXES

MOST_BYTES = 1024
"""A file of one value has 132 to 256 bytes; of a longer one this much is read, which is then too long."""

_HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00(?P<short>..)|[\x02\x03]\x00(?P<long>....))"
    rb"(?P<text>\{'descr': '(?P<kind>[^']*)', 'fortran_order': (?:True|False), 'shape': \((?P<shape>[0-9, ]*)\), \} *)",
    re.DOTALL,
)
"""What np.save writes before the value, without the line end."""


@dataclass(frozen=True, eq=False)
class Scalars:
    """The values of N files of one value."""

    values: NDArray[np.float64]
    """(N,) NaN where the file could not be used."""
    problems: dict[int, str]
    """Index -> what is wrong with the file."""

    def __repr__(self) -> str:
        return f"Scalars({len(self.values)} values, {len(self.problems)} problems)"


def read_scalars(folder: Path, names: Sequence[str]) -> Scalars:
    """The one value of each of the files `names` of a folder, as float64."""
    values = np.full(len(names), np.nan)
    problems: dict[int, str] = {}
    groups: dict[bytes, tuple[list[int], list[bytes]]] = {}
    directory = os.open(folder, os.O_RDONLY)
    try:
        # The loop that a million files go through: names relative to an open folder, no Path, no file object.
        open_, read_, close = os.open, os.read, os.close
        for index, name in enumerate(names):
            try:
                file = open_(name, os.O_RDONLY, dir_fd=directory)
            except OSError as error:
                problems[index] = f"cannot be read ({error.strerror or error})"
                continue
            try:
                data = read_(file, MOST_BYTES)
            except OSError as error:
                problems[index] = f"cannot be read ({error.strerror or error})"
                continue
            finally:
                close(file)
            # The header is text up to the first line end; what follows is the value.
            header, _, value = data.partition(b"\n")
            group = groups.get(header)
            if group is None:
                group = groups[header] = ([], [])
            group[0].append(index)
            group[1].append(value)
    finally:
        os.close(directory)
    for header, (indices, payloads) in groups.items():
        _decode(header, indices, payloads, values, problems)
    return Scalars(values, problems)


def _decode(
    header: bytes, indices: list[int], payloads: list[bytes], values: NDArray[np.float64], problems: dict[int, str]
) -> None:
    """Put the values of all files with one header in place."""
    kind = _kind(header)
    if isinstance(kind, str):
        problems.update(dict.fromkeys(indices, kind))
        return
    if set(map(len, payloads)) != {kind.itemsize}:
        whole = [place for place, payload in enumerate(payloads) if len(payload) == kind.itemsize]
        for place in sorted(set(range(len(payloads))) - set(whole)):
            problems[indices[place]] = f"truncated or damaged: {len(payloads[place])} bytes of {kind.itemsize}"
        indices, payloads = [indices[place] for place in whole], [payloads[place] for place in whole]
    if not indices:
        return
    raw = np.frombuffer(b"".join(payloads), dtype=kind)
    where = np.array(indices)
    try:
        decoded = raw.astype(np.float64)
    except ValueError:
        # One of them is no number. Which, is worth a loop.
        decoded = np.array([_number(value) for value in raw.tolist()])
    finite = np.isfinite(decoded)
    values[where[finite]] = decoded[finite]
    for place in np.flatnonzero(~finite).tolist():
        problems[indices[place]] = f"holds no number: {str(raw[place])[:20]!r}"


def _kind(header: bytes) -> np.dtype[np.generic] | str:
    """The type of the one value that follows a header; or why there is none."""
    # Not numpy's own reader: it parses Python, and fails on damaged text in every way that Python does.
    match = _HEADER.fullmatch(header)
    if match is None or int.from_bytes(match["short"] or match["long"], "little") != len(match["text"]) + 1:
        return "truncated, or no npy file"
    shape = [int(length) for length in match["shape"].split(b",") if length.strip()]
    if any(length != 1 for length in shape):
        return f"holds an array of shape ({match['shape'].decode()}), not one value"
    # Objects are never unpickled: that would run code of whoever made the file.
    kind = match["kind"].decode("latin-1")
    if not re.fullmatch(r"[<>|=]?([iu][1248]|f[248]|[US][1-9]\d{0,2})", kind) or np.dtype(kind).itemsize > MOST_BYTES:
        return f"holds {kind}, not a number or text"
    return np.dtype(kind)


def _number(value: object) -> float:
    try:
        return float(value.decode("latin-1") if isinstance(value, bytes) else str(value))
    except ValueError:
        return float("nan")


@dataclass(frozen=True, eq=False)
class SetFolder:
    """What `train_set` or `val_set` holds, by a listing of its two folders."""

    ids: list[str]
    """Of the `_exp.npy` files, in number order."""
    pictures: dict[str, str]
    """Id -> the picture's name."""
    annotations: set[str]
    """All names in `annotations`."""
    others: int
    """Files in `images` that are no pictures."""

    def __repr__(self) -> str:
        return f"SetFolder({len(self.ids)} annotated, {len(self.pictures)} pictures)"


def list_set(folder: Path) -> SetFolder:
    """List `images` and `annotations` once each; DataError when one cannot be listed."""
    try:
        annotations = set(os.listdir(folder / "annotations"))
        images = os.listdir(folder / "images") if (folder / "images").is_dir() else []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error})", reason="unreadable") from error
    pictures: dict[str, str] = {}
    others = 0
    for name in images:
        stem, dot, suffix = name.rpartition(".")
        if stem and (dot + suffix).lower() in IMAGE_SUFFIXES:
            pictures[stem] = name
        elif not name.startswith("."):
            others += 1
    ids = [name[:-8] for name in annotations if name[-8:] == "_exp.npy" and name[0] != "."]
    # Shorter first is the order of the numbers, which have no zeros in front.
    ids.sort()
    ids.sort(key=len)
    return SetFolder(ids, pictures, annotations, others)
