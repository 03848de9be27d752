"""RAVDESS: the unpacked video zips, each recording with sound (01) and without (02)."""

from __future__ import annotations

from pathlib import Path

from trees import touch_all


def names(channel: int, actor: int) -> list[str]:
    """The recordings of one actor: speech has eight emotions, song the first six; two statements, twice each."""
    emotions = range(1, 9 if channel == 1 else 7)
    return [
        f"{modality:02d}-{channel:02d}-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}.mp4"
        for modality in (1, 2)
        for emotion in emotions
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    ]


def fabricate(root: Path) -> None:
    """The whole copy below `root`; actor 18 has no song."""
    for actor in range(1, 25):
        touch_all(root / f"Video_Speech_Actor_{actor:02d}/Actor_{actor:02d}", names(1, actor))
        if actor != 18:
            touch_all(root / f"Video_Song_Actor_{actor:02d}/Actor_{actor:02d}", names(2, actor))
