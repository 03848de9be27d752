"""The detector named `facenet`: facenet-pytorch's own MTCNN class, one frame at a time, as the reference.

Its batch mode needs frames of one size and its boxes can depend on the position in the batch, so it is not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from ferbench.detection.frames import check_frames, faces_from_arrays
from ferbench.detection.options import DetectorOptions
from ferbench.detection.pyramid import pyramid_scales
from ferbench.detection.weights import weights_sha256
from ferbench.errors import FaceError
from ferbench.faces import Face


class FacenetMtcnn:
    """Adapter to `facenet_pytorch.MTCNN.detect`. `batch_frames` has no effect."""

    def __init__(self, options: DetectorOptions, *, device: str = "cpu") -> None:
        self.options = options
        self._mtcnn = MTCNN(
            keep_all=True,
            post_process=False,
            select_largest=False,
            min_face_size=options.min_face_px,
            thresholds=list(options.thresholds),
            factor=options.factor,
            device=torch.device(device),
        )

    @property
    def weights_sha256(self) -> str:
        """Hex digest over the three weight files."""
        return weights_sha256()

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """All faces of each frame, as `ferbench.detection.Detector.detect` says.

        Raises FaceError, reason `detector-crash`, for a frame on which facenet-pytorch itself fails.
        """
        check_frames(frames)
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: NDArray[np.uint8]) -> list[Face]:
        height, width = frame.shape[:2]
        smallest = self.options.smallest_face(height, width)
        if not pyramid_scales(height, width, min_face_px=smallest, factor=self.options.factor):
            return []  # facenet-pytorch fails on an empty pyramid
        self._mtcnn.min_face_size = smallest
        try:
            boxes, scores, landmarks = self._mtcnn.detect(np.ascontiguousarray(frame), landmarks=True)
        except (IndexError, OverflowError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "non-empty" not in str(error):
                raise  # not one of the three below: out of memory, a lost device
            # A candidate without pixels makes its masks disagree (IndexError) or leaves it nothing to concatenate
            # (RuntimeError); more than 32,767 candidates overflow its int16 (OverflowError).
            raise FaceError(
                f"facenet-pytorch failed on a frame of {width}x{height} pixels ({error}); --detector mtcnn does not",
                reason="detector-crash",
            ) from error
        if boxes is None:
            return []
        return faces_from_arrays(
            np.asarray(boxes, np.float32), np.asarray(scores, np.float32), np.asarray(landmarks, np.float32)
        )
