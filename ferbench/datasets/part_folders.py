"""Re-packs with a folder per part and class, `train/angry/x.jpg`: finding them, and listing their pictures.

What a class folder is called, and what a part is, the dataset's own reader says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ferbench.datasets.reading import Tally
from ferbench.datasets.tree import files_in, folders_in, relative, walk
from ferbench.errors import DataError
from ferbench.media.kinds import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a re-pack: `train`, with its class folders."""

    folder: Path
    split: str
    classes: tuple[str, ...]
    """Names of its class folders."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a re-pack."""

    sample_id: str
    """The file's stem; with part and class before it where stems repeat."""
    path: str
    """Relative to the root."""
    split: str
    class_folder: str


def find_parts(root: Path, splits: Mapping[str, str], is_class: Callable[[str], bool]) -> list[Part]:
    """The parts of the one re-pack at or below `root`; [] when there is none, DataError when there are several.

    `splits` maps the name of a part's folder, in lower case, to a split; parts come in its order.
    """
    found: dict[Path, list[Part]] = {}
    for top in walk(root):
        if any(top == each or each in top.parents for each in found):
            continue
        parts = []
        for name in folders_in(top):
            classes = tuple(filter(is_class, folders_in(top / name))) if name.lower() in splits else ()
            if classes:
                parts.append(Part(top / name, splits[name.lower()], classes))
        if parts:
            order = list(splits)
            found[top] = sorted(parts, key=lambda part: order.index(part.folder.name.lower()))
    if len(found) > 1:
        names = ", ".join(relative(top, root) for top in found)
        raise DataError(f"{root}: {len(found)} copies are here ({names}); name the folder of one", reason="layout")
    return next(iter(found.values()), [])


def list_pictures(
    root: Path, parts: list[Part], tally: Tally, *, stem: Callable[[str], str]
) -> tuple[list[Picture], int]:
    """The pictures of all parts, sorted within a class, and how many files there are; the others are in the tally.

    `stem` makes a sample id of a file's name without suffix.
    """
    pictures: list[tuple[str, str, Part, str]] = []
    files = 0
    for part in parts:
        for folder in folders_in(part.folder):
            names = files_in(part.folder / folder)
            files += len(names)
            where = relative(part.folder / folder, root)
            if folder not in part.classes:
                if names:
                    tally.skip("unknown-class", f"{where}: no class is called {folder!r}", count=len(names))
                continue
            for name in names:
                base, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES:
                    pictures.append((stem(base), f"{where}/{name}", part, folder))
                else:
                    tally.skip("not-a-picture", f"{where}/{name}", severity="note")
    unique = len({picture[0] for picture in pictures}) == len(pictures)
    listed: dict[str, Picture] = {}
    for short, path, part, folder in pictures:
        inside = PurePosixPath(path).relative_to(PurePosixPath(relative(part.folder.parent, root))).with_suffix("")
        sample_id = short if unique else inside.as_posix()
        if sample_id in listed:
            tally.skip("duplicate", f"{path}: {sample_id!r} occurs a second time, first as {listed[sample_id].path}")
        else:
            listed[sample_id] = Picture(sample_id, path, part.split, folder)
    return list(listed.values()), files
