"""The image pyramid: at which scales P-Net looks, how large the image is there, and where in it. Plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

WINDOW = 12
"""Side of what one P-Net output cell sees, in pixels of the scaled image."""
STRIDE = 2
"""Pixels of the scaled image between neighbouring P-Net output cells."""

REACH = 1.0
"""A search looks at windows inside the square around the prior's centre that reaches this many of its sides each way."""
SMALLEST_WINDOW, LARGEST_WINDOW = 0.55, 1.1
"""And at scales where the window is between this small and this large, measured in the prior's longer side."""
MARGIN = 0.5
"""What is kept around those windows, in the prior's longer sides, for the boxes that regression moves beyond them."""


@dataclass(frozen=True, slots=True)
class Level:
    """One image of the pyramid and the rectangle of P-Net cells to look at in it. Half-open."""

    scale: float
    frame_height: int
    frame_width: int
    height: int
    """Of the scaled image."""
    width: int
    top: int
    left: int
    bottom: int
    right: int


def pyramid_scales(height: int, width: int, *, min_face_px: float, factor: float) -> list[float]:
    """Scales, largest first, as facenet-pytorch's `detect_face` takes them.

    At the first a face of `min_face_px` is as large as the window; each next is `factor` times the one before; at the last
    the shorter side still holds a window. Empty when the frame's shorter side is below `min_face_px`: nothing to find.

    480 x 640, min_face_px 20, factor 0.709: 0.6, 0.4254, ... 0.0272 (ten scales).
    """
    scale = WINDOW / min_face_px
    shorter = min(height, width) * scale
    scales = []
    while shorter >= WINDOW:
        scales.append(scale)
        scale *= factor
        shorter *= factor
    return scales


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """(height, width) of the scaled image; the +1 comes before the truncation, as in facenet-pytorch."""
    return int(height * scale + 1), int(width * scale + 1)


def cells(length: int) -> int:
    """P-Net's output cells along a side of the scaled image."""
    return (length - 1) // STRIDE - 4


def pyramid(height: int, width: int, *, min_face_px: float, factor: float) -> list[Level]:
    """All levels of a frame, each with all its cells."""
    levels = []
    for scale in pyramid_scales(height, width, min_face_px=min_face_px, factor=factor):
        rows, columns = scaled_size(height, width, scale)
        levels.append(Level(scale, height, width, rows, columns, 0, 0, cells(rows), cells(columns)))
    return levels


def levels_near(levels: Sequence[Level], box: NDArray[np.float32]) -> list[Level]:
    """The levels on which a face like `box` (x0, y0, x1, y1) would show, each with the cells around it only."""
    side = float(max(box[2] - box[0], box[3] - box[1]))
    x, y = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
    near = []
    for level in levels:
        if SMALLEST_WINDOW * side <= WINDOW / level.scale <= LARGEST_WINDOW * side:
            top, bottom = _cells_within(
                y - REACH * side, y + REACH * side, level.height / level.frame_height, level.bottom
            )
            left, right = _cells_within(
                x - REACH * side, x + REACH * side, level.width / level.frame_width, level.right
            )
            if top < bottom and left < right:
                near.append(replace(level, top=top, left=left, bottom=bottom, right=right))
    return near


def _cells_within(start: float, end: float, scale: float, count: int) -> tuple[int, int]:
    """The cells whose windows lie between `start` and `end`, in frame pixels."""
    return max(0, ceil(start * scale / STRIDE)), min(count, floor((end * scale - WINDOW) / STRIDE) + 1)


def surroundings(near: Sequence[Level]) -> tuple[int, int, int, int]:
    """top, left, bottom, right in the frame: all pixels under the windows of `near`, with a margin around them."""
    heights = [level.frame_height / level.height for level in near]
    widths = [level.frame_width / level.width for level in near]
    margin = MARGIN * WINDOW / near[len(near) // 2].scale
    top = min(STRIDE * level.top * height for level, height in zip(near, heights, strict=True))
    left = min(STRIDE * level.left * width for level, width in zip(near, widths, strict=True))
    bottom = max((STRIDE * level.bottom + 10) * height for level, height in zip(near, heights, strict=True))
    right = max((STRIDE * level.right + 10) * width for level, width in zip(near, widths, strict=True))
    return (
        max(0, floor(top - margin)),
        max(0, floor(left - margin)),
        min(near[0].frame_height, ceil(bottom + margin)),
        min(near[0].frame_width, ceil(right + margin)),
    )
