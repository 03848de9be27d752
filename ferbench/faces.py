"""Face and AlignedFace: what detection and alignment pass on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Order of the five landmarks. Left and right are the viewer's: the left eye has the smaller x on an upright face."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detection in one frame, in pixels of that frame (x right, y down, origin at the top left corner)."""

    box: NDArray[np.float32]
    """(4,) x0, y0, x1, y1. May reach a little beyond the frame, as MTCNN's boxes do."""
    landmarks: NDArray[np.float32]
    """(5, 2) x, y in the order of `LANDMARK_NAMES`."""
    score: float
    """0..1, the detector's confidence."""

    @property
    def area(self) -> float:
        """Box area in square pixels."""
        return float(max(self.box[2] - self.box[0], 0.0) * max(self.box[3] - self.box[1], 0.0))

    @property
    def size(self) -> float:
        """Side of the square with the box's area, in pixels."""
        return float(self.area**0.5)

    @property
    def centre(self) -> tuple[float, float]:
        """Box centre, x and y."""
        return float(self.box[0] + self.box[2]) / 2, float(self.box[1] + self.box[3]) / 2

    def __repr__(self) -> str:
        corners = ", ".join(f"{value:.1f}" for value in self.box)
        return f"Face(box=[{corners}], score={self.score:.3f})"


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """One crop and how it was made."""

    image: NDArray[np.uint8]
    """(height, width, 3) RGB, 0..255."""
    matrix: NDArray[np.float64]
    """(2, 3) affine map from source pixels to crop pixels."""
    face: Face | None
    """The face the matrix was made from; None for a full-frame crop."""
    origin: str
    """`detected`, `nearest`, `interpolated` or `full-frame`: where the landmarks of this frame come from."""

    def __repr__(self) -> str:
        return f"AlignedFace(image={self.image.shape}, origin={self.origin!r}, face={self.face!r})"


def intersection_over_union(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """IoU of two boxes x0, y0, x1, y1; 0.0 when either is empty."""
    left, top = np.maximum(first[:2], second[:2])
    right, bottom = np.minimum(first[2:], second[2:])
    overlap = max(float(right - left), 0.0) * max(float(bottom - top), 0.0)
    areas = [float(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)) for box in (first, second)]
    union = sum(areas) - overlap
    return overlap / union if union > 0 else 0.0
