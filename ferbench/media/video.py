"""One read of a video: sweep it, count its frames honestly, keep the chosen ones. And the table of decoders.

container says 98, 95 decode, 4 wanted:

pass 1   choose for the 98 expected   12 36 61 85         . . x . . x . . x . . x .|    the end is at 95
pass 2   choose for the 95 counted    11 35 59 83         only if a chosen frame was not kept in pass 1
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import FerbenchError, MediaError, UsageError
from ferbench.media.decord_sweep import DecordSweep
from ferbench.media.opencv_sweep import OpenCVSweep
from ferbench.media.sweep import DecodeFailure, OpenSweep, Sweep, decoder_failures

DECODERS: dict[str, OpenSweep] = {
    "decord": DecordSweep,
    "opencv": OpenCVSweep,
}
"""Decoders by name. Another one is another row, or "package.module:function" where a decoder is named."""

_BLOCK = 32
"""Frames between two signs of life."""

MAX_BYTES = 4 * 2**30
"""Most memory that the chosen frames of one sample may take: 690 frames of 1920x1080, 4,660 of 640x480. They are held
together, here and in the process that asked for them."""


class FrameChooser(Protocol):
    """Chooses frames; a `ferbench.sampling.Sampler` is one.

    Called once more with another count when the expected one was wrong: the same count must give the same frames.
    """

    def indices(self, num_frames: int) -> Sequence[int]:
        """0-based positions below `num_frames`, in clip order; duplicates and any order are fine."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of a source's frames."""

    start: int = 0
    end: int | None = None
    """None: to the end of the source."""

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise MediaError(f"the frame range {self} is empty or negative", reason="bad-range")

    def __str__(self) -> str:
        return f"[{self.start}, {'end' if self.end is None else self.end})"

    def length_within(self, num_frames: int) -> int:
        """Frames of the range in a source of `num_frames`. Raises MediaError when it starts beyond the end."""
        if self.start >= num_frames:
            raise MediaError(
                f"the range {self} starts beyond the end: there are {num_frames} frames", reason="bad-range"
            )
        return (num_frames if self.end is None else min(self.end, num_frames)) - self.start


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrames:
    """What a decoder made of a request."""

    indices: tuple[int, ...]
    """In clip order, 0-based in the source."""
    frames: dict[int, NDArray[np.uint8]]
    """(H, W, 3) RGB by index."""
    num_frames: int
    """Frames of the range that exist."""
    total: int | None
    """Frames of the whole source; None when a range ended the pass before its end."""


def open_sweep_of(decoder: str) -> OpenSweep:
    """A decoder by its name in DECODERS or as "package.module:function". Raises UsageError."""
    if decoder in DECODERS:
        return DECODERS[decoder]
    module, _, function = decoder.partition(":")
    try:
        return cast(OpenSweep, getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError, ValueError):
        raise UsageError(
            f"unknown decoder {decoder!r}; known: {', '.join(DECODERS)}, or package.module:function"
        ) from None


def read_video(path: str, choose: FrameChooser, span: Span, *, decoder: str, tick: Callable[[], None]) -> VideoFrames:
    """Read the chosen frames of a video with one decoder. `tick` is called every few frames.

    Raises DecodeFailure when the decoder cannot do it, MediaError when no decoder could: `bad-range`, `no-frames`.
    """
    reader = _Reader(path, open_sweep_of(decoder), span, tick)
    sweep = reader.open(bounded=span.end is not None)
    try:
        expected = _expected(sweep.estimate, span)
        chosen = _first_choice(choose, expected, span.start)
        count, ended = reader.sweep(sweep, chosen, span.end)
    finally:
        sweep.close()
    if count == 0:
        raise DecodeFailure("it finds no frames", reason="no-frames")
    num_frames = span.length_within(count)
    if num_frames != expected or not chosen:
        chosen = choose_frames(choose, num_frames, span.start)
        reader.keep_only(chosen)
    if missing := set(chosen) - reader.frames.keys():
        sweep = reader.open(bounded=True)
        try:
            reader.sweep(sweep, missing, max(missing) + 1)
        finally:
            sweep.close()
        if missing - reader.frames.keys():
            raise DecodeFailure("a second pass came to fewer frames than the first")
    return VideoFrames(tuple(chosen), reader.frames, num_frames, count if ended else None)


def choose_frames(choose: FrameChooser, num_frames: int, start: int) -> tuple[int, ...]:
    """Indices in the source, `start` being the first of `num_frames`. Raises MediaError `no-frames` for none."""
    positions = [int(position) for position in choose.indices(num_frames)]
    if not positions:
        raise MediaError(f"no frame of {num_frames} was chosen", reason="no-frames")
    if min(positions) < 0 or max(positions) >= num_frames:
        raise ValueError(f"positions {min(positions)}..{max(positions)} were chosen of {num_frames} frames")
    return tuple(start + position for position in positions)


def assert_fits(num_frames: int, image: NDArray[np.uint8]) -> None:
    """MediaError when that many frames like this one would take more than MAX_BYTES."""
    if num_frames * image.nbytes > MAX_BYTES:
        height, width = image.shape[:2]
        raise MediaError(
            f"{num_frames} frames of {width}x{height} do not fit in the {MAX_BYTES / 2**30:g} GiB of one sample: "
            "sample fewer, or cut the video into ranges (start_frame, end_frame)",
            reason="too-large",
        )


def _expected(estimate: int | None, span: Span) -> int:
    """Frames to choose from in the first pass; 0 when there is nothing to go by. A range is taken at its word."""
    if estimate is None:
        return 0 if span.end is None else span.end - span.start
    return max(0, (estimate if span.end is None else min(estimate, span.end)) - span.start)


def _first_choice(choose: FrameChooser, expected: int, start: int) -> tuple[int, ...]:
    """What to keep in the first pass; nothing where the chooser refuses a count that may be wrong."""
    try:
        return choose_frames(choose, expected, start) if expected else ()
    except FerbenchError:
        return ()


class _Reader:
    """The frames kept so far, over one or two sweeps."""

    def __init__(self, path: str, opener: OpenSweep, span: Span, tick: Callable[[], None]) -> None:
        self._path = path
        self._opener = opener
        self._tick = tick
        self.frames: dict[int, NDArray[np.uint8]] = {}

    def open(self, *, bounded: bool) -> Sweep:
        with decoder_failures(self._path):
            return self._opener(self._path, bounded=bounded)

    def keep_only(self, indices: Sequence[int]) -> None:
        self.frames = {index: self.frames[index] for index in indices if index in self.frames}

    def sweep(self, sweep: Sweep, wanted: Sequence[int] | set[int], stop: int | None) -> tuple[int, bool]:
        """Keep the wanted frames; go on to `stop`. Returns the frames passed and whether the end was reached."""
        with decoder_failures(self._path):
            position = 0
            wanted = sorted(set(wanted))
            for index in wanted:
                position += self._skip(sweep, index - position)
                image = sweep.read() if position == index else None
                if image is None:
                    return position, True
                assert_fits(len(wanted), image)
                self.frames[index] = image
                position += 1
                self._tick()
            if stop is not None:
                position += self._skip(sweep, stop - position)
                if position < stop:
                    return position, True
            while stop is None or sweep.must_finish:
                passed = self._skip(sweep, _BLOCK)
                position += passed
                if passed < _BLOCK:
                    return position, True
            return position, False

    def _skip(self, sweep: Sweep, count: int) -> int:
        skipped = 0
        while skipped < count:
            block = min(_BLOCK, count - skipped)
            passed = sweep.skip(block)
            self._tick()
            skipped += passed
            if passed < block:
                break
        return skipped
