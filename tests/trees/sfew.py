"""SFEW 2.0: whole frames, aligned faces that are fewer, and a test part without labels."""

from __future__ import annotations

from pathlib import Path

from trees import touch_all

CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
TRAIN = (178, 66, 98, 198, 150, 172, 96)
VAL = (77, 23, 47, 73, 86, 73, 57)
ALIGNED_TRAIN = (165, 61, 91, 184, 140, 160, 90)
ALIGNED_VAL = (76, 23, 46, 72, 84, 71, 56)
TEST = 372


def fabricate(root: Path) -> None:
    """The whole copy below `root`."""
    for folder, counts in (
        ("Train", TRAIN), ("Train/Train_Aligned_Faces", ALIGNED_TRAIN),
        ("Val", VAL), ("Val/Val_Aligned_Faces_new", ALIGNED_VAL),
    ):  # fmt: skip
        for name, count in zip(CLASSES, counts, strict=True):
            pictures = [f"Movie{number % 9}_{number:05d}2400_{number:08d}.png" for number in range(count)]
            touch_all(root / folder / name, pictures)
    touch_all(root / "Test/Test_Aligned_Faces", [f"{number:04d}.png" for number in range(TEST)])
