"""Candidates of the cascade and the arithmetic on their boxes.

The conventions are those of the published MTCNN code, which the weights were trained with and facenet-pytorch keeps:
from R-Net on a box x0, y0, x1, y1 is 1-based and its last pixel belongs to it, hence the +1 in widths and the -1 in
`crop_bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import nms

from ferbench.detection.pyramid import WINDOW

STRIDE = 2
"""Pixels of the scaled image between neighbouring P-Net output cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """N candidate boxes of a batch of frames: one record, so that its columns are always selected together."""

    frame: Tensor
    """(N,) int64, position of the frame in the batch."""
    boxes: Tensor
    """(N, 4) float32 x0, y0, x1, y1 in frame pixels."""
    scores: Tensor
    """(N,) float32, 0..1, from the last network that saw the candidate."""
    offsets: Tensor
    """(N, 4) float32, that network's correction of the box, in units of the box's width and height."""
    landmarks: Tensor
    """(N, 5, 2) float32 x, y in frame pixels after O-Net; (N, 0, 2) before."""

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index: Tensor) -> Candidates:
        """The candidates of a boolean mask (N,) or of an index (M,), with all their columns."""
        return Candidates(
            self.frame[index], self.boxes[index], self.scores[index], self.offsets[index], self.landmarks[index]
        )

    def __repr__(self) -> str:
        return f"Candidates({len(self)})"


def concatenate(parts: list[Candidates]) -> Candidates:
    """All candidates of `parts`, in order; at least one part."""
    return Candidates(
        torch.cat([part.frame for part in parts]),
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.scores for part in parts]),
        torch.cat([part.offsets for part in parts]),
        torch.cat([part.landmarks for part in parts]),
    )


def window_candidates(offsets: Tensor, scores: Tensor, *, scale: float, threshold: float) -> Candidates:
    """The P-Net windows at one scale that score at least `threshold`, as boxes in frame pixels.

    `offsets` (B, 4, h, w) and `scores` (B, h, w): P-Net's output maps.
    """
    frame, row, column = torch.nonzero(scores >= threshold, as_tuple=True)
    corner = torch.stack([column, row], dim=1).to(scores.dtype) * STRIDE + 1
    # A tensor, not a number: CUDA divides by a number by multiplying with its inverse, and floor sees the difference.
    divisor = torch.tensor(scale, dtype=scores.dtype, device=scores.device)
    boxes = torch.cat([(corner / divisor).floor(), ((corner + (WINDOW - 1)) / divisor).floor()], dim=1)
    return Candidates(
        frame=frame,
        boxes=boxes,
        scores=scores[frame, row, column],
        offsets=offsets[frame, :, row, column],
        landmarks=boxes.new_zeros((len(frame), 0, 2)),
    )


def corrected(candidates: Candidates, *, last_pixel: int) -> Candidates:
    """Boxes moved by their offsets. `last_pixel`, what a width counts beyond x1 - x0: 0 after P-Net, then 1."""
    boxes = candidates.boxes
    extent = boxes[:, 2:] - boxes[:, :2] + last_pixel
    return replace(candidates, boxes=boxes + candidates.offsets * extent.repeat(1, 2))


def squared(candidates: Candidates) -> Candidates:
    """Boxes grown to squares of their longer side around the same centre."""
    boxes = candidates.boxes
    extent = boxes[:, 2:] - boxes[:, :2]
    side = extent.amax(dim=1, keepdim=True)
    corner = boxes[:, :2] + extent * 0.5 - side * 0.5
    return replace(candidates, boxes=torch.cat([corner, corner + side], dim=1))


def crop_bounds(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """The pixels under each box: (N, 4) float32 -> (N, 4) int64 x0, y0, x1, y1, half-open, clipped to the frame.

    A box beside the frame, or one that regression turned inside out, gives x1 <= x0 or y1 <= y0.
    """
    whole = boxes.trunc().long()
    corner = whole[:, :2].clamp(min=1) - 1
    end = torch.minimum(whole[:, 2:], torch.tensor([width, height], device=boxes.device))
    return torch.cat([corner, end], dim=1)


def is_usable(bounds: Tensor) -> Tensor:
    """(N,) bool: the crop has at least one pixel."""
    return (bounds[:, 2] > bounds[:, 0]) & (bounds[:, 3] > bounds[:, 1])


def suppress(candidates: Candidates, *, threshold: float) -> Candidates:
    """Greedy non-maximum suppression by IoU within each frame.

    The best candidate stays and removes those with an IoU above `threshold` with it, then the next best of the rest, ...
    Comes back sorted by frame, then by decreasing score; of equal scores the earlier candidate counts as better. Frames
    are handled one by one: adding an offset per frame instead, so that one call does all, costs float32 digits and makes
    boxes depend on the frame's position in the batch.
    """
    kept = [
        members[nms(candidates.boxes[members], candidates.scores[members], threshold)]
        for members in _members_per_frame(candidates.frame)
    ]
    return candidates[torch.cat(kept)] if kept else candidates


def suppress_inside(candidates: Candidates, *, threshold: float) -> Candidates:
    """As `suppress`, with the overlap measured against the smaller of the two boxes: a box inside another goes.

    Of equal scores (O-Net's reach exactly 1.0) the later candidate counts as better, as in facenet-pytorch.
    """
    boxes, scores = candidates.boxes.cpu().numpy(), candidates.scores.cpu().numpy()
    kept = [
        members[torch.from_numpy(_keep_outside(boxes[rows], scores[rows], threshold)).to(members.device)]
        for members in _members_per_frame(candidates.frame)
        for rows in [members.cpu().numpy()]
    ]
    return candidates[torch.cat(kept)] if kept else candidates


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


def _members_per_frame(frame: Tensor) -> list[Tensor]:
    """Indices of each frame's candidates, in order; frames without candidates are left out."""
    order = torch.argsort(frame, stable=True)
    counts = torch.bincount(frame).tolist() if len(frame) else []
    return [members for members in torch.split(order, counts) if len(members)]
