"""OpenCV with its FFmpeg backend, read forward only: `grab` steps, `retrieve` converts."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from ferbench.media.containers import look
from ferbench.media.files import native_path
from ferbench.media.sweep import DecodeFailure


class OpenCVSweep:
    """A `Sweep` with OpenCV.

    `grab` fails at the end and at the first packet that cannot be decoded alike; both end the video, as they end every
    `while capture.read()` loop. Of two things OpenCV does not tell, this class does:

    - Frames it cannot convert come out as whatever was in its buffer, without an error (interlaced ones: OpenCV 4.13,
      5.0). The buffer then never changes, so frames are compared at growing distances until two differ; a video in
      which none do is refused.
    - It ends one frame after the container's count when that is too low.
    """

    def __init__(self, path: str, *, bounded: bool) -> None:
        import cv2

        self._cv2 = cv2
        # One thread: with more, what a damaged video decodes to depends on the number of cores.
        with native_path(path) as native:
            self._capture = cv2.VideoCapture(native, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not self._capture.isOpened():
            raise DecodeFailure("it cannot open the file")
        self._stated = look(path).num_frames
        estimate = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # Where the header is silent this is made of a duration and a rate; no frame takes less than a byte.
        self.estimate: int | None = int(estimate) if 0 < estimate <= os.path.getsize(path) else None
        self._position = 0
        self._first: NDArray[np.uint8] | None = None
        self._compared = 0
        self._varies = False

    @property
    def must_finish(self) -> bool:
        """Until two frames differ: at the end they are judged."""
        return not self._varies

    def skip(self, count: int) -> int:
        """Frames are grabbed; the few to compare are converted too."""
        for done in range(count):
            if not self._grab():
                return done
            # 0, 1, 2, 4, 8, ...
            if not self._varies and self._position & (self._position - 1) == 0:
                self._compare(self._retrieve())
            self._position += 1
        return count

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame."""
        if not self._grab():
            return None
        image = self._retrieve()
        if not self._varies:
            self._compare(image)
        self._position += 1
        return image

    def close(self) -> None:
        """Free the capture."""
        self._capture.release()

    def _grab(self) -> bool:
        if self._capture.grab():
            return True
        if self._compared > 1 and not self._varies:
            raise DecodeFailure("all frames came out the same, as when it cannot convert them (interlaced video)")
        if self._position == 0 and self.estimate:
            raise DecodeFailure("no frame decodes (a codec it does not have)")
        if self._stated is not None and self._position == self._stated + 1:
            raise DecodeFailure(f"it ended at the container's count of {self._stated}, which is too low")
        return False

    def _retrieve(self) -> NDArray[np.uint8]:
        retrieved, image = self._capture.retrieve()
        if not retrieved or image is None or image.ndim != 3 or image.shape[2] != 3:
            raise DecodeFailure(f"frame {self._position} cannot be converted to RGB")
        return np.asarray(self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB), np.uint8)

    def _compare(self, image: NDArray[np.uint8]) -> None:
        if self._first is None:
            self._first = image
        self._varies = not np.array_equal(self._first, image)
        self._compared += 1
        if self._varies:
            self._first = None
