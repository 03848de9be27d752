"""Settings of augmentations, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ferbench.errors import UsageError

Rng = np.random.Generator


def chance(value: Any, name: str) -> float:
    """A probability. UsageError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"augment {name}: p is a probability, 0 to 1, got {value!r}")
    return float(value)


def pair(value: Any, name: str, setting: str, *, least: float, most: float) -> tuple[float, float]:
    """Two numbers within `least` and `most`, the first not above the second. UsageError."""
    given = tuple(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else ()
    numbers = [float(each) for each in given if isinstance(each, (int, float)) and math.isfinite(each)]
    if len(numbers) != 2 or len(given) != 2 or not least <= numbers[0] <= numbers[1] <= most:
        raise UsageError(
            f"augment {name}: {setting} is two numbers from {least:g} to {most:g}, the smaller first, got {value!r}"
        )
    return numbers[0], numbers[1]


def size_of(size: Any, frames: Any, name: str) -> tuple[int, int]:
    """(height, width) of a side, of two, or None for that of the frames. UsageError."""
    if size is None:
        return int(frames.shape[1]), int(frames.shape[2])
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        raise UsageError(f"augment {name}: size is a side or [height, width] in pixels, got {size!r}")
    return int(sides[0]), int(sides[1])
