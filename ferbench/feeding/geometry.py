"""Augmentations that move pixels: the same for every frame of a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferbench.errors import UsageError
from ferbench.feeding.settings import Rng, chance, pair, size_of

Frames = NDArray[Any]
"""(T, H, W, C) uint8 or float32."""

_CV2 = {"cv2-linear": cv2.INTER_LINEAR, "cv2-area": cv2.INTER_AREA}
_TORCH = {"pil-bilinear": "bilinear", "pil-bicubic": "bicubic"}


def resized(frames: Frames, size: tuple[int, int], resize: str = "pil-bilinear") -> Frames:
    """(T, height, width, C) at `size` (height, width); `resize` is one of `ferbench.inputspec.RESIZES`.

    Pillow's filters by torch's own form of them, on all frames at once. Bilinear is within 1 of Pillow's pixels: both round
    between the axes, and Pillow may begin with the other one.
    """
    if frames.shape[1:3] == size:
        return frames
    if resize in _CV2:
        each = [cv2.resize(frame, size[::-1], interpolation=_CV2[resize]) for frame in frames]
        return np.stack(each).reshape(len(frames), *size, -1)
    import torch

    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)
    done = torch.nn.functional.interpolate(planes, size, mode=_TORCH[resize], antialias=True)
    return np.ascontiguousarray(done.permute(0, 2, 3, 1).numpy())


def resize(frames: Frames, rng: Rng, *, size: Any = None, resize: str = "pil-bilinear") -> Frames:
    """To `size`, a side or (height, width): before a `random-crop`."""
    return resized(frames, size_of(size, frames, "resize"), resize)


def random_resized_crop(
    frames: Frames, rng: Rng, *, scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3),
    size: Any = None, resize: str = "pil-bilinear",
) -> Frames:  # fmt: skip
    """A crop of `scale` of the area and of the aspect `ratio`, resized to `size`.

    The rule of torchvision's RandomResizedCrop (Szegedy et al. 2015): ten tries, else the largest crop of a fitting ratio
    in the middle.
    """
    scale = pair(scale, "random-resized-crop", "scale", least=1e-6, most=1.0)
    ratio = pair(ratio, "random-resized-crop", "ratio", least=1e-3, most=1e3)
    wanted = size_of(size, frames, "random-resized-crop")
    top, left, height, width = crop_box(frames.shape[1], frames.shape[2], rng, scale=scale, ratio=ratio)
    return resized(frames[:, top : top + height, left : left + width], wanted, resize)


def crop_box(
    height: int, width: int, rng: Rng, *, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) by torchvision's RandomResizedCrop.get_params."""
    area = height * width
    for _ in range(10):
        target = area * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    own = width / height
    if own < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif own > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def flip(frames: Frames, rng: Rng, *, p: float = 0.5) -> Frames:
    """Turned left to right, with probability `p`."""
    if rng.random() >= chance(p, "flip"):
        return frames
    # One tall picture: numpy's own copy of turned rows takes twenty times as long.
    upright = np.ascontiguousarray(frames)
    return cv2.flip(upright.reshape(-1, *frames.shape[2:]), 1).reshape(frames.shape)


def random_crop(
    frames: Frames, rng: Rng, *, padding: int = 0, size: Any = None, resize: str = "pil-bilinear"
) -> Frames:
    """A crop of `size` at any place of the frames with `padding` black pixels on each side, as torchvision's RandomCrop.

    Frames of which no such crop can be taken are resized to `size` first.
    """
    if isinstance(padding, bool) or not isinstance(padding, int) or padding < 0:
        raise UsageError(f"augment random-crop: padding is a number of pixels, got {padding!r}")
    height, width = size_of(size, frames, "random-crop")
    if frames.shape[1] + 2 * padding < height or frames.shape[2] + 2 * padding < width:
        frames = resized(frames, (height, width), resize)
    top = int(rng.integers(frames.shape[1] + 2 * padding - height + 1))
    left = int(rng.integers(frames.shape[2] + 2 * padding - width + 1))
    padded = np.pad(frames, ((0, 0), (padding, padding), (padding, padding), (0, 0))) if padding else frames
    return padded[:, top : top + height, left : left + width]


def rotation(frames: Frames, rng: Rng, *, degrees: Any = 10.0, resample: str = "nearest") -> Frames:
    """Turned by an angle from -`degrees` to `degrees` (or from a pair) about the middle; what comes in is black.

    torchvision's RandomRotation, with its filter (`nearest`), or `bilinear`.
    """
    least, most = (-degrees, degrees) if isinstance(degrees, (int, float)) else degrees
    least, most = pair((least, most), "rotation", "degrees", least=-360.0, most=360.0)
    if resample not in ("nearest", "bilinear"):
        raise UsageError(f"augment rotation: resample is nearest or bilinear, not {resample!r}")
    angle = rng.uniform(least, most)
    if resample == "bilinear":
        turned = [Image.fromarray(frame).rotate(angle, Image.Resampling.BILINEAR) for frame in as_bytes(frames)]
        return np.stack([np.asarray(picture) for picture in turned])
    return moved(frames, lambda picture: picture.rotate(angle, Image.Resampling.NEAREST, fillcolor=-1))


def moved(frames: Frames, move: Any, *, fill: int = 0) -> Frames:
    """Frames whose pixels are taken from where `move` takes them: it is given a picture of places (mode I, -1 is `fill`).

    One picture is moved for all frames, by Pillow's own rounding.
    """
    count, height, width, channels = frames.shape
    places = np.asarray(move(Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width)))).ravel()
    taken = frames.reshape(count, height * width, channels)[:, places]
    taken[:, places < 0] = fill
    return taken.reshape(frames.shape)


def random_erasing(
    frames: Frames, rng: Rng, *, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33),
    ratio: Sequence[float] = (0.3, 3.3), value: Any = 0,
) -> Frames:  # fmt: skip
    """One box of every frame painted with `value` (0..255, as the pixels), or with noise (`random`), at probability `p`.

    The rule of torchvision's RandomErasing (Zhong et al. 2020), which works on values that were normalised already: its 0
    there is the mean colour here.
    """
    scale = pair(scale, "random-erasing", "scale", least=0.0, most=1.0)
    ratio = pair(ratio, "random-erasing", "ratio", least=1e-3, most=1e3)
    if value != "random" and (isinstance(value, str) or not 0 <= float(np.min(value)) <= float(np.max(value)) <= 255):
        raise UsageError(f"augment random-erasing: value is 0..255 or 'random', got {value!r}")
    if rng.random() >= chance(p, "random-erasing"):
        return frames
    height, width = frames.shape[1:3]
    for _ in range(10):
        target = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        h, w = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if h < height and w < width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            noise = rng.integers(0, 256, (h, w, frames.shape[3])) if value == "random" else value
            frames = frames.copy()
            frames[:, top : top + h, left : left + w] = noise
            return frames
    return frames


def as_bytes(frames: Frames) -> NDArray[np.uint8]:
    """uint8, contiguous; floats (0..255) are rounded."""
    if frames.dtype == np.uint8:
        return np.ascontiguousarray(frames)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)
