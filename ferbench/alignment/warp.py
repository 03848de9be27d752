"""From a frame and a face to a crop: the similarity transform, the box crop, the whole frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench.alignment.options import INTERPOLATIONS, CropOptions
from ferbench.alignment.templates import BoxCrop, crop_size, find_template, scaled
from ferbench.errors import FaceError
from ferbench.faces import AlignedFace, Face

FLATNESS = 1e-3
"""Points are on a line when their spread across it is at most this part of their spread along it."""
SMALLEST_SPREAD_PX = 1e-3
"""Points closer together than this are one point."""
UNLIKE = 1e-6
"""Correlation of two point sets, 0..1, below which no similarity takes one to the other."""


def similarity_transform(points: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The (2, 3) matrix of the rotation, uniform scale and shift, without reflection, that best takes `points` to `target`.

    Both (N, 2) x, y; best in the sense of least squares over the distances in `target`'s pixels (Umeyama, "Least-squares
    estimation of transformation parameters between two point patterns", 1991). In the plane the solution is one line: with
    the centred points as complex numbers z and w, the factor conj(z) w / conj(z) z turns and scales.

    Raises FaceError, reason `bad-landmarks`, when either set has NaN or inf or lies on a line or in one point.
    """
    source, goal = _centred(points), _centred(target)
    z, w = source[0] @ (1, 1j), goal[0] @ (1, 1j)
    likeness = np.vdot(z, w)
    if abs(likeness) < UNLIKE * np.linalg.norm(z) * np.linalg.norm(w):
        raise FaceError("the landmarks are unlike a face: no turn fits better than another", reason="bad-landmarks")
    factor = likeness / np.vdot(z, z).real
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, goal[1] - linear @ source[1]])


def align_face(frame: NDArray[np.uint8], face: Face, options: CropOptions, *, origin: str = "detected") -> AlignedFace:
    """The crop of one face.

    `frame` (H, W, 3) uint8 RGB. What lies beyond the frame is black. `origin` is passed on, see `AlignedFace`. Raises
    FaceError: `bad-landmarks` for points no transform can be made from, `bad-box` for a box without a pixel of the frame
    (template `margin` only); ValueError for anything that is not such a frame.
    """
    _check_frame(frame)
    template = find_template(options.template)
    if isinstance(template, BoxCrop):
        image, matrix = _box_crop(frame, face, size=options.size, margin=options.margin)
    else:
        goal = scaled(template, options.size)
        matrix = similarity_transform(face.landmarks, goal.points)
        image = _warp(frame, matrix, width=goal.width, height=goal.height, interpolation=options.interpolation)
    return AlignedFace(image=image, matrix=matrix, face=face, origin=origin)


def full_frame(frame: NDArray[np.uint8], options: CropOptions) -> AlignedFace:
    """The whole frame, shrunk or enlarged to fit the crop and centred, black bars beside it; `face` None.

    `frame` (H, W, 3) uint8 RGB. Shrunk with area, enlarged with `options.interpolation`.
    """
    _check_frame(frame)
    width, height = crop_size(find_template(options.template), options.size)
    rows, columns = frame.shape[:2]
    scale = min(width / columns, height / rows)
    inner = max(1, round(columns * scale)), max(1, round(rows * scale))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    flag = cv2.INTER_AREA if scale < 1 else INTERPOLATIONS[options.interpolation]
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + inner[1], left : left + inner[0]] = cv2.resize(frame, inner, interpolation=flag)
    matrix = _resize_matrix((0, 0, columns, rows), inner) + np.array([[0, 0, left], [0, 0, top]])
    return AlignedFace(image=image, matrix=matrix, face=None, origin="full-frame")


def _centred(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points around their mean, and the mean, in float64; raises FaceError unless they span a plane."""
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        raise FaceError("a landmark is not a number", reason="bad-landmarks")
    mean = points.mean(axis=0)
    along, across = np.linalg.svd(points - mean, compute_uv=False)
    if along < SMALLEST_SPREAD_PX:
        raise FaceError("the landmarks are all in one point", reason="bad-landmarks")
    if across <= FLATNESS * along:
        raise FaceError("the landmarks are all on one line", reason="bad-landmarks")
    return points - mean, mean


def _warp(
    frame: NDArray[np.uint8], matrix: NDArray[np.float64], *, width: int, height: int, interpolation: str
) -> NDArray[np.uint8]:
    """The (height, width, 3) crop that `matrix` (2, 3), source pixels -> crop pixels, makes of the frame."""
    flag = INTERPOLATIONS[interpolation]
    if interpolation == "area":
        # warpAffine looks at four source pixels per crop pixel, so a face shrunk by more than two aliases: average first.
        factor = int(1 / np.hypot(matrix[0, 0], matrix[1, 0]) + 1e-6)  # 3.9999999 is four
        if factor >= 2:
            frame, matrix = _shrunk(frame, factor), matrix @ _enlarging(factor)
        flag = cv2.INTER_LINEAR
    image = cv2.warpAffine(frame, matrix, (width, height), flags=flag, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(image, np.uint8)


def _shrunk(frame: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Means over `factor` x `factor` pixels; rows and columns missing to a multiple are black, as beyond the frame."""
    rows, columns = frame.shape[:2]
    padded = cv2.copyMakeBorder(frame, 0, -rows % factor, 0, -columns % factor, cv2.BORDER_CONSTANT, value=0)
    size = padded.shape[1] // factor, padded.shape[0] // factor
    return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.uint8)


def _enlarging(factor: int) -> NDArray[np.float64]:
    """(3, 3): pixels of the frame shrunk by `factor` -> pixels of the frame. Pixel 0's centre is that of 0..factor-1."""
    shift = (factor - 1) / 2
    return np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]], np.float64)


def _box_crop(
    frame: NDArray[np.uint8], face: Face, *, size: int, margin: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The crop of facenet-pytorch's `extract_face` and its matrix.

    The box grows by margin / (size - margin) of its width and height, half on each side, so that `margin` pixels of the
    crop lie around the box; then it is clipped to the frame and truncated to whole pixels.
    """
    rows, columns = frame.shape[:2]
    x0, y0, x1, y1 = (float(value) for value in face.box)
    if not np.isfinite([x0, y0, x1, y1]).all():
        raise FaceError("the box is not a number", reason="bad-box")
    around_x, around_y = margin * (x1 - x0) / (size - margin), margin * (y1 - y0) / (size - margin)
    left, top = int(max(x0 - around_x / 2, 0)), int(max(y0 - around_y / 2, 0))
    right, bottom = int(min(x1 + around_x / 2, columns)), int(min(y1 + around_y / 2, rows))
    if right <= left or bottom <= top:
        raise FaceError(f"the box {face!r} has no pixel of the {columns}x{rows} frame", reason="bad-box")
    image = cv2.resize(frame[top:bottom, left:right], (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8), _resize_matrix((left, top, right, bottom), (size, size))


def _resize_matrix(region: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    """(2, 3) map that `cv2.resize` makes from region x0, y0, x1, y1 (half-open) to size (width, height)."""
    left, top, right, bottom = region
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    return np.array([[across, 0, (0.5 - left) * across - 0.5], [0, down, (0.5 - top) * down - 0.5]])


def _check_frame(frame: NDArray[np.uint8]) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0 or frame.dtype != np.uint8:
        raise ValueError(f"the frame has shape {frame.shape} and dtype {frame.dtype}; expected (H, W, 3) uint8 RGB")
