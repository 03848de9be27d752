"""What goes in and what comes out: frames checked and grouped, faces sorted. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferbench.faces import Face


def check_frames(frames: Sequence[NDArray[np.uint8]]) -> None:
    """Raise ValueError, naming the position, shape and dtype, unless every frame is (H, W, 3) uint8 and not empty."""
    for position, frame in enumerate(frames):
        if not isinstance(frame, np.ndarray):
            raise ValueError(f"frame {position} is a {type(frame).__name__}; expected a (H, W, 3) uint8 RGB array")
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0 or frame.dtype != np.uint8:
            found = f"shape {frame.shape} and dtype {frame.dtype}"
            raise ValueError(f"frame {position} has {found}; expected (H, W, 3) uint8 RGB")


def check_priors(priors: Sequence[NDArray[np.float32]], *, frames: int) -> None:
    """Raise ValueError unless there is one (N, 4) array of finite boxes per frame."""
    if len(priors) != frames:
        raise ValueError(f"priors of {len(priors)} frames for {frames} frames")
    for position, boxes in enumerate(priors):
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise ValueError(f"the priors of frame {position} have shape {boxes.shape}; expected (N, 4), all finite")


def batches_of_one_size(sizes: Sequence[tuple[int, int]], *, max_frames: int, max_pixels: int) -> list[tuple[int, ...]]:
    """Positions of frames that can go through the networks together.

    `sizes`: (height, width) per frame. Each batch has one size, at most `max_frames` frames and at most `max_pixels`
    pixels, but always at least one frame. Batches come in the order of each size's first frame, positions within them
    increase: sizes A B A A with max_frames 2 give (0, 2), (3,), (1,).
    """
    positions: dict[tuple[int, int], list[int]] = {}
    for position, size in enumerate(sizes):
        positions.setdefault(size, []).append(position)
    batches: list[tuple[int, ...]] = []
    for (height, width), members in positions.items():
        step = max(1, min(max_frames, max_pixels // (height * width)))
        batches += [tuple(members[first : first + step]) for first in range(0, len(members), step)]
    return batches


def faces_from_arrays(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], landmarks: NDArray[np.float32]
) -> list[Face]:
    """The faces of one frame, sorted as `Detector.detect` promises; rows with NaN, inf or an empty box are left out.

    `boxes` (N, 4) x0, y0, x1, y1 and `landmarks` (N, 5, 2) x, y in frame pixels; `scores` (N,) 0..1.
    """
    faces = [
        Face(box=box, landmarks=points, score=float(score))
        for box, score, points in zip(boxes, scores, landmarks, strict=True)
        if np.isfinite(box).all() and np.isfinite(points).all() and np.isfinite(score)
    ]
    found = [face for face in faces if face.area > 0]
    return sorted(found, key=lambda face: (-face.score, -face.area, float(face.box[0]), float(face.box[1])))
