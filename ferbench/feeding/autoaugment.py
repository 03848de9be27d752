"""AutoAugment's policies for CIFAR-10: Cubuk et al., "AutoAugment: Learning Augmentation Strategies from Data", CVPR 2019.

The paper's table of 25 sub-policies is in its appendix; ranges of the magnitudes are its table of operations, cut into ten,
as the authors' code and torchvision have them (translation 150 / 331 of the width).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ferbench.feeding.colour import Bytes, brightened, contrasted, pointwise, saturated
from ferbench.feeding.geometry import Frames, as_bytes, moved
from ferbench.feeding.settings import Rng

CIFAR_POLICIES = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate-x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear-y", 0.5, 8), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear-y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate-x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate-y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate-y", 0.9, 9), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate-y", 0.7, 9), ("autocontrast", 0.9, 1)),
)
"""Each: two of (operation, probability, magnitude 0..9)."""

_SIGNED = {"shear-y", "translate-x", "translate-y", "rotate", "brightness", "color", "contrast", "sharpness"}
"""Operations whose magnitude is negative half of the time."""


def autoaugment_cifar(frames: Frames, rng: Rng) -> Frames:
    """One sub-policy, the same for all frames; what is moved in is black."""
    policy = CIFAR_POLICIES[int(rng.integers(len(CIFAR_POLICIES)))]
    done = as_bytes(frames)
    for name, probability, level in policy:
        is_used, is_negative = rng.random() < probability, rng.random() < 0.5
        if is_used:
            done = operated(done, name, magnitude(name, level, done.shape[2], done.shape[1], is_negative=is_negative))
    return done


def magnitude(name: str, level: int, width: int, height: int, *, is_negative: bool) -> float:
    """What a level of 0..9 means: a slope, pixels, degrees, a factor less 1, bits that are kept, or a threshold."""
    most = {
        "shear-y": 0.3, "translate-x": 150 / 331 * width, "translate-y": 150 / 331 * height, "rotate": 30.0,
        "brightness": 0.9, "color": 0.9, "contrast": 0.9, "sharpness": 0.9,
    }.get(name)  # fmt: skip
    if most is not None:
        return (-1 if is_negative and name in _SIGNED else 1) * most * level / 9
    return {"posterize": float(8 - round(level / (9 / 4))), "solarize": 255 - 255 * level / 9}.get(name, 0.0)


def operated(frames: Bytes, name: str, amount: float) -> Bytes:
    """One operation on every frame."""
    return _OPERATIONS[name](frames, amount)


def _affine(frames: Bytes, *matrix: float) -> Bytes:
    def move(places: Image.Image) -> Image.Image:
        return places.transform(places.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=-1)

    return moved(frames, move)


def _rotated(frames: Bytes, degrees: float) -> Bytes:
    return moved(frames, lambda places: places.rotate(degrees, Image.Resampling.NEAREST, fillcolor=-1))


def _each(frames: Bytes, change: Callable[[Image.Image], Image.Image]) -> Bytes:
    """What depends on a frame's other pixels."""
    return np.stack([np.asarray(change(Image.fromarray(frame)), np.uint8) for frame in frames])


_OPERATIONS: dict[str, Callable[[Bytes, float], Bytes]] = {
    "shear-y": lambda frames, slope: _affine(frames, 1, 0, 0, slope, 1, 0),
    "translate-x": lambda frames, pixels: _affine(frames, 1, 0, -int(pixels), 0, 1, 0),
    "translate-y": lambda frames, pixels: _affine(frames, 1, 0, 0, 0, 1, -int(pixels)),
    "rotate": _rotated,
    "brightness": lambda frames, more: brightened(frames, 1 + more),
    "color": lambda frames, more: saturated(frames, 1 + more),
    "contrast": lambda frames, more: contrasted(frames, 1 + more),
    "sharpness": lambda frames, more: _each(frames, lambda picture: ImageEnhance.Sharpness(picture).enhance(1 + more)),
    "posterize": lambda frames, bits: pointwise(frames, lambda picture: ImageOps.posterize(picture, int(bits))),
    "solarize": lambda frames, limit: pointwise(frames, lambda picture: ImageOps.solarize(picture, math.ceil(limit))),
    "invert": lambda frames, _: 255 - frames,
    "autocontrast": lambda frames, _: _each(frames, ImageOps.autocontrast),
    "equalize": lambda frames, _: _each(frames, ImageOps.equalize),
}
