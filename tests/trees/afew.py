"""AFEW: class folders of videos with the organisers' counts, or class folders of faces with Former-DFER's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trees import spread, touch_all
from trees.dfew import link_clips

NAMES = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
ORGANISERS = {"train": (133, 74, 81, 150, 144, 117, 74), "val": (64, 40, 46, 63, 63, 61, 46)}
FORMER = {"train": (135, 74, 81, 150, 142, 117, 74), "val": (63, 40, 46, 62, 64, 61, 45)}
TEST = 653


def clips(counts: Mapping[str, tuple[int, ...]]) -> dict[str, list[tuple[str, str]]]:
    """Split -> (class, name of the clip)."""
    return {
        split: [(NAMES[label], f"{number:07d}00") for number, label in enumerate(spread(sizes), start=start)]
        for (split, sizes), start in zip(counts.items(), (1, 2001), strict=True)
    }


def fabricate(root: Path) -> None:
    """The organisers' copy below `root`: videos, and a test part without classes."""
    for split, members in clips(ORGANISERS).items():
        for name in NAMES:
            touch_all(root / f"{split}_afew/{name}", [f"{clip}.avi" for own, clip in members if own == name])
    touch_all(root / "test_afew", [f"{number:07d}00.avi" for number in range(5001, 5001 + TEST)])


def fabricate_faces(root: Path) -> None:
    """Former-DFER's copy below `root/AFEW_Face`: a folder of faces per clip in class folders."""
    for split, members in clips(FORMER).items():
        link_clips(root, root / "AFEW_Face" / split, {f"{name}/0_5_{clip}": 20 for name, clip in members})
