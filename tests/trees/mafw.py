"""MAFW, single labels: the lists without and with captions as the published rule makes them, an empty video per clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trees import spread, touch_all, write
from trees.dfew import chosen, contiguous_folds

NAMES = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness",
    "disappointment",
)  # fmt: skip
COUNTS = (1390, 639, 625, 1242, 1138, 1470, 1072, 236, 916, 262, 182)
LAST = 20098
CAPTIONED = (1611, 6423)
"""Clips with captions: tested by fold 1, and the others."""
HOME = "MAFW/Train & Test Set/{kind}/{captions}/set_{fold}/{part}.txt"


def labels() -> dict[str, str]:
    """Clip -> class name."""
    ids = (f"{number:05d}" for number in chosen(sum(COUNTS), LAST))
    return {clip: NAMES[label] for clip, label in zip(ids, spread(COUNTS), strict=True)}


def captioned(classes: Mapping[str, str]) -> dict[str, str]:
    """The clips that have captions: which ones is made up, how many is published."""
    fold = contiguous_folds({clip: sorted(set(classes.values())).index(name) for clip, name in classes.items()})
    first = [clip for clip in classes if fold[clip] == 1][: CAPTIONED[0]]
    rest = [clip for clip in classes if fold[clip] != 1][: CAPTIONED[1]]
    return {clip: classes[clip] for clip in sorted(first + rest)}


def write_lists(root: Path, kind: str, classes: Mapping[str, str], kept: Mapping[str, str], *, captions: bool) -> None:
    """The ten lists of the clips in `kept`, in the folds of `classes`: CRLF, no last line end; captions in GBK."""
    order = sorted(set(classes.values()))
    fold = contiguous_folds({clip: order.index(name) for clip, name in classes.items()})
    for number in range(1, 6):
        for part in ("train", "test"):
            clips = [clip for clip in kept if (fold[clip] == number) == (part == "test")]
            lines = [
                f"{clip}.mp4\t{kept[clip]}\t一个人看着镜头。\tA person looks at the camera."
                if captions
                else f"{clip}.mp4 {kept[clip]}"
                for clip in clips
            ]
            home = HOME.format(kind=kind, captions="with_caption" if captions else "no_caption", fold=number, part=part)
            write(root / home, "\r\n".join(lines).encode("gbk"))


def fabricate(root: Path) -> None:
    """The whole copy below `root/MAFW`."""
    classes = labels()
    write_lists(root, "single", classes, classes, captions=False)
    write_lists(root, "single", classes, captioned(classes), captions=True)
    touch_all(root / "MAFW/clips", [f"{clip}.mp4" for clip in classes])
