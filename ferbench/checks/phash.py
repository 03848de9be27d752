"""The perceptual hash of a picture: 64 bits that re-encoding and scaling leave as they are, or nearly.

The DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2.1: the
picture in grey, scaled to 32x32, its discrete cosine transform, and for each of the 8x8 lowest frequencies whether it is
above their median. Here the 8x8 block begins at the lowest frequency, as in the ImageHash package, and scaling is by area.

Numbers that two pictures must have in common, and where they come from: 128 photographs and video frames, each written as
JPEG of quality 60 and 90, scaled to half, both, and brightened by 10 %; 140 rendered faces aligned to 112 pixels, the same.

    bits that differ         copies: median 0, largest 4.    frames next to each other: 95 % at most 4.
                             unlike photographs: least 16.   aligned faces of two people: 5 of 9,310 pairs at most 4,
                             least of three real people 14 (13,824 pairs).
    likeness at most 4 bits  copies: least 0.998.            those 5 pairs, and 4 of one person: largest 0.977.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR_BITS = 4
"""Most bits in which the hashes of nearly equal pictures differ."""
NEAR_LIKENESS = 0.99
"""Least correlation of their low frequencies: aligned faces have so much in common that the bits alone would match those of
two people."""
FLAT_LEVELS = 4.0
"""Standard deviation, in grey levels of 256, below which a picture (a black frame, a title) is too empty to be compared.
Its bits are noise: copies of an animation's almost white frames (deviation 1.4) were up to 14 bits apart."""

_SIDE, _LOW = 32, 8


@dataclass(frozen=True, slots=True)
class PictureHash:
    """What is kept of a picture."""

    bits: int
    """64 bits."""
    shape: bytes
    """63 int8: the low frequencies but the mean, scaled to length 127; their correlation is the likeness."""


def hash_picture(image: NDArray[np.uint8]) -> PictureHash | None:
    """Of (H, W, 3) RGB uint8; None for a flat picture."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(small.std()) < FLAT_LEVELS:
        return None
    low = cv2.dct(small)[:_LOW, :_LOW].reshape(-1)
    bits = np.packbits(low > np.median(low))
    waves = low[1:] / np.linalg.norm(low[1:])
    return PictureHash(int.from_bytes(bits.tobytes(), "big"), np.rint(waves * 127).astype(np.int8).tobytes())


def likeness(shapes: NDArray[np.int8], others: NDArray[np.int8]) -> NDArray[np.float64]:
    """(n,) correlation of the low frequencies, row by row of two (n, 63) arrays."""
    one, other = shapes.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.maximum(lengths, 1e-9))
