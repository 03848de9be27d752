"""Aff-Wild2: one integer per frame in `<video>.txt`, and empty crops, a number missing now and then.

Small by default; `videos` and `frames` make it as large as the real one. Every video has `frames` lines, and:

- line k is -1 for every k that `(k + video) % 50 == 7`: a discarded frame
- no crop has a number k that `(k + 3 * video) % 40 == 11`, nor the last: the official files have a line more than frames
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trees import write

CLASSES = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")
EDITIONS = {
    "2020": ("annotations/EXPR_Set", "Training_Set", 7),
    "2021": ("annotations/EXPR_Set", "Train_Set", 7),
    "2022": ("Third ABAW Annotations/EXPR_Classification_Challenge", "Train_Set", 8),
    "2024": ("6th ABAW Annotations/EXPR_Recognition_Challenge", "Train_Set", 8),
}
"""Edition -> folder of the annotations, name of the train folder, number of classes."""
TRAIN = ("1-30-1280x720", "10-60-1280x720", "10-60-1280x720_right", "135-24-1920x1080_left", "135-24-1920x1080_right")
VALIDATION = ("120-30-1280x720", "video59", "video59_right")
TEST = ("13-30-1920x1080", "video2_left")


def labels_of(video: int, frames: int, classes: int) -> np.ndarray:
    """The integers of a video's lines: runs of one class, as expressions last a while, and -1 where discarded."""
    lines = np.arange(1, frames + 1)
    return np.where((lines + video) % 50 == 7, -1, (lines // 9 + video) % classes)


def crops_of(video: int, frames: int) -> list[int]:
    """The numbers a video has crops of."""
    return [number for number in range(1, frames) if (number + 3 * video) % 40 != 11]


def annotation(video: int, frames: int, classes: int) -> str:
    """A whole annotation file."""
    return "\n".join([",".join(CLASSES[:classes]), *labels_of(video, frames, classes).astype(str), ""])


def fabricate(
    root: Path,
    *,
    edition: str = "2021",
    train: Sequence[str] = TRAIN,
    validation: Sequence[str] = VALIDATION,
    test: Sequence[str] = TEST,
    frames: int = 100,
    crops: str = "cropped_aligned",
) -> None:
    """The whole copy below `root`."""
    folder, train_name, classes = EDITIONS[edition]
    parts = [(f"{folder}/{train_name}", train), (f"{folder}/Validation_Set", validation), (None, test)]
    video = 0
    for part, names in parts:
        for name in names:
            if part:
                write(root / part / f"{name}.txt", annotation(video, frames, classes))
            touch_numbers(root / crops / name, crops_of(video, frames))
            video += 1
    write(root / "expression_test_set.txt", "".join(f"{name}\n" for name in test))
    write(root / folder.replace("EXPR_", "VA_") / train_name / f"{train[0]}.txt", "valence,arousal\n0.1,-0.2\n")
    write(root / "videos/batch1/1-30-1280x720.mp4")


def touch_numbers(folder: Path, numbers: Sequence[int]) -> None:
    """Empty crops; the shortest way there is, for there may be millions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        os.close(os.open(f"{folder}/{number:05d}.jpg", os.O_CREAT | os.O_WRONLY, 0o644))
