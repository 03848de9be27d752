"""CAER: clips numbered within a class, in three split folders."""

from __future__ import annotations

from pathlib import Path

from trees import link_all

CLASSES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
ALL = (1628, 719, 514, 2726, 4579, 1473, 1562)
VALIDATION = (163, 72, 51, 273, 458, 148, 156)
TEST = (326, 144, 102, 545, 916, 295, 312)


def fabricate(root: Path) -> None:
    """The whole copy below `root/CAER`: 9,240, 1,321 and 2,640 clips."""
    train = tuple(whole - first - second for whole, first, second in zip(ALL, VALIDATION, TEST, strict=True))
    for split, counts in (("train", train), ("validation", VALIDATION), ("test", TEST)):
        for name, count in zip(CLASSES, counts, strict=True):
            link_all(root / "CAER" / split / name, [f"{number:04d}.avi" for number in range(1, count + 1)])
