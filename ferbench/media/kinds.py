"""Which paths are videos, images and frame folders, and finding them below a folder. Names only: no file is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ferbench import remote
from ferbench.errors import MediaError
from ferbench.media.packs import find_place, frame_names

Media = Literal["image", "video", "frames"]

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv",
    ".ts", ".vob", ".webm", ".wmv",
})
IMAGE_SUFFIXES = frozenset({
    ".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})
# fmt: on

_JUNK = frozenset({"__MACOSX", "@eaDir", "Thumbs.db"})
"""What archive tools, file servers and file managers leave beside media. Names with a leading dot are junk too."""

_NUMBERED = re.compile(r"(.*?)([0-9]+)", re.DOTALL)
_PADDED = re.compile(r"[0-9]+\.(?:jpg|png)")


@dataclass(frozen=True, slots=True)
class FoundMedia:
    """One thing that `find_media` found."""

    path: str
    """POSIX, relative to the folder that was searched; `.` is that folder itself."""
    media: Media
    error: str | None = None
    """Why it is already known to be out of reach, as a manifest's `error` column has it; it then becomes a failed row."""


def media_of(path: Path) -> Media | None:
    """What a path holds, judged by its name; for a folder, by the names in it. None: neither media nor frames.

    `clip.MP4` is a video even when it is empty or missing: reading it says so. Raises MediaError for a folder that
    cannot be listed.
    """
    if remote.is_folder(path):
        return "frames" if looks_like_frames(path) else None
    return _media_of_name(path.name)


def looks_like_frames(folder: Path) -> bool:
    """Whether a folder is one recording as numbered images: two or more, all of them one prefix and a number.

    True for `00001.jpg`, `frame_000.png`, `00001_00001.jpg`; False for holiday photos, and for a single image. Names
    cannot tell a frame folder from a data set of stills that is numbered likewise (`test_0001.jpg`, ...): a manifest
    with a `media` column can. Raises MediaError when the folder cannot be listed.
    """
    return _are_frames(_names(folder) if remote.spot_of(folder) is None else remote.files_in(folder))


def frame_files(folder: Path) -> list[Path]:
    """The images of a frame folder, or of a sample in a pack, in frame order: by prefix, then by the last number.

    The number counts, not its width: `9.jpg` is before `10.jpg`, and `009.jpg` before `010.jpg`. Names without a
    number are in alphabetical order. Raises MediaError when the folder is missing or cannot be listed.
    """
    return [folder / name for name in frame_file_names(folder)]


def frame_file_names(folder: Path) -> list[str]:
    """The names alone, for those who open few of many: a Path takes longer than what else is done here."""
    place = find_place(folder)
    if place is None:
        remote.ensure_folder(folder)
    names = frame_names(place) if place is not None else _names(folder)
    if len({len(name) for name in names}) == 1 and all(map(_PADDED.fullmatch, names)):
        return sorted(names)  # the same order as below, in a tenth of the time
    return sorted(filter(_is_image, names), key=_frame_order)


def find_media(root: Path) -> list[FoundMedia]:
    """Every video, image and frame folder at or below a folder, once, sorted by path.

    The images of a frame folder are not listed as stills. Hidden and junk names are passed over. A folder that links
    lead to is searched once, under its own path where it has one below `root`. A folder that cannot be listed, or
    media whose name is not valid UTF-8, is in the list with an `error`. Raises MediaError when `root` cannot be listed.

    A folder of a store is listed once, and nothing of it is fetched.
    """
    spot = remote.spot_of(root)
    if spot is not None:
        remote.list_folder(root)
        return _sorted(each for below, names in remote.folders_below(spot) for each in _in_store(below, names))
    found: list[FoundMedia] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        # Links last: what is below root is found under its real path, and a loop of links ends at a folder seen before.
        folder = folders.pop() if folders else links.pop()
        relative = folder.relative_to(root).as_posix()
        try:
            identity = os.stat(folder)
            if (identity.st_dev, identity.st_ino) in seen:
                continue
            seen.add((identity.st_dev, identity.st_ino))
            with os.scandir(folder) as scan:
                entries = [entry for entry in scan if not _is_junk(entry.name)]
        except OSError as error:
            if folder == root:
                raise _cannot_list(folder, error) from error
            found.append(_found(relative, "frames", f"unreadable: the folder cannot be listed ({error.strerror})"))
            continue
        files = []
        for entry in entries:
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else folders).append(folder / entry.name)
            elif kind == "file":
                files.append(entry.name)
        links.sort(reverse=True)
        found += _in_folder(relative, files)
    return _sorted(found)


def _in_folder(relative: str, files: Sequence[str]) -> list[FoundMedia]:
    """What the files of one folder are."""
    is_sequence = _are_frames(files)
    found = [_found(relative, "frames")] if is_sequence else []
    for name in files:
        media = _media_of_name(name)
        if media == "video" or (media == "image" and not is_sequence):
            found.append(_found(name if relative == "." else f"{relative}/{name}", media))
    return found


def _in_store(relative: str, names: Sequence[str]) -> list[FoundMedia]:
    if any(map(_is_junk, filter(None, relative.split("/")))):
        return []
    return _in_folder(relative or ".", [name for name in names if not _is_junk(name)])


def _sorted(found: Iterable[FoundMedia]) -> list[FoundMedia]:
    return sorted(found, key=lambda item: item.path.split("/"))


def _found(path: str, media: Media, error: str | None = None) -> FoundMedia:
    try:
        path.encode()
    except UnicodeEncodeError:
        # Manifests are UTF-8: such a path cannot be written down, so the row says why it fails.
        path = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        error = error or "unreadable: the name is not valid UTF-8; rename it"
    return FoundMedia(path, media, error)


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    """A link is what it leads to; one that leads nowhere is a file, so that it is listed and fails by name."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or not os.path.exists(entry.path) else "other"
    except OSError:  # a link that leads to itself
        return "file"


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not _is_junk(name)]
    except OSError as error:
        raise _cannot_list(folder, error) from error


def _cannot_list(folder: Path, error: OSError) -> MediaError:
    if isinstance(error, FileNotFoundError):
        return MediaError(f"{folder.name}: no such folder", reason="missing-file")
    return MediaError(f"{folder.name}: the folder cannot be listed ({error.strerror})", reason="unreadable")


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name in _JUNK


def _media_of_name(name: str) -> Media | None:
    suffix = os.path.splitext(name)[1].lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "image" if suffix in IMAGE_SUFFIXES else None


def _is_image(name: str) -> bool:
    return _media_of_name(name) == "image"


def _are_frames(names: Iterable[str]) -> bool:
    images = [name for name in names if _is_image(name)]
    prefixes = {_frame_order(name)[0] if _frame_order(name)[1] >= 0 else None for name in images}
    return len(images) >= 2 and len(prefixes) == 1 and None not in prefixes


def _frame_order(name: str) -> tuple[str, int, str]:
    """`00001_00012.jpg` to ("00001_", 12, its name); -1 for a name without a number before its suffix."""
    stem = os.path.splitext(name)[0]
    numbered = _NUMBERED.fullmatch(stem)
    return (numbered[1], int(numbered[2]), name) if numbered else (stem, -1, name)
