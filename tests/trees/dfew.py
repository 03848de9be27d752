"""DFEW: the five pairs of fold lists as the published rule makes them, and a folder of frames for every clip.

Ids have gaps, as in the official set. A clip's folder is a link to one of a few folders of empty pictures: 11,697 folders
of frames would take a test longer to write than to read. Fourteen clips have fewer than 16 frames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from trees import spread, touch_all, write

ALL = (2445, 1894, 2669, 2173, 1469, 145, 902)
LAST = 16372
SHORT = (11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15)
"""Frames of the clips that have fewer than 16."""


def chosen(count: int, last: int) -> list[int]:
    """`count` ids of 1..last with gaps between them, the last one among them."""
    return [number for number in range(1, last + 1) if number * count // last != (number - 1) * count // last]


def labels() -> dict[str, int]:
    """Clip -> class, 0-based."""
    return dict(zip((f"{number:05d}" for number in chosen(sum(ALL), LAST)), spread(ALL), strict=True))


def contiguous_folds(classes: Mapping[str, int], folds: int = 5) -> dict[str, int]:
    """Clip -> fold by the rule of DFEW's and MAFW's lists: per class, ids in order, cut into blocks, the larger first."""
    by_class: dict[int, list[str]] = defaultdict(list)
    for clip in sorted(classes):
        by_class[classes[clip]].append(clip)
    fold = {}
    for clips in by_class.values():
        size, larger = divmod(len(clips), folds)
        for place, clip in enumerate(clips):
            in_larger = place < larger * (size + 1)
            fold[clip] = 1 + (place // (size + 1) if in_larger else larger + (place - larger * (size + 1)) // size)
    return fold


def fold_lists(classes: Mapping[str, int], base: int = 1) -> dict[tuple[str, int], list[str]]:
    """(part, fold) -> rows of the CSV without header."""
    fold = contiguous_folds(classes)
    return {
        (part, number): [
            f"{int(clip)},{label + base}"
            for clip, label in classes.items()
            if (fold[clip] == number) == (part == "test")
        ]
        for number in range(1, 6)
        for part in ("train", "test")
    }


def write_lists(
    root: Path,
    lists: Mapping[tuple[str, int], Sequence[str]],
    name: str = "EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv",
    header: str = "video_name,label\n",
) -> None:
    """The lists under any of their names."""
    for (part, fold), rows in lists.items():
        write(root / name.format(part=part, fold=fold), header + "".join(f"{row}\n" for row in rows))


def link_clips(root: Path, folder: Path, clips: Mapping[str, int]) -> None:
    """Clip -> frames as links to folders of that many empty pictures, below a hidden folder of the root."""
    for frames in sorted(set(clips.values())):
        touch_all(root / f".frames/{frames}", [f"{frame:05d}.jpg" for frame in range(1, frames + 1)])
    made = set()
    for clip, frames in clips.items():
        link = folder / clip
        if link.parent not in made:
            link.parent.mkdir(parents=True, exist_ok=True)
            made.add(link.parent)
        link.symlink_to(root.absolute() / f".frames/{frames}")


def frames() -> dict[str, int]:
    """Clip -> frames."""
    return {clip: SHORT[place] if place < len(SHORT) else 16 for place, clip in enumerate(labels())}


def fabricate(root: Path) -> None:
    """The whole copy below `root/DFEW`."""
    write_lists(root / "DFEW", fold_lists(labels()))
    link_clips(root, root / "DFEW/Clip/clip_224x224", frames())
