"""The first look at a file or folder, by which its format is told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ferbench.errors import PredictionsError

_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Peek:
    """What a place looks like."""

    path: Path
    suffix: str
    """In lower case; empty for a folder."""
    lines: tuple[str, ...]
    """The first whole lines of a text file; of a folder, those of its first text file."""
    is_folder: bool = False
    texts: tuple[str, ...] = ()
    """Names of the `.txt` files of a folder, ascending."""


def look_at(path: Path) -> Peek:
    """Look; PredictionsError for what cannot be read."""
    try:
        if path.is_dir():
            texts = tuple(
                sorted(name for name in os.listdir(path) if name.endswith(".txt") and not name.startswith("."))
            )
            lines = _first_lines(path / texts[0]) if texts else ()
            return Peek(path, "", lines, is_folder=True, texts=texts)
        return Peek(path, path.suffix.lower(), _first_lines(path))
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read ({error.strerror or error})", reason="unreadable") from error


def _first_lines(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        data = file.read(_BYTES)
    if b"\0" in data:
        return ()
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    whole = lines if len(data) < _BYTES or len(lines) == 1 else lines[:-1]
    return tuple(line for line in whole if line.strip())[:50]
