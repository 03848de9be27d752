"""decord, read forward only.

decord's frame count is the number of packets in the file, and its positions follow from seeking; both can be wrong, and
it says nothing: where frames are missing it repeats the last one, and where a seek lands elsewhere every index is
shifted. What holds in any case is that the k-th call of `next` returns the k-th frame that FFmpeg puts out after the
position where decord starts. Hence the rule:

1. `next` and skipping are the only moves. `skip_frames` seeks when it crosses a keyframe, so steps stop before each.
2. decord is told to raise on the first repeated frame.
3. A pass that gets its last frame has seen one frame per packet, so it began at the first and lost none: frames and
   count are proven. A pass that may stop earlier (a range) is taken only from an mp4, where the start is exact.
4. Skipped frames are recognised by their timestamps; where these are not strictly increasing, or the end will not be
   reached, every frame is stepped over with `next` instead.

Anything else is a DecodeFailure.
"""

from __future__ import annotations

import importlib
import re
import sys
from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.media.containers import look
from ferbench.media.files import native_path
from ferbench.media.sweep import DecodeFailure

_STRIDE = 32
"""Frames passed over between two calls of `next`. decord loops for ever when it skips 128 frames beyond the end."""

_RAISE_ON_REPEAT = "0.00000001"
"""decord's `fault_tol`: the share of frames that may be repeats. Zero would switch the check off."""

_NOISE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: |Check failed: .*? \(\S+ vs\. \S+\) ")
"""The time of day, decord's source line, and the C++ condition that was not met."""


class DecordSweep:
    """A `Sweep` with decord."""

    def __init__(self, path: str, *, bounded: bool) -> None:
        decord = _import_decord()
        self._path = path
        self._repeats_error = decord.DECORDLimitReachedError
        decord.logging.set_level(decord.logging.QUIET)
        try:
            with native_path(path) as native:
                # One thread: with more, what a damaged video decodes to depends on the number of cores.
                self._reader: Any = decord.VideoReader(
                    native, ctx=decord.cpu(0), num_threads=1, fault_tol=_RAISE_ON_REPEAT
                )
            self._length = len(self._reader)
            times = self._reader.get_frame_timestamp(range(self._length))[:, 0]
            self._keys = sorted(self._reader.get_key_indices())
        except Exception as error:
            raise DecodeFailure(_clean(error, path)) from error
        # Absent timestamps are the smallest integer, in seconds a number of this size.
        ordered = bool(np.all(np.diff(times) > 0)) and abs(float(times[0])) < 1e9
        if ordered and times[0] < 0:
            raise DecodeFailure("frames before time zero, which an edit list drops")
        starts_exactly = ordered and look(path).kind == "mp4"
        self._starts_exactly = starts_exactly
        self.estimate: int | None = self._length
        self._stride = 1 if not ordered or (bounded and starts_exactly) else _STRIDE
        self._position = 0

    @property
    def must_finish(self) -> bool:
        """Rule 3."""
        return not self._starts_exactly

    def skip(self, count: int) -> int:
        """Every step ends with a `next`, which raises where frames ran out; the frames before it are not converted."""
        end = min(self._position + count, self._length)
        skipped = end - self._position
        while self._position < end:
            following = bisect_right(self._keys, self._position)
            key = self._keys[following] if following < len(self._keys) else self._length
            step = min(end - self._position, self._stride, key - self._position)
            if step > 1:
                self._call(self._reader.skip_frames, step - 1)
            self._call(self._reader.next)
            self._position += step
        return skipped

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame."""
        if self._position >= self._length:
            return None
        frame: NDArray[np.uint8] = self._call(self._reader.next).asnumpy()
        self._position += 1
        height, width = frame.shape[:2]
        # At some widths decord takes the padding of FFmpeg's rows for more channels: 96 wide comes out as (H, 96, 4).
        return np.ascontiguousarray(frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3))

    def close(self) -> None:
        """Free the reader."""
        self._reader = None

    def _call(self, function: Any, *arguments: int) -> Any:
        try:
            return function(*arguments)
        except self._repeats_error as error:
            raise DecodeFailure(f"it lists {self._length} frames, fewer decode") from error
        except StopIteration as error:
            raise DecodeFailure(f"it ended before frame {self._position}") from error
        except Exception as error:
            raise DecodeFailure(_clean(error, self._path)) from error


def _import_decord() -> Any:
    """decord without the CUDA libraries, all of which it loads where torch has them: 600 MB in every process."""
    if "decord" in sys.modules or "nvidia" in sys.modules:
        return importlib.import_module("decord")
    sys.modules["nvidia"] = None  # type: ignore[assignment]  # for import: there is no such package
    try:
        return importlib.import_module("decord")
    except OSError:
        pass  # a build for CUDA, which needs them
    finally:
        del sys.modules["nvidia"]
    return importlib.import_module("decord")


def _clean(error: Exception, path: str) -> str:
    """decord's message without what differs from one time or machine to the next."""
    text = _NOISE.sub("", str(error)).replace(f"[{path}]", "").replace(path, "the file")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160].rstrip(" .")
