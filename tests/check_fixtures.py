"""Small manifests to check, and the checks run on them in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench.checks import CheckOptions
from ferbench.findings import Finding
from ferbench.jobs.check import CheckResult, FixOptions, check_manifest
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of, write_manifest

CLASSES = LabelSet.of(["neutral", "happy", "sad"])


def manifest(root: Path, *, labels: LabelSet = CLASSES, **columns: Any) -> Manifest:
    """Rows `s0`, `s1`, … of columns; paths `s0.png`, … of images and labels 0 where nothing else is given."""
    length = len(next(iter(columns.values())))
    columns.setdefault("sample_id", [f"s{row}" for row in range(length)])
    columns.setdefault("path", [f"{name}.png" for name in columns["sample_id"]])
    columns.setdefault("media", ["image"] * length)
    columns.setdefault("label", [0] * length)
    return manifest_of(columns, labels=labels, name="small", root=root)


def checked(made: Manifest, *, fix: FixOptions | None = None, **options: Any) -> CheckResult:
    """Written, read and checked."""
    path = made.root / "m.parquet"
    write_manifest(made, path)
    return check_manifest(str(path), CheckOptions(workers=1, **options), fix=fix)


def found(made: Manifest, *only: str, **options: Any) -> list[Finding]:
    """The findings of some families."""
    return list(checked(made, only=only, **options).findings)


def said(findings: Sequence[Finding]) -> list[tuple[str, str, str | None, str]]:
    """Severity, rule, sample and message."""
    return [(each.severity, each.rule, each.sample, each.message) for each in findings]


def scene(seed: int, size: int = 96) -> NDArray[np.uint8]:
    """(size, size, 3): a smooth picture of its own for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def write_picture(path: Path, image: NDArray[np.uint8], *, quality: int = 95) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), image, parameters)
    return path


def write_frames(folder: Path, names: Sequence[str], *, seed: int = 0) -> Path:
    """A frame folder, each frame a picture of its own."""
    for number, name in enumerate(names):
        write_picture(folder / name, scene(seed * 1000 + number, 32))
    return folder
