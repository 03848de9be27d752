"""Face detection: RGB frames in, `list[Face]` per frame out.

    detector = make_detector(DetectorOptions(), device="cpu")
    faces_per_frame = detector.detect(frames)

Two detectors, the same networks and weights: `mtcnn` is ours, batched over frames of any sizes; `facenet` runs the class
of facenet-pytorch frame by frame and is the reference `mtcnn` is measured against (benchmarks/detector_agreement.py).
Importing this package imports no torch; making a detector does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ferbench.detection.options import DetectorOptions
from ferbench.detection.weights import weights_sha256
from ferbench.errors import UsageError
from ferbench.faces import Face

__all__ = ["DETECTORS", "Detector", "DetectorOptions", "LocalDetector", "make_detector", "weights_sha256"]


class Detector(Protocol):
    """What every detector can do."""

    @property
    def weights_sha256(self) -> str:
        """Hex digest over the weight files it runs with, for the recipe."""

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """Find all faces.

        `frames`: any number, each (H, W, 3) uint8 RGB, 0..255, sizes may differ. Returns one list per frame, in the
        order of `frames`; `[]` for a frame without a face. Faces are sorted by decreasing score; of equal scores the
        larger box comes first, then the one more to the left, then the upper one. Raises ValueError for anything that
        is not such a frame.
        """


@runtime_checkable
class LocalDetector(Detector, Protocol):
    """A detector that can also look near places where faces are expected. `mtcnn` can, `facenet` cannot."""

    def search(self, frames: Sequence[NDArray[np.uint8]], priors: Sequence[NDArray[np.float32]]) -> list[list[Face]]:
        """The faces near given boxes.

        `frames`: as for `detect`. `priors`: for each frame (N, 4) float32 x0, y0, x1, y1 in its pixels, where faces were
        a moment before or after. Looks only at windows inside the square of twice the prior's longer side around it, and
        only at scales near its size: what that costs does not depend on the frame's size. Whatever it finds passed the
        same networks on the same pixels with the same thresholds as in `detect`, and comes in the same order; where
        nothing is found near any prior, or there are none, `[]`. A frame's result does not depend on the other frames,
        but for float rounding.
        """

    def detect_large(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """As `detect`, where faces below half the size of the frame's largest confident one may be left out."""


def _mtcnn(options: DetectorOptions, device: str) -> Detector:
    from ferbench.detection.mtcnn import Mtcnn

    return Mtcnn(options, device=device)


def _facenet(options: DetectorOptions, device: str) -> Detector:
    from ferbench.detection.facenet import FacenetMtcnn

    return FacenetMtcnn(options, device=device)


DETECTORS: dict[str, Callable[[DetectorOptions, str], Detector]] = {"mtcnn": _mtcnn, "facenet": _facenet}
"""Name -> factory(options, device). A new detector is one row here and one module."""


def make_detector(options: DetectorOptions, device: str = "cpu") -> Detector:
    """The detector that `options.name` names, its networks on `device` (`cpu`, `cuda:0`, ...).

    Raises UsageError for an unknown name and MissingExtraError when facenet-pytorch is not installed.
    """
    if options.name not in DETECTORS:
        raise UsageError(f"detector {options.name!r} is unknown; known: {', '.join(DETECTORS)}")
    return DETECTORS[options.name](options, device)
