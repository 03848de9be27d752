"""AFEW 7.0/8.0: a folder per class in `train_afew` and `val_afew`, with videos, or with a folder of faces per clip.

    train_afew/Angry/000633000.avi          the clips
    train/Disgust/0_5_011756043/*.jpg       faces in class folders, as Former-DFER keeps them
    Train_Aligned_Faces/000633000/*.jpg     the organisers' faces: the class is that of the video of the same name

Sources: Emotion-FAN, data/video/readme.md; albanie/mcnDatasets, afew3.0/README.md; Former-DFER, annotation/AFEW_*.txt.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import CLIP, Found, frame_counts, kind_to_read, videos_and_folders
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import nothing_found
from ferbench.findings import Finding

_SPLIT = re.compile(
    r"(?:afew[ _-]?)?(train|val|valid|validation|test)(?:ing)?(?:[ _-]?(?:afew|aligned[ _-]?faces|vid[ _-]?distr)[0-9]?)?",
    re.IGNORECASE,
)
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_FACES = re.compile(r".*(align|face).*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Clip:
    found: Found
    split: str | None
    label: int | None
    """By the class folder; None outside one."""

    @property
    def key(self) -> tuple[str | None, str]:
        """What a video and the folder of its faces have in common."""
        return self.split, self.found.name


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the class folders of every split; clips of the test part have no label."""
    clips = [_clip(found, card) for found in videos_and_folders(root)]
    clips = [clip for clip in clips if clip.found.kind == "video" or _is_faces(clip)]
    wanted = {"faces": "frames"}.get(options["media"], options["media"])
    kind = kind_to_read([clip.found for clip in clips], wanted)
    videos = [clip for clip in clips if clip.found.kind == "video"]
    rows = [clip for clip in clips if clip.found.kind == kind]
    if not rows or not any(clip.split for clip in rows):
        raise nothing_found(root, card.name, f"train_afew/Angry/ and val_afew/Angry/ with {options['media']} clips")
    labels = {clip.key: clip.label for clip in videos if clip.label is not None}
    tally = Tally()
    kept: dict[str, tuple[_Clip, int | None]] = {}
    for clip in rows:
        label = clip.label if clip.label is not None else labels.get(clip.key)
        if clip.split is None:
            tally.skip("bad-name", f"{clip.found.path}: not in a folder of train, val or test")
        elif label is None and clip.split != "test":
            tally.skip("no-label", f"{clip.found.path}: in no class folder, and no video of that name is")
        else:
            middle = f"{card.labels.names[label]}/" if label is not None else ""
            sample = f"{clip.split}/{middle}{clip.found.name}"
            if sample in kept:
                tally.skip("duplicate", f"{clip.found.path}: the same clip as {kept[sample][0].found.path}")
            else:
                kept[sample] = clip, label
    without = _without_faces(videos, list(kept.values()), card) if kind == "frames" else {}
    kept |= without
    paths = [clip.found.path for clip, _ in kept.values()]
    columns: dict[str, Sequence[object]] = {
        "sample_id": list(kept),
        "path": paths,
        "media": [kind] * len(kept),
        "label": [label for _, label in kept.values()],
        "split": [clip.split for clip, _ in kept.values()],
    }
    findings: list[Finding] = []
    if kind == "frames":
        columns["num_frames"], findings = frame_counts(root, paths)
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=f"class folders of {', '.join(sorted({str(split) for split in columns['split']}))}, "
        f"{'videos' if kind == 'video' else 'folders of faces'}",
        rows_read=len(rows) + len(without),
        facts={"media": "video" if kind == "video" else "faces"},
        skipped=tally.skips(),
        findings=tuple(findings),
    )


def _clip(found: Found, card: Card) -> _Clip:
    """Read the path from the inside out: the nearest folders that name a split and a class are believed."""
    *folders, _ = found.path.split("/")
    match = next((match for part in reversed(folders) if (match := _SPLIT.fullmatch(part))), None)
    emotion = folders[-1] if folders and folders[-1] in card.labels else None
    return _Clip(
        found, _SPLITS[match[1].lower()] if match else None, card.labels.label_of(emotion) if emotion else None
    )


def _is_faces(clip: _Clip) -> bool:
    """True for a folder of a clip's faces: in a class folder, or named like a clip below a folder of faces."""
    *folders, name = clip.found.path.split("/")
    if clip.label is not None:
        return True
    return bool(CLIP.fullmatch(name)) and any(_FACES.fullmatch(folder) for folder in folders)


def _without_faces(
    videos: Sequence[_Clip], rows: Sequence[tuple[_Clip, int | None]], card: Card
) -> dict[str, tuple[_Clip, int | None]]:
    """A row for every video that has no faces, where its faces should be: a result without them is one on an easier set."""
    there = {clip.key for clip, _ in rows}
    homes = {(clip.split, clip.label): posixpath.dirname(clip.found.path) for clip, _ in reversed(rows)}
    missing: dict[str, tuple[_Clip, int | None]] = {}
    for video in videos:
        if video.label is None or video.split is None or video.key in there:
            continue
        home = homes.get((video.split, video.label)) or homes.get((video.split, None))
        path = f"{home or posixpath.dirname(video.found.path)}/{video.found.name}"
        clip = replace(video, found=Found(video.found.name, "frames", path))
        missing[f"{video.split}/{card.labels.names[video.label]}/{video.found.name}"] = clip, video.label
    return missing
