"""MAFW, compound benchmark: 8,996 clips of 43 classes, lists as the published rule makes them, an empty video per clip."""

from __future__ import annotations

from pathlib import Path

from trees import spread, touch_all
from trees.dfew import chosen
from trees.mafw import LAST, write_lists

COUNTS = {
    "neutral": 1138, "happiness": 1075, "anger_disgust": 883, "sadness": 610, "sadness_helplessness": 542, "surprise": 497,
    "anger": 425, "anxiety": 408, "fear_surprise": 392, "disgust": 310, "surprise_anxiety": 232, "fear_anxiety": 218,
    "disgust_contempt": 208, "happiness_surprise": 206, "sadness_anxiety": 185, "fear": 180, "anxiety_helplessness": 156,
    "helplessness": 143, "disgust_anxiety": 131, "contempt": 111, "helplessness_disappointment": 98, "fear_sadness": 96,
    "anger_sadness": 90, "sadness_anxiety_helplessness": 76, "anxiety_helplessness_disappointment": 59, "anger_anxiety": 54,
    "happiness_contempt": 52, "fear_surprise_anxiety": 45, "disappointment": 41, "disgust_helplessness": 39,
    "disgust_surprise": 37, "anger_disgust_anxiety": 36, "anger_surprise": 33, "sadness_disappointment": 32,
    "sadness_surprise": 26, "sadness_helplessness_disappointment": 22, "fear_sadness_anxiety": 19,
    "disgust_anxiety_helplessness": 19, "anger_disgust_contempt": 18, "disgust_sadness": 17, "anger_helplessness": 13,
    "disgust_disappointment": 12, "disgust_helplessness_disappointment": 12,
}  # fmt: skip


def labels() -> dict[str, str]:
    """Clip -> class name."""
    names = list(COUNTS)
    ids = (f"{number:05d}" for number in chosen(sum(COUNTS.values()), LAST))
    return {clip: names[label] for clip, label in zip(ids, spread(tuple(COUNTS.values())), strict=True)}


def fabricate(root: Path) -> None:
    """The whole copy below `root/MAFW`."""
    classes = labels()
    write_lists(root, "compound", classes, classes, captions=False)
    touch_all(root / "MAFW/clips", [f"{clip}.mp4" for clip in classes])
