"""What `export` and `import` are asked for, and what a dialect gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.errors import UsageError

Content = str | bytes | Path | Callable[[Path], Any]
"""Of one file: text (UTF-8), bytes, a media file to be linked or copied, or a function that writes to a path."""
PATHS = ("absolute", "relative")
MEDIA = ("link", "hardlink", "copy")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a manifest is written."""

    variant: str = ""
    """Whose files: their names, class order and line ends. Empty is the dialect's first."""
    paths: str = "absolute"
    """`absolute`, or `relative` to the manifest's root."""
    prefix: str = ""
    """Written before the path relative to the root, in place of the root itself."""
    labels: str = ""
    """Class order of the integers: empty is the variant's own for this dataset, `manifest` is the manifest's, else names
    with commas between."""
    min_frames: int = 0
    """Leave out clips of fewer frames. MS and IAL drop those below 16 when they read."""
    short_count: int = 0
    """Write this frame count for shorter clips: Former-DFER's folds 2 to 5 say 16 for the 14 clips that have fewer."""
    media: str = "link"
    """Dialects that put media in place: `link`, `hardlink` or `copy`."""
    shard_size: int = 1000
    """Dialects of shards: samples per shard."""

    def __post_init__(self) -> None:
        for name, value, known in (("paths", self.paths, PATHS), ("media", self.media, MEDIA)):
            if value not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        for name, number, least in (
            ("min-frames", self.min_frames, 0), ("short-count", self.short_count, 0), ("shard-size", self.shard_size, 1),
        ):  # fmt: skip
            if number < least:
                raise UsageError(f"{name} must be at least {least}, got {number}")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How somebody's files are read."""

    variant: str = ""
    """Whose files; empty is the dialect's first."""
    dataset: str = ""
    """The dataset card that says what the labels mean; needed where the files hold integers and `labels` is empty."""
    labels: str = ""
    """Class order of the integers, names with commas between; empty is the variant's own for the dataset."""
    prefix: str = ""
    """Removed from the front of every path; empty is what all absolute paths have in common."""
    root: Path | None = None
    """Folder the remaining paths are relative to; None is the folder of the file, or the prefix of absolute paths."""
