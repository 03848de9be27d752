"""Fabricated copies of datasets: the official grammar and counts, nobody's pictures.

`trees/<card name with _ for ->.py` has `fabricate(root)`, which writes a whole copy below `root`, the label files in their
exact grammar and an empty file for every picture or video, with the published counts per split and class.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def write(path: Path, text: str | bytes = b"") -> None:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def touch_all(folder: Path, names: Sequence[str]) -> None:
    """Empty files in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def link_all(folder: Path, names: Sequence[str]) -> None:
    """Empty files in one folder, all of them links to the first: ten times as fast, for trees of tens of thousands.

    Nothing may be written into one of them, since it would be in all.
    """
    touch_all(folder, names[:1])
    for name in names[1:]:
        os.link(folder / names[0], folder / name)


def spread(counts: Sequence[int]) -> list[int]:
    """Labels with `counts[k]` of label k, interleaved so that no class is a block; the same every time."""
    left = list(counts)
    labels = []
    while any(left):
        for label, count in enumerate(left):
            if count:
                labels.append(label)
                left[label] -= 1
    return labels
