"""DetectorOptions: everything about detection that can change a box."""

from __future__ import annotations

from dataclasses import dataclass

from ferbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Options of both detectors. The defaults are those of `facenet_pytorch.MTCNN` (2.5.3).

    Raises UsageError for a value outside its range; `make_detector` checks the name.
    """

    name: str = "mtcnn"
    """A row of `DETECTORS`: `mtcnn` or `facenet`."""
    min_face_px: int = 20
    """Side of the smallest face looked for, in frame pixels. The time needed grows with its inverse square."""
    min_face_share: float = 0.0
    """The same as a share of the frame's shorter side, 0..1; the larger of the two counts."""
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    """Lowest score, 0..1, with which a candidate passes P-Net, R-Net and O-Net."""
    factor: float = 0.709
    """Each image of the pyramid is this much smaller than the one before; 0 < factor < 1."""
    batch_frames: int = 16
    """Most frames of one size that go through the networks together; memory grows with it, results do not change."""

    def __post_init__(self) -> None:
        if self.min_face_px < 1:
            raise UsageError(f"min_face_px is {self.min_face_px}; it must be at least 1 pixel")
        if not 0 <= self.min_face_share <= 1:
            raise UsageError(f"min_face_share is {self.min_face_share}; it must be from 0 to 1")
        if len(self.thresholds) != 3 or not all(0 <= threshold <= 1 for threshold in self.thresholds):
            raise UsageError(f"thresholds are {self.thresholds}; they must be three numbers from 0 to 1")
        if not 0 < self.factor < 1:
            raise UsageError(f"factor is {self.factor}; it must be above 0 and below 1")
        if self.batch_frames < 1:
            raise UsageError(f"batch_frames is {self.batch_frames}; it must be at least 1")

    def smallest_face(self, height: int, width: int) -> float:
        """Side of the smallest face looked for in a frame of this size, in its pixels."""
        return max(self.min_face_px, self.min_face_share * min(height, width))
