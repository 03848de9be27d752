"""FER2013: `fer2013.csv` and an empty `images/fer2013_00000.png` per row.

The pixels of a row are one number instead of 2,304, or the file would have 165 MB; nothing reads them where the pictures
are. `row` makes a whole one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trees import link_all, spread, write

COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def row(emotion: int, usage: str, *, first: int = 0) -> str:
    """A row with all its pixels: first, first + 1, … modulo 256."""
    return f"{emotion},{' '.join(str((first + place) % 256) for place in range(48 * 48))},{usage}"


def lines() -> list[str]:
    """The csv: header, Training, PublicTest, PrivateTest."""
    rows = [f"{label},0,{usage}" for usage, counts in COUNTS.items() for label in spread(counts)]
    return ["emotion,pixels,Usage", *rows]


def fabricate(root: Path) -> None:
    """The csv and its pictures."""
    write(root / "fer2013.csv", "\n".join(lines()) + "\n")
    link_all(root / "images", [f"fer2013_{number:05d}.png" for number in range(35887)])


def fabricate_folders(root: Path, *, prefixes: bool, train: Sequence[int] = COUNTS["Training"]) -> None:
    """The copy with class folders, `train/angry/Training_1.jpg`; without `prefixes` the names are numbers."""
    number = 0
    for usage, counts in {**COUNTS, "Training": train}.items():
        part = "train" if usage == "Training" else "test"
        for folder, count in zip(CLASSES, counts, strict=True):
            prefix = f"{usage}_" if prefixes else ""
            link_all(root / part / folder, [f"{prefix}{number + each}.jpg" for each in range(count)])
            number += count
