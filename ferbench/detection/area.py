"""Area resizing from integral images: the only way pixels reach the three networks.

An output pixel is the mean over the source pixels that its bin touches. Bin i of n source pixels into m has the half-open
range floor(i * n / m) : ceil((i + 1) * n / m), so neighbouring bins may share a pixel. 5 pixels into 3:

    source  0   1   2   3   4
    bin 0   [-------)
    bin 1       [-----------)
    bin 2               [-------)

That is what `torch.nn.functional.interpolate(mode="area")` computes and what facenet-pytorch's weights were made to see.
From an integral image every such mean costs four look-ups whatever the size of the bin, for all candidates of all frames
in one go.

Pixels here have four channels: red, green, blue and a filler that the networks give no weight, so that one pixel of an
integral image is 16 bytes, which processors copy in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHANNELS = 4
"""Red, green, blue, filler."""


class Bins(NamedTuple):
    """Which source pixels each output pixel is the mean of, along one side."""

    start: NDArray[np.int64]
    """(..., m) first pixel."""
    end: NDArray[np.int64]
    """(..., m) the pixel after the last."""

    def part(self, first: int, last: int) -> Bins:
        """Those of the output pixels first : last."""
        return Bins(self.start[first:last], self.end[first:last])


@dataclass(frozen=True, slots=True, eq=False)
class Summed:
    """A rectangle of B frames of one size as integral images."""

    integral: Tensor
    """(B, h + 1, w + 1, 4) int32: entry y, x sums the rectangle's pixels above and left of it. Sums beyond 2**31 (over
    8.4 megapixels) wrap around, and wrap back in the differences taken here: results are exact while a single bin's sum
    fits, which is 8.4 megapixels per output pixel."""
    top: int
    left: int
    """Where in the frame the rectangle begins; (0, 0) for whole frames."""

    @property
    def bottom(self) -> int:
        """The row after the rectangle's last, in the frame."""
        return self.top + self.integral.shape[1] - 1

    @property
    def right(self) -> int:
        """The column after the rectangle's last, in the frame."""
        return self.left + self.integral.shape[2] - 1

    def __len__(self) -> int:
        return len(self.integral)


def summed(frames: Sequence[NDArray[np.uint8]], *, device: torch.device, top: int = 0, left: int = 0) -> Summed:
    """Frames, or the rectangles cut from them that begin at `top`, `left`, as integral images on `device`.

    `frames`: at least one, each (h, w, 3) uint8 of one size.
    """
    height, width = frames[0].shape[:2]
    sums = np.empty((len(frames), height + 1, width + 1, CHANNELS), np.int32)
    for index, frame in enumerate(frames):
        cv2.integral(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2RGBA), sum=sums[index], sdepth=cv2.CV_32S)
    return Summed(torch.from_numpy(sums).to(device), top, left)


@lru_cache(maxsize=1024)
def bins(length: int, count: int) -> Bins:
    """The `count` bins over `length` pixels: starts and ends (count,)."""
    return bins_of_each(np.array(length), count)


def bins_of_each(lengths: NDArray[np.int64], count: int) -> Bins:
    """The `count` bins over each of `lengths` (...,) pixels: starts and ends (..., count)."""
    steps = np.arange(count + 1) * lengths[..., None]
    return Bins(steps[..., :-1] // count, -(-steps[..., 1:] // count))


def resize_area(pixels: Summed, rows: Bins, columns: Bins) -> Tensor:
    """The output pixels of `rows` x `columns`, in frame coordinates: (B, len(rows), len(columns), 4) float32, 0..255."""
    integral = pixels.integral
    strips = _taken(integral, rows.end - pixels.top, 1).sub_(_taken(integral, rows.start - pixels.top, 1))
    sums = _taken(strips, columns.end - pixels.left, 2).sub_(_taken(strips, columns.start - pixels.left, 2))
    return _means(sums, rows.end - rows.start, columns.end - columns.start)


def crop_and_resize(pixels: Summed, frame: NDArray[np.int64], bounds: NDArray[np.int64], *, size: int) -> Tensor:
    """One square patch per candidate: (N, size, size, 4) float32, 0..255.

    `frame` (N,): 0..B-1. `bounds` (N, 4): x0, y0, x1, y1 in the frame, half-open, inside the rectangle and not empty.
    """
    _, rows_per_frame, stride, channels = pixels.integral.shape
    corners = pixels.integral.view(-1, channels)
    columns = bins_of_each(bounds[:, 2] - bounds[:, 0], size)
    rows = bins_of_each(bounds[:, 3] - bounds[:, 1], size)
    base = (frame * rows_per_frame + bounds[:, 1] - pixels.top) * stride + bounds[:, 0] - pixels.left
    top, bottom = (base[:, None, None] + (side * stride)[:, :, None] for side in rows)
    left, right = (side[:, None, :] for side in columns)
    sums = _taken(corners, bottom + right, 0)
    sums.sub_(_taken(corners, top + right, 0)).sub_(_taken(corners, bottom + left, 0)).add_(
        _taken(corners, top + left, 0)
    )
    return _means(sums, rows.end - rows.start, columns.end - columns.start)


def _taken(source: Tensor, index: NDArray[np.int64], axis: int) -> Tensor:
    """The slices of `source` at `index` (any shape) along `axis`."""
    if source.device.type == "cpu":
        # numpy copies pixels of 16 bytes in one instruction each; index_select takes twice as long.
        return torch.from_numpy(source.numpy().take(index, axis))
    flat = source.index_select(axis, torch.from_numpy(index.reshape(-1)).to(source.device))
    return flat.view(*source.shape[:axis], *index.shape, *source.shape[axis + 1 :])


def _means(sums: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Tensor:
    """Sums (N, h, w, 4) int32 over the pixels in each bin: `rows` (h,) or (N, h), `columns` (w,) or (N, w)."""
    number, height, width, channels = sums.shape
    # Channels and columns as one axis: dividing by one number per pixel, four values at a time, is several times slower.
    means = sums.float().view(number, height, width * channels)
    means /= torch.from_numpy(columns.astype(np.float32).repeat(channels, -1)).to(sums.device).unsqueeze(-2)
    means /= torch.from_numpy(rows.astype(np.float32)).to(sums.device).unsqueeze(-1)
    return means.view(sums.shape)
