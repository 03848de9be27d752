"""Small manifests with real pictures, and what an export made of them, for the dialects that hold media."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of, write_manifest

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""RAF-DB's order."""


def picture(path: Path, value: int = 128, size: int = 8) -> Path:
    """A grey picture, every pixel `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), value, np.uint8)).save(path)
    return path


def clip(folder: Path, frames: int) -> Path:
    """A folder of frames."""
    for number in range(1, frames + 1):
        picture(folder / f"{number:05d}.jpg", number)
    return folder


def manifest_at(root: Path, columns: dict, *, classes=CLASSES, dataset="", name="own") -> Path:
    """A manifest beside its media, with `label` as class names; returns its path."""
    labels = LabelSet.of(classes)
    rows = len(columns["sample_id"])
    given = {"media": ["image"] * rows, **columns}
    given["label"] = [None if each is None else labels.label_of(each) for each in columns["label"]]
    provenance = {"dataset": dataset} if dataset else {}
    manifest = manifest_of(given, labels=labels, name=dataset or name, root=root, provenance=provenance)
    root.mkdir(parents=True, exist_ok=True)
    write_manifest(manifest, root / "manifest.parquet")
    return root / "manifest.parquet"


def tree(folder: Path) -> dict[str, bytes | str]:
    """Relative name -> the bytes of a file, links followed; "/" for an empty folder. Hidden files are left out."""
    found: dict[str, bytes | str] = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        for name in files:
            path = Path(place, name)
            if not name.startswith("."):
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
        if not folders and not files:
            found[Path(place).relative_to(folder).as_posix()] = "/"
    return dict(sorted(found.items()))


def by_id(manifest: Manifest, *columns: str) -> dict[str, tuple]:
    """Sample id -> its values in these columns, `label` as class name."""
    values = [manifest.column(column) for column in columns]
    rows = {}
    for sample_id, *row in zip(manifest.column("sample_id"), *values, strict=True):
        named = [
            manifest.labels.names[value] if column == "label" and value is not None else value
            for column, value in zip(columns, row, strict=True)
        ]
        rows[sample_id] = tuple(named)
    return rows
