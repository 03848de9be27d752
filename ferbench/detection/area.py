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
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def integral_images(frames: NDArray[np.uint8], *, device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, H + 1, W + 1, 3) int32 on `device`: entry y, x sums all pixels above and left of it.

    Sums beyond 2**31 (frames over 8.4 megapixels) wrap around, and wrap back in the differences taken here: results are
    exact while a single bin's sum fits, which is 8.4 megapixels per output pixel.
    """
    batch, height, width, channels = frames.shape
    sums = np.empty((batch, height + 1, width + 1, channels), np.int32)
    for index, frame in enumerate(frames):
        cv2.integral(frame, sum=sums[index], sdepth=cv2.CV_32S)
    return torch.from_numpy(sums).to(device)


def resize_area(integral: Tensor, *, height: int, width: int) -> Tensor:
    """Whole frames resized: (B, H + 1, W + 1, 3) int32 -> (B, 3, height, width) float32, 0..255."""
    top, bottom = _bins(torch.tensor(integral.shape[1] - 1, device=integral.device), height)
    left, right = _bins(torch.tensor(integral.shape[2] - 1, device=integral.device), width)
    rows = integral.index_select(1, bottom) - integral.index_select(1, top)
    sums = rows.index_select(2, right) - rows.index_select(2, left)
    pixels = (bottom - top)[:, None, None] * (right - left)[:, None]
    return (sums.float() / pixels.float()).permute(0, 3, 1, 2)


def crop_and_resize(integral: Tensor, frame: Tensor, bounds: Tensor, *, size: int) -> Tensor:
    """One square patch per candidate: (N, 3, size, size) float32, 0..255.

    `integral`: (B, H + 1, W + 1, 3) int32. `frame`: (N,) int64, 0..B-1. `bounds`: (N, 4) int64 x0, y0, x1, y1, half-open,
    inside the frame and not empty.
    """
    _, rows_per_frame, stride_row, channels = integral.shape
    stride_frame = rows_per_frame * stride_row
    corners = integral.view(-1, channels)
    left, right = _bins(bounds[:, 2] - bounds[:, 0], size)
    top, bottom = _bins(bounds[:, 3] - bounds[:, 1], size)
    base = (frame * stride_frame + bounds[:, 1] * stride_row + bounds[:, 0])[:, None, None]

    def sums_at(rows: Tensor, columns: Tensor) -> Tensor:
        index = base + (rows * stride_row)[:, :, None] + columns[:, None, :]
        return corners.index_select(0, index.view(-1)).view(-1, size, size, channels)

    sums = sums_at(bottom, right) - sums_at(top, right) - sums_at(bottom, left) + sums_at(top, left)
    pixels = (bottom - top)[:, :, None, None] * (right - left)[:, None, :, None]
    return (sums.float() / pixels.float()).permute(0, 3, 1, 2)


def _bins(length: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Starts and ends, (..., count) int64, of the `count` bins over `length` (...) pixels."""
    steps = torch.arange(count + 1, device=length.device) * length[..., None]
    return steps[..., :-1] // count, -(-steps[..., 1:] // count)
