"""Windows near expected faces, of many frames at once: what P-Net sees of them, and what passes it.

Each prior, a box in a frame, is an entry of a batch; on each level where it would show it has a `Look`, a rectangle of
cells.
On one level the rectangles of all entries are grown to one size, so that they go through P-Net together:

    entry 0   [--------)            [--------|-)      cells that were only added to make the sizes equal are looked at
    entry 1       [----------)   -->    [----------)  and passed over, so that an entry's faces do not depend on the others
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ferbench.detection.area import Summed, bins, resize_area
from ferbench.detection.boxes import Candidates, no_candidates, window_candidates
from ferbench.detection.pyramid import STRIDE, Level, cells

if TYPE_CHECKING:
    from torch import Tensor

    from ferbench.detection.mtcnn import ProposalNetwork


@dataclass(frozen=True, slots=True)
class Look:
    """Where one entry is looked for on one level."""

    entry: int
    level: Level
    grown: Level
    """The same with more cells, as many as the other looks on that level have."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of pixels under the cells; at the image's edge they may be one short."""
        level = self.grown
        height, width = STRIDE * level.bottom + 10, STRIDE * level.right + 10
        return min(height, level.height) - STRIDE * level.top, min(width, level.width) - STRIDE * level.left


def looks_near(near: Sequence[Sequence[Level]]) -> list[list[Look]]:
    """The looks of entries with the levels `near`, in groups of one level and one size of image, finest level first."""
    by_scale: dict[float, list[tuple[int, Level]]] = defaultdict(list)
    for entry, levels in enumerate(near):
        for level in levels:
            by_scale[level.scale].append((entry, level))
    groups: list[list[Look]] = []
    for scale in sorted(by_scale, reverse=True):
        rows = max(level.bottom - level.top for _, level in by_scale[scale])
        columns = max(level.right - level.left for _, level in by_scale[scale])
        of_size: dict[tuple[int, int], list[Look]] = defaultdict(list)
        for entry, level in by_scale[scale]:
            look = Look(entry, level, grown(level, rows, columns))
            of_size[look.size].append(look)
        groups += of_size.values()
    return groups


def grown(level: Level, rows: int, columns: int) -> Level:
    """The level with that many cells, at least as many as it has and no more than there are."""
    top = min(level.top, cells(level.height) - rows)
    left = min(level.left, cells(level.width) - columns)
    return replace(level, top=top, left=left, bottom=top + rows, right=left + columns)


def windows_near(pnet: ProposalNetwork, pixels: Summed, groups: Sequence[Sequence[Look]], threshold: float) -> Windows:
    """What passes P-Net with `threshold`, of entries whose pixels are the frames of `pixels`, in their order."""
    passed = pnet.passing(_images(pixels, groups), threshold)
    if not len(passed.image):
        return Windows(no_candidates(), np.zeros(0, np.int64))
    starts = np.concatenate([[0], np.cumsum([len(group) for group in groups])])
    looks = [look for group in groups for look in group]
    at = starts[passed.image] + passed.frame
    top, left, own_top, own_left, own_bottom, own_right, entry = np.array(
        [
            (
                look.grown.top, look.grown.left, look.level.top, look.level.left, look.level.bottom, look.level.right,
                look.entry,
            )
            for look in looks
        ],
        np.int64,
    )[at].T  # fmt: skip
    row, column = passed.row + top, passed.column + left
    own = (own_top <= row) & (row < own_bottom) & (own_left <= column) & (column < own_right)
    scale = np.array([look.level.scale for look in looks], np.float32)[at]
    windows = window_candidates(
        entry[own], row[own], column[own], scores=passed.scores[own], offsets=passed.offsets[own], scale=scale[own]
    )
    return Windows(windows, passed.image[own])


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """N windows; `candidates.frame` is the entry."""

    candidates: Candidates
    level: np.ndarray[tuple[int], np.dtype[np.int64]]
    """(N,) which of the groups: windows of two never suppress each other at this stage."""


def _images(pixels: Summed, groups: Sequence[Sequence[Look]]) -> Iterator[Tensor]:
    for group in groups:
        parts = []
        for look in group:
            level = look.grown
            own = Summed(pixels.integral[look.entry : look.entry + 1], pixels.top, pixels.left)
            rows, columns = bins(level.frame_height, level.height), bins(level.frame_width, level.width)
            parts.append(
                resize_area(
                    own,
                    rows.part(STRIDE * level.top, STRIDE * level.bottom + 10),
                    columns.part(STRIDE * level.left, STRIDE * level.right + 10),
                )
            )
        yield torch.cat(parts)
