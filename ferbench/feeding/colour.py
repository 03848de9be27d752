"""Augmentations that change colours: drawn once, the same for every frame of a clip, with Pillow's own arithmetic.

What treats each pixel by itself is done to one tall picture of all frames, or by a table of the 256 values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from ferbench.errors import UsageError
from ferbench.feeding.geometry import Frames, as_bytes
from ferbench.feeding.settings import Rng, chance, pair

Bytes = NDArray[np.uint8]
"""(T, H, W, 3), C-contiguous."""


def color_jitter(
    frames: Frames, rng: Rng, *, brightness: Any = 0.0, contrast: Any = 0.0, saturation: Any = 0.0, hue: Any = 0.0
) -> Frames:
    """Brightness, contrast, saturation and hue in an order by lot, by torchvision's ColorJitter.

    A number v means factors from max(0, 1 - v) to 1 + v, and for hue shifts from -v to v (at most 0.5); a pair is taken as
    it is. Contrast moves each frame from its own mean grey.
    """
    ranges = [
        _factors(brightness, "brightness"), _factors(contrast, "contrast"), _factors(saturation, "saturation"),
        _factors(hue, "hue", middle=0.0, least=-0.5, most=0.5),
    ]  # fmt: skip
    steps: list[Callable[[Bytes, float], Bytes]] = [brightened, contrasted, saturated, hue_shifted]
    done = as_bytes(frames)
    order = rng.permutation(4).tolist()
    # Drawn whether they are used or not, so that one setting does not change what the others get.
    factors = [rng.uniform(*(limits or (0.0, 1.0))) for limits in ranges]
    for place in order:
        if ranges[place] is not None:
            done = steps[place](done, factors[place])
    return done


def grey(frames: Frames, rng: Rng, *, p: float = 0.1) -> Frames:
    """Three equal channels of ITU-R BT.601 luma, with probability `p`: torchvision's RandomGrayscale."""
    if rng.random() >= chance(p, "grey"):
        return frames
    return pointwise(as_bytes(frames), lambda picture: picture.convert("L").convert("RGB"))


def gaussian_blur(
    frames: Frames, rng: Rng, *, kernel_size: int = 3, sigma: Sequence[float] = (0.1, 2.0), p: float = 1.0
) -> Frames:
    """torchvision's GaussianBlur with a deviation from `sigma`, with probability `p`; within 1 of its pixels."""
    sigma = pair(sigma, "gaussian-blur", "sigma", least=1e-3, most=100.0)
    if isinstance(kernel_size, bool) or not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise UsageError(f"augment gaussian-blur: kernel-size is an odd number of pixels, got {kernel_size!r}")
    if rng.random() >= chance(p, "gaussian-blur"):
        return frames
    width = rng.uniform(*sigma)
    kernel = (kernel_size, kernel_size)
    blurred = [cv2.GaussianBlur(frame, kernel, width, borderType=cv2.BORDER_REFLECT_101) for frame in as_bytes(frames)]
    return np.stack(blurred)


def brightened(frames: Bytes, factor: float) -> Bytes:
    """Blended with black: ImageEnhance.Brightness."""
    return np.asarray(cv2.LUT(frames.reshape(-1, 1), _blended(0, factor)), np.uint8).reshape(frames.shape)


def contrasted(frames: Bytes, factor: float) -> Bytes:
    """Each frame blended with its mean grey: ImageEnhance.Contrast."""
    count, height, width, _ = frames.shape
    luma = np.asarray(tall(frames).convert("L")).reshape(count, height * width)
    done = np.empty_like(frames)
    for frame, values, place in zip(frames, luma, done, strict=True):
        cv2.LUT(frame, _blended(int(values.mean() + 0.5), factor), place)
    return done


def saturated(frames: Bytes, factor: float) -> Bytes:
    """Blended with its own grey: ImageEnhance.Color."""
    return pointwise(frames, lambda picture: ImageEnhance.Color(picture).enhance(factor))


def hue_shifted(frames: Bytes, shift: float) -> Bytes:
    """The hue of 8-bit HSV turned by `shift` of the circle: torchvision's adjust_hue on a picture."""

    def turned(picture: Image.Image) -> Image.Image:
        hue, saturation, value = picture.convert("HSV").split()
        moved = np.asarray(hue) + np.int32(shift * 255).astype(np.uint8)
        return Image.merge("HSV", (Image.fromarray(moved), saturation, value)).convert("RGB")

    return pointwise(frames, turned)


def tall(frames: Bytes) -> Image.Image:
    """The frames as one picture, one above the other."""
    return Image.fromarray(frames.reshape(-1, *frames.shape[2:]))


def pointwise(frames: Bytes, change: Callable[[Image.Image], Image.Image]) -> Bytes:
    """What `change` makes of each pixel, of all frames at once."""
    return np.asarray(change(tall(frames)), np.uint8).reshape(frames.shape)


def _blended(value: int, factor: float) -> Bytes:
    """(256,): every value blended with one, as Pillow computes it."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return np.asarray(Image.blend(Image.new("L", ramp.size, value), ramp, factor), np.uint8).reshape(256)


def _factors(
    value: Any, setting: str, *, middle: float = 1.0, least: float = 0.0, most: float = 100.0
) -> tuple[float, float] | None:
    """The range of a factor; None where it is always the one that changes nothing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            raise UsageError(f"augment color-jitter: {setting} cannot be negative, got {value}")
        value = (max(least, middle - value) if middle else -value, middle + value)
    limits = pair(value, "color-jitter", setting, least=least, most=most)
    return None if limits == (middle, middle) else limits
