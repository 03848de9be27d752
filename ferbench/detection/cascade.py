"""The three stages of MTCNN on one batch of frames, or on a rectangle of one: which pixels each network sees, what passes.

    levels ---------> P-Net: windows ------------ NMS per level, NMS per frame
    patches 24x24 --> R-Net: fewer, better ------ NMS per frame
    patches 48x48 --> O-Net: boxes, landmarks --- NMS per frame (inside)

The arithmetic is that of facenet-pytorch's `detect_face` on one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferbench.detection.area import Summed, bins, crop_and_resize, resize_area
from ferbench.detection.boxes import (
    Candidates,
    concatenate,
    corrected,
    crop_bounds,
    is_usable,
    no_candidates,
    squared,
    suppress,
    suppress_inside,
    suppress_windows,
    window_candidates,
)
from ferbench.detection.near import Look, Windows, windows_near
from ferbench.detection.pyramid import STRIDE, Level

if TYPE_CHECKING:
    from torch import Tensor

    from ferbench.detection.mtcnn import ProposalNetwork

PASS_PIXELS = 2**18
"""Most pixels of scaled images that go through P-Net together: some 150 bytes for each."""
PASS_ROWS = 48
"""Least rows of P-Net's maps per pass: neighbouring passes share ten rows of pixels."""
PATCHES_PER_PASS = {24: 32, 48: 8}
"""Patches of a side that go through R-Net or O-Net together on a CPU: what they become stays in its cache."""
PATCHES_PER_PASS_CUDA = 512
NMS_PER_SCALE, NMS_PER_FRAME = 0.5, 0.7
"""IoU above which the lesser box goes: between windows of one scale, and after each network."""

PatchNetwork = Callable[["Tensor"], tuple[NDArray[np.float32], ...]]


@dataclass(frozen=True, slots=True)
class Cascade:
    """The networks and the lowest scores, 0..1, with which a candidate passes them."""

    pnet: ProposalNetwork
    rnet: PatchNetwork
    onet: PatchNetwork
    thresholds: tuple[float, float, float]

    def run(self, pixels: Summed, levels: Sequence[Level]) -> Candidates:
        """All faces that begin as a window on one of `levels`, at least one."""
        return self.judged(pixels, self.proposed(pixels, levels))

    def judged(self, pixels: Summed, windows: Windows) -> Candidates:
        """The faces that begin as one of `windows`."""
        thinned = _thinned(windows.candidates, windows.level)
        return self.landmarked(pixels, self.refined(pixels, thinned))

    def proposed(self, pixels: Summed, levels: Sequence[Level]) -> Windows:
        """Stage 1: P-Net slides over the cells of each level."""
        strips = [(number, first) for number, level in enumerate(levels) for first in strip_starts(level, len(pixels))]
        images = (strip_image(pixels, levels[number], first) for number, first in strips)
        passed = self.pnet.passing(images, self.thresholds[0])
        if not len(passed.image):
            return Windows(no_candidates(), np.zeros(0, np.int64))
        number, first = np.array(strips)[passed.image].T
        left = np.array([level.left for level in levels])[number]
        scale = np.array([level.scale for level in levels], np.float32)[number]
        candidates = window_candidates(
            passed.frame, passed.row + first, passed.column + left,
            scores=passed.scores, offsets=passed.offsets, scale=scale,
        )  # fmt: skip
        return Windows(candidates, number)

    def run_near(self, pixels: Summed, groups: Sequence[Sequence[Look]]) -> Candidates:
        """The faces near each entry of `groups`, whose pixels are a frame of `pixels` each; see near.py."""
        return self.judged(pixels, windows_near(self.pnet, pixels, groups, self.thresholds[0]))

    def refined(self, pixels: Summed, candidates: Candidates) -> Candidates:
        """Stage 2: R-Net looks at each candidate at 24x24."""
        candidates, bounds = with_bounds(candidates, pixels)
        if not len(candidates):
            return candidates
        scores, offsets = _run(self.rnet, pixels, candidates.frame, bounds, size=24)
        judged = replace(candidates, offsets=offsets, scores=scores)
        passed = judged[scores > self.thresholds[1]]
        if not len(passed):
            return passed
        return squared(corrected(suppress(passed, threshold=NMS_PER_FRAME), last_pixel=1))

    def landmarked(self, pixels: Summed, candidates: Candidates) -> Candidates:
        """Stage 3: O-Net looks at each remaining candidate at 48x48 and places the landmarks."""
        candidates, bounds = with_bounds(candidates, pixels)
        if not len(candidates):
            return replace(candidates, landmarks=np.zeros((0, 5, 2), np.float32))
        scores, offsets, points = _run(self.onet, pixels, candidates.frame, bounds, size=48)
        # O-Net gives five x, then five y, as fractions of the box it was shown.
        corner = candidates.boxes[:, None, :2]
        extent = candidates.boxes[:, None, 2:] - corner + 1
        landmarks = extent * points.reshape(-1, 2, 5).transpose(0, 2, 1) + corner - 1
        judged = replace(candidates, offsets=offsets, scores=scores, landmarks=landmarks)
        passed = corrected(judged[scores > self.thresholds[2]], last_pixel=1)
        return suppress_inside(passed, threshold=NMS_PER_FRAME)


def on_finer_levels(fine: Windows, coarse: Windows, *, num_fine: int) -> Windows:
    """The windows of all levels, from those of the `num_fine` finest and those of the others."""
    return Windows(
        concatenate([fine.candidates, coarse.candidates]), np.concatenate([fine.level, coarse.level + num_fine])
    )


def _thinned(windows: Candidates, level: NDArray[np.int64]) -> Candidates:
    """What is left of P-Net's windows on `level` (N,): the best of neighbours, moved and made square."""
    kept = suppress_windows(windows, threshold=NMS_PER_SCALE, level=level)
    return squared(corrected(suppress_windows(kept, threshold=NMS_PER_FRAME), last_pixel=0))


def strip_starts(level: Level, frames: int) -> Iterator[int]:
    """First rows of P-Net's maps of the strips in which a level goes through it, so that memory stays bounded.

    Row r of the maps sees rows 2r : 2r + 12 of the scaled image, so strips overlap by ten rows and give what the whole
    gives:

        image rows  0 ........ 2r ... 2r + 10 ........ h        h' = ceil((h - 2) / 2) - 4
        strip 1     [----------------------)                    map rows 0 : r
        strip 2                [-----------------------)        map rows r : h'
    """
    yield from range(level.top, level.bottom, strip_rows(level, frames))


def strip_rows(level: Level, frames: int) -> int:
    """Rows of P-Net's maps in one strip."""
    return max(PASS_ROWS, PASS_PIXELS // (frames * (level.right - level.left) * STRIDE) // STRIDE)


def strip_image(pixels: Summed, level: Level, first: int) -> Tensor:
    """What P-Net sees of the strip that begins at row `first` of its maps: (B, h, w, 4) float32, 0..255."""
    last = min(first + strip_rows(level, len(pixels)), level.bottom)
    rows, columns = bins(level.frame_height, level.height), bins(level.frame_width, level.width)
    return resize_area(
        pixels,
        rows.part(STRIDE * first, STRIDE * last + 10),
        columns.part(STRIDE * level.left, STRIDE * level.right + 10),
    )


def with_bounds(candidates: Candidates, pixels: Summed) -> tuple[Candidates, NDArray[np.int64]]:
    """The candidates that cover at least one pixel, and which: (N, 4), see `crop_bounds`."""
    bounds = crop_bounds(candidates.boxes, top=pixels.top, left=pixels.left, bottom=pixels.bottom, right=pixels.right)
    usable = is_usable(bounds)
    return candidates[usable], bounds[usable]


def _run(
    network: PatchNetwork, pixels: Summed, frame: NDArray[np.int64], bounds: NDArray[np.int64], *, size: int
) -> tuple[NDArray[np.float32], ...]:
    """The network's outputs for N >= 1 patches, (N, ...) each, in bounded memory."""
    step = PATCHES_PER_PASS[size] if pixels.integral.device.type == "cpu" else PATCHES_PER_PASS_CUDA
    passes = []
    for first in range(0, len(frame), step):
        part = slice(first, first + step)
        passes.append(network(crop_and_resize(pixels, frame[part], bounds[part], size=size)))
    return tuple(np.concatenate(column) for column in zip(*passes, strict=True))
