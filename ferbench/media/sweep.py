"""The contract of a video decoder: one pass over the frames, forward only. And how a decoder gives up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import MediaError


class Sweep(Protocol):
    """One pass over a video. Frame k is the k-th frame that the decoder puts out, in presentation order.

    There is no seeking: what a container says about where its frames are is what cannot be trusted. A decoder that
    finds that its frames are not what it was asked for raises DecodeFailure; other exceptions count as one.
    """

    estimate: int | None
    """Frames to expect, or None. A guess to choose frames with in the first pass; the pass itself counts them."""

    @property
    def must_finish(self) -> bool:
        """True while the frames read so far are proven only by a pass that reaches the end of the video."""
        ...

    def skip(self, count: int) -> int:
        """Pass over `count` frames without converting them. Returns how many there were; fewer is the end."""
        ...

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame, (H, W, 3) RGB uint8, its own copy and C-contiguous; None at the end."""
        ...

    def close(self) -> None:
        """Free the decoder."""
        ...


class OpenSweep(Protocol):
    """Opens a path for one sweep; a row of `ferbench.media.video.DECODERS`."""

    def __call__(self, path: str, *, bounded: bool) -> Sweep:
        """`bounded`: the pass may stop before the end, so it cannot be checked there."""
        ...


class DecodeFailure(MediaError):
    """One decoder cannot read a video, or cannot be trusted with it; the next may. The message is a clause."""

    default_reason = "decode-failed"


@contextmanager
def decoder_failures(path: str) -> Iterator[None]:
    """Exceptions of a decoder library become DecodeFailure. Wrap only a decoder's own code in it."""
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        text = " ".join(str(error).replace(path, "").split())
        raise DecodeFailure(f"{type(error).__name__}: {text}" if text else type(error).__name__) from error
