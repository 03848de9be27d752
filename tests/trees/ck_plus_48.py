"""CK+48: a folder per class, the last three frames of each labelled sequence of CK+."""

from __future__ import annotations

from pathlib import Path

from trees import touch_all
from trees.ck_plus import sequences

CLASSES = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")


def fabricate(root: Path) -> None:
    """The whole copy below `root/CK+48`."""
    for label, name in enumerate(CLASSES, start=1):
        pictures = [
            f"{subject}_{sequence}_{frame:08d}.png"
            for subject, sequence, code, frames in sequences()
            if code == label
            for frame in range(frames - 2, frames + 1)
        ]
        touch_all(root / "CK+48" / name, pictures)
