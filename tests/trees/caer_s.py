"""CAER-S: stills numbered within a class, in two split folders. The counts per class are not published, their sums are."""

from __future__ import annotations

from pathlib import Path

from trees import link_all

CLASSES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
TRAIN = (7000, 7000, 7000, 7000, 7000, 7000, 6995)
TEST = (2998, 2998, 2998, 2998, 2998, 2998, 2999)


def fabricate(root: Path) -> None:
    """The whole copy below `root/CAER-S`."""
    for split, counts in (("train", TRAIN), ("test", TEST)):
        for name, count in zip(CLASSES, counts, strict=True):
            link_all(root / "CAER-S" / split / name, [f"{number:04d}.png" for number in range(1, count + 1)])
