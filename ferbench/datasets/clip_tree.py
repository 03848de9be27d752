"""Clips on disk: label lists beside tens of thousands of clip folders, where a clip lies, and how many frames it has.

Every folder is listed at most once, and label lists are never looked for among the clips: a network file system would
need an hour for that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench.datasets.tree import JUNK, entries, relative
from ferbench.findings import Finding
from ferbench.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

DEPTH = 6
"""How deep below the root label lists and media folders are looked for."""
CLIP = re.compile(r"[0-9]{3,}.*|[0-9_-]{3,}")
"""Names of clip folders: `00001`, `0_5_011756043`, `1001_DFA_ANG_XX`. No label list lies in one."""


def walk_sparsely(root: Path, depth: int = DEPTH) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """(folder, what is in it) for the root and what is below, the shallow ones first, without entering clip folders."""
    level = [root]
    for _ in range(depth + 1):
        deeper = []
        for folder in level:
            found = entries(folder)
            yield folder, found
            deeper += [folder / entry.name for entry in found if not CLIP.fullmatch(entry.name) and entry.is_dir()]
        level = deeper


def find_files(root: Path, *patterns: str) -> list[Path]:
    """Files whose name matches any pattern (a regex, any case), the shallow ones first; see walk_sparsely."""
    wanted = re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
    return [
        folder / entry.name
        for folder, found in walk_sparsely(root)
        for entry in found
        if wanted.fullmatch(entry.name) and not entry.is_dir()
    ]


@dataclass(frozen=True, slots=True)
class Found:
    """A video, or a folder that may hold a clip's frames."""

    name: str
    """Without the suffix of a video."""
    kind: str
    """`video` or `frames`."""
    path: str
    """Relative to the root."""


def videos_and_folders(root: Path) -> list[Found]:
    """Every video and every folder below the root, by path, except what lies in clip folders."""
    clips = []
    for folder, found in walk_sparsely(root):
        for entry in found:
            stem, suffix = os.path.splitext(entry.name)
            if entry.is_dir():
                clips.append(Found(entry.name, "frames", relative(folder / entry.name, root)))
            elif suffix.lower() in VIDEO_SUFFIXES:
                clips.append(Found(stem, "video", relative(folder / entry.name, root)))
    return sorted(clips, key=lambda clip: clip.path.split("/"))


def kind_to_read(clips: Sequence[Found], wanted: str) -> str:
    """`video` or `frames`: what is asked for, else videos where there are any."""
    if wanted != "auto":
        return wanted
    return "frames" if clips and all(clip.kind == "frames" for clip in clips) else "video"


@dataclass(frozen=True, slots=True)
class Media:
    """One form of a dataset's clips: `original` as videos, `clip_224x224` as frame folders."""

    name: str
    """As the reader's option has it."""
    kind: str
    """`video` or `frames`."""
    folder: str
    """A pattern of the folder's name."""
    official: str
    """Where the official copy has it, relative to the dataset's own folder."""
    suffix: str = ""
    """Of an official video file."""

    def missing(self, top: str, clip: str) -> str:
        """The path a clip would have in the official copy whose own folder is `top`."""
        return "/".join(part for part in (top, self.official, clip + self.suffix) if part not in ("", "."))


@dataclass(frozen=True, slots=True)
class Places:
    """Where the clips of one form are."""

    media: Media
    top: str
    """The dataset's own folder, relative to the root: official paths of missing clips begin there."""
    found: dict[str, str]
    """Clip -> path relative to the root."""
    folder: str
    """The folder that was listed, relative to the root; empty when the copy has none."""

    def path(self, clip: str) -> str:
        """Where the clip is, or where it should be."""
        if clip in self.found:
            return self.found[clip]
        if self.folder:
            return f"{self.folder}/{clip}{self.media.suffix}" if self.folder != "." else clip + self.media.suffix
        return self.media.missing(self.top, clip)


def find_clips(
    root: Path,
    forms: Sequence[Media],
    wanted: str,
    *,
    top: Path,
    is_clip: re.Pattern[str],
    key: Callable[[str], str] = str,
) -> Places:
    """The clips in the first form that exists, or in the form `wanted`; clips may lie in `part_1`, `part_2`, … below it.

    A clip is a video or folder whose name (without suffix) `is_clip` matches; `key` makes the one spelling of a name.
    """
    candidates = [form for form in forms if wanted in ("auto", form.name)]
    folders = [folder for folder, _ in walk_sparsely(root)]
    for form in candidates:
        for folder in folders:
            if not re.fullmatch(form.folder, folder.name, re.IGNORECASE):
                continue
            found = _clips_in(folder, root, form.kind, is_clip, key)
            if found:
                return Places(form, relative(top, root), found, relative(folder, root))
    return Places(candidates[0], relative(top, root), {}, "")


def _clips_in(
    folder: Path, root: Path, kind: str, is_clip: re.Pattern[str], key: Callable[[str], str], depth: int = 2
) -> dict[str, str]:
    found: dict[str, str] = {}
    deeper = []
    for entry in entries(folder):
        is_folder = entry.is_dir()
        stem, suffix = (entry.name, "") if is_folder else os.path.splitext(entry.name)
        if is_folder and not is_clip.fullmatch(entry.name):
            deeper.append(folder / entry.name)
        elif is_clip.fullmatch(stem) and (is_folder if kind == "frames" else suffix.lower() in VIDEO_SUFFIXES):
            found.setdefault(key(stem), relative(folder / entry.name, root))
    if depth:
        for below in deeper:
            found = {**_clips_in(below, root, kind, is_clip, key, depth - 1), **found}
    return found


def count_frames(folder: Path) -> int | None:
    """Pictures in a clip's folder, from one listing; None when the folder cannot be listed."""
    try:
        with os.scandir(folder) as found:
            return sum(
                os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and not JUNK.fullmatch(entry.name)
                for entry in found
            )
    except OSError:
        return None


def frame_counts(root: Path, paths: Sequence[str]) -> tuple[list[int | None], list[Finding]]:
    """Frames of every clip folder, None for one that is missing or empty; and a finding where folders are empty."""
    counts = [count_frames(root / path) for path in paths]
    empty = [path for path, count in zip(paths, counts, strict=True) if count == 0]
    findings = []
    if empty:
        findings.append(
            Finding(
                "error",
                "empty-folder",
                f"{len(empty):,} clip folders hold no picture: {', '.join(empty[:3])}",
                "unpack them again; their frames cannot be read",
                count=len(empty),
            )
        )
    return [count or None for count in counts], findings
