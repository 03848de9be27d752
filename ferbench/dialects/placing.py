"""Putting a media file where another tool expects it: by symbolic link, hard link or copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ferbench.storage import write_atomically


def place(source: Path, target: Path, *, how: str) -> None:
    """Link or copy `source` (a file or a folder of frames) to `target`, replacing what an earlier export put there.

    A hard link of a folder is a folder of hard links. Symbolic links are absolute. Raises StorageError.
    """
    write_atomically(target, lambda temporary: _PLACERS[how](source, temporary))


def _link(source: Path, target: Path) -> None:
    os.symlink(os.path.abspath(source), target)


def _hardlink(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


_PLACERS = {"link": _link, "hardlink": _hardlink, "copy": _copy}
