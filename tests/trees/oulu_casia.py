"""Oulu-CASIA: 480 sequences in each of two spectra and three lights; whole pictures, and cropped ones of VL and Strong."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from trees import touch_all

CLASSES = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
FRAMES = [f"{number:03d}.jpeg" for number in range(3)]


def sequences(place: Path, names: list[str]) -> None:
    """80 people, six expressions."""
    for person, expression in product(range(1, 81), CLASSES):
        touch_all(place / f"P{person:03d}" / expression, names)


def fabricate(root: Path) -> None:
    """Whole pictures of VL Strong, VL Weak and NI Strong with three frames; cropped ones of VL Strong with four."""
    for place in ("VL/Strong", "VL/Weak", "NI/Strong"):
        sequences(root / "OriginalImg" / place, FRAMES)
    sequences(root / "PreProcess_Img/VL_Acropped/Strong", [*FRAMES, "003.jpeg"])
