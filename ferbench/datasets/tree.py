"""Finding the folders and files of a dataset below the folder the user named, whatever they were nested in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ferbench.errors import DataError

JUNK = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini", re.IGNORECASE)
"""Names that archives and desktops leave behind."""
DEPTH = 4
"""How deep below the root a dataset's own folder is looked for; zips nest once or twice."""


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without junk; [] when it cannot be listed."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not JUNK.fullmatch(entry.name)), key=lambda entry: entry.name)
    except OSError:
        return []


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in a folder."""
    return [entry.name for entry in entries(folder) if entry.is_dir()]


def files_in(folder: Path, suffixes: Sequence[str] = ()) -> list[str]:
    """Names of the files in a folder, those with one of `suffixes` (lower case, with the dot) where given."""
    wanted = tuple(suffixes)
    return [
        entry.name
        for entry in entries(folder)
        if entry.is_file() and (not wanted or os.path.splitext(entry.name)[1].lower() in wanted)
    ]


def walk(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """`folder` and the folders below it, the shallow ones first, each level by name."""
    level = [folder]
    for _ in range(depth + 1):
        yield from level
        level = [parent / name for parent in level for name in folders_in(parent)]


def find(root: Path, *patterns: str, depth: int = DEPTH) -> list[Path]:
    """Files and folders at or below `root` whose name matches any pattern (a regex, any case), the shallow ones first."""
    wanted = re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
    return [
        folder / entry.name for folder in walk(root, depth) for entry in entries(folder) if wanted.fullmatch(entry.name)
    ]


def nothing_found(root: Path, dataset: str, looked_for: str) -> DataError:
    """The error for a folder that holds nothing of the dataset."""
    if not root.is_dir():
        return DataError(f"{root}: no such folder", reason="layout")
    shown = ", ".join(entry.name for entry in entries(root)[:6]) or "nothing"
    return DataError(f"{root}: nothing of {dataset} is here; looked for {looked_for}; found {shown}", reason="layout")


def relative(path: Path, root: Path) -> str:
    """POSIX path below the root, as manifests hold it."""
    return path.relative_to(root).as_posix()
