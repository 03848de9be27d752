"""Candidates of the cascade and the arithmetic on their boxes.

The conventions are those of the published MTCNN code, which the weights were trained with and facenet-pytorch keeps:
from R-Net on a box x0, y0, x1, y1 is 1-based and its last pixel belongs to it, hence the +1 in widths and the -1 in
`crop_bounds`.

All of it is numpy: a frame has some hundred candidates, and on so few numpy is several times faster than torch, on a GPU
too, which would be waited for at every step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ferbench.detection.nms import nms
from ferbench.detection.pyramid import STRIDE, WINDOW


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """N candidate boxes of a batch of frames: one record, so that its columns are always selected together."""

    frame: NDArray[np.int64]
    """(N,) position of the frame in the batch."""
    boxes: NDArray[np.float32]
    """(N, 4) x0, y0, x1, y1 in frame pixels."""
    scores: NDArray[np.float32]
    """(N,) 0..1, from the last network that saw the candidate."""
    offsets: NDArray[np.float32]
    """(N, 4) that network's correction of the box, in units of the box's width and height."""
    landmarks: NDArray[np.float32]
    """(N, 5, 2) x, y in frame pixels after O-Net; (N, 0, 2) before."""

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Candidates:
        """The candidates of a boolean mask (N,) or of an index (M,), with all their columns."""
        return Candidates(
            self.frame[index], self.boxes[index], self.scores[index], self.offsets[index], self.landmarks[index]
        )

    def __repr__(self) -> str:
        return f"Candidates({len(self)})"


def concatenate(parts: list[Candidates]) -> Candidates:
    """All candidates of `parts`, in order; at least one part."""
    return Candidates(
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )


def window_candidates(
    frame: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    *,
    scores: NDArray[np.float32],
    offsets: NDArray[np.float32],
    scale: NDArray[np.float32],
) -> Candidates:
    """P-Net cells (N,) of images at scales (N,), with their scores (N,) and offsets (N, 4), as boxes in frame pixels."""
    corner = (np.stack([column, row], axis=1) * STRIDE + 1).astype(np.float32)
    # In float32, as facenet-pytorch divides: the floor sees the difference.
    divisor = scale[:, None]
    boxes = np.concatenate([np.floor(corner / divisor), np.floor((corner + np.float32(WINDOW - 1)) / divisor)], axis=1)
    return Candidates(frame, boxes, scores, offsets, np.zeros((len(frame), 0, 2), np.float32))


def no_candidates() -> Candidates:
    """None at all, before O-Net."""
    floats = np.zeros((0, 4), np.float32)
    return Candidates(np.zeros(0, np.int64), floats, floats[:, 0], floats, np.zeros((0, 0, 2), np.float32))


def corrected(candidates: Candidates, *, last_pixel: int) -> Candidates:
    """Boxes moved by their offsets. `last_pixel`, what a width counts beyond x1 - x0: 0 after P-Net, then 1."""
    boxes = candidates.boxes
    extent = boxes[:, 2:] - boxes[:, :2] + np.float32(last_pixel)
    return replace(candidates, boxes=boxes + candidates.offsets * np.concatenate([extent, extent], axis=1))


def squared(candidates: Candidates) -> Candidates:
    """Boxes grown to squares of their longer side around the same centre."""
    boxes = candidates.boxes
    extent = boxes[:, 2:] - boxes[:, :2]
    side = extent.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + extent * np.float32(0.5) - side * np.float32(0.5)
    return replace(candidates, boxes=np.concatenate([corner, corner + side], axis=1))


def crop_bounds(
    boxes: NDArray[np.float32], *, top: int = 0, left: int = 0, bottom: int, right: int
) -> NDArray[np.int64]:
    """The pixels under each box (N, 4): (N, 4) x0, y0, x1, y1, half-open, clipped to the rectangle of the frame.

    A box beside the rectangle, or one that regression turned inside out, gives x1 <= x0 or y1 <= y0.
    """
    whole = np.trunc(boxes).astype(np.int64)
    corner = np.maximum(whole[:, :2] - 1, (left, top))
    return np.concatenate([corner, np.minimum(whole[:, 2:], (right, bottom))], axis=1)


def is_usable(bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) bool: the crop has at least one pixel."""
    return (bounds[:, 2] > bounds[:, 0]) & (bounds[:, 3] > bounds[:, 1])


def suppress(candidates: Candidates, *, threshold: float) -> Candidates:
    """Greedy non-maximum suppression by IoU within each frame.

    The best candidate stays and removes those with an IoU above `threshold` with it, then the next best of the rest, ...
    Comes back sorted by frame, then by decreasing score; of equal scores the earlier candidate counts as better. Frames
    are handled one by one: adding an offset per frame instead, so that one call does all, costs float32 digits and makes
    boxes depend on the frame's position in the batch.
    """
    if len(candidates) < 2:
        return candidates
    boxes, scores = torch.from_numpy(candidates.boxes), torch.from_numpy(candidates.scores)
    kept = [
        members[nms(boxes[members], scores[members], threshold).numpy()]
        for members in _members_per_frame(candidates.frame)
    ]
    return candidates[np.concatenate(kept)]


def suppress_windows(windows: Candidates, *, threshold: float, level: NDArray[np.int64] | None = None) -> Candidates:
    """As `suppress`, of P-Net's windows, and within each `level` (N,) if that is given; all frames in one call.

    Windows have whole numbers for coordinates, which float32 holds up to 2**24: frames and levels are told apart by moving
    their windows to places of their own. Where there are too many for that, frames are handled one by one.
    """
    if len(windows) < 2:
        return windows
    boxes, scores = torch.from_numpy(windows.boxes), torch.from_numpy(windows.scores)
    place = windows.frame if level is None else windows.frame * (int(level.max()) + 1) + level
    step = float(boxes.abs().max() + 1)
    parts = [np.arange(len(windows))]
    if (int(place.max()) + 1) * step > 2**24:
        parts, place = _members_per_frame(windows.frame), np.zeros_like(place) if level is None else level
    kept = []
    for members in parts:
        moved = boxes[members] + torch.from_numpy(place[members].astype(np.float32) * np.float32(step))[:, None]
        kept.append(members[nms(moved, scores[members], threshold).numpy()])
    chosen = np.concatenate(kept)
    return windows[chosen[np.argsort(windows.frame[chosen], kind="stable")]]


def suppress_inside(candidates: Candidates, *, threshold: float) -> Candidates:
    """As `suppress`, with the overlap measured against the smaller of the two boxes: a box inside another goes.

    Of equal scores (O-Net's reach exactly 1.0) the later candidate counts as better, as in facenet-pytorch.
    """
    if len(candidates) < 2:
        return candidates
    kept = [
        members[_keep_outside(candidates.boxes[members], candidates.scores[members], threshold)]
        for members in _members_per_frame(candidates.frame)
    ]
    return candidates[np.concatenate(kept)]


def _keep_outside(boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Indices (K,) int64 of the boxes (N, 4) that greedy suppression by intersection over the smaller area keeps."""
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    waiting = np.argsort(scores, kind="stable")
    kept: list[int] = []
    while waiting.size:
        best, waiting = waiting[-1], waiting[:-1]
        kept.append(int(best))
        corner = np.maximum(boxes[best, :2], boxes[waiting, :2])
        end = np.minimum(boxes[best, 2:], boxes[waiting, 2:])
        overlap = np.maximum(end - corner + 1, 0).prod(axis=1)
        waiting = waiting[overlap <= threshold * np.minimum(areas[best], areas[waiting])]
    return np.array(kept, dtype=np.int64)


def _members_per_frame(frame: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of each frame's candidates, in order; frames without candidates are left out."""
    order = np.argsort(frame, kind="stable")
    return [members for members in np.split(order, np.cumsum(np.bincount(frame))[:-1]) if len(members)]
