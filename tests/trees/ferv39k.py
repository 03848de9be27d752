"""FERV39k: the two lists of all scenes, and a folder of frames for every clip.

The counts per class and per scene are the published ones; which class a clip of a scene has is made up. Folders are links
to one of two folders of empty pictures, so that 38,935 clips are quick to write: 4,070 have 15 frames, the others 16.
"""

from __future__ import annotations

from itertools import chain, repeat
from pathlib import Path

from trees import spread, write
from trees.dfew import link_clips

NAMES = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
CLASSES = {"train": (5854, 5523, 7790, 5906, 2502, 1833, 1680), "test": (1473, 1393, 1958, 1487, 638, 467, 431)}
SCENES = {
    "Action": (640, 164), "Argue": (2122, 533), "Business": (1418, 358), "Conflict": (1990, 501), "Contest": (1917, 483),
    "Crime": (1494, 377), "Crisis": (1193, 301), "DailyLife": (1868, 471), "ElegantArt": (990, 252),
    "Experiment": (443, 113), "History": (2151, 539), "Interview": (1675, 424), "Liveshow": (903, 228),
    "Medicine": (549, 143),
    "OfficialEvent": (1136, 287), "ScholarReport": (1609, 405), "School": (1607, 405), "Social": (892, 229),
    "Speech": (1465, 369), "Talkshow": (1386, 350), "Terror": (1677, 422), "War": (1963, 493),
}  # fmt: skip
"""Scene -> clips of train and of test."""
SHORT = 4070


def clips() -> dict[str, list[str]]:
    """Split -> `Scene/Emotion/0000`; a number is unique within its scene."""
    found: dict[str, list[str]] = {}
    used = dict.fromkeys(SCENES, 0)
    for part, split in enumerate(("train", "test")):
        scenes = chain.from_iterable(repeat(scene, counts[part]) for scene, counts in SCENES.items())
        found[split] = []
        for scene, label in zip(scenes, spread(CLASSES[split]), strict=True):
            used[scene] += 1
            found[split].append(f"{scene}/{NAMES[label]}/{used[scene]:04d}")
    return found


def lines(split: str) -> list[str]:
    """A list: no header, one space."""
    return [f"{clip} {clip.split('/')[1]}" for clip in clips()[split]]


def fabricate(root: Path) -> None:
    """The whole copy below `root/FERV39k`, with the nested folder that the zip makes."""
    every = list(chain.from_iterable(clips().values()))
    for split in CLASSES:
        write(root / f"FERV39k/4_setups/All_scenes/{split}_All.csv", "".join(f"{line}\n" for line in lines(split)))
    frames = {clip: 15 if place < SHORT else 16 for place, clip in enumerate(every)}
    link_clips(root, root / "FERV39k/2_ClipsforFaceCrop/2_ClipsforFaceCrop", frames)
