"""Reading a layer's output as maps over frames and pixels.

A network's layers hand on tensors of several forms, and nothing in them says which axis is what:

    (B, C, h, w)  (B, h, w, C)              convolutions; timm's Swin
    (B, C, t, h, w)  (B, t, h, w, C)        3D convolutions; torchvision's Swin3d
    (B, L, C)  (L, B, C)                    tokens; CLIP's and torch's own transformers put the sequence first

B is 1 (one clip), the number of images, or the number of frames of the clip, where a network folds frames into the batch.
L is the grid's cells, frame by frame, after up to `MOST_PREFIX` other tokens (class, distillation, registers).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

MOST_PREFIX = 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """The input of the pass that is watched: one clip, or the frames of a sample as images."""

    is_clip: bool
    frames: int
    """Frames of the clip, or images."""
    height: int
    width: int

    @property
    def batches(self) -> tuple[int, ...]:
        """What the first axis of a layer's output may be."""
        return (1, self.frames) if self.is_clip and self.frames > 1 else (self.frames,)

    def is_grid(self, height: int, width: int) -> bool:
        """More than one cell, no more than pixels, and of the input's shape to within a cell."""
        fits = abs(height * self.width - width * self.height) <= max(self.height, self.width)
        return height * width > 1 and height <= self.height and width <= self.width and fits


@dataclass(frozen=True, slots=True)
class Reading:
    """How one output is a map."""

    form: str
    """`channels-first`, `channels-last`, `tokens` or `tokens-first` (L before B)."""
    batch: int
    frames: int
    """Frames of the map in each of the batch: t of a 3D map, else 1."""
    height: int
    width: int
    prefix: int = 0
    """Tokens before those of the map."""

    @property
    def is_tokens(self) -> bool:
        """Whether the layer hands on a sequence of tokens."""
        return self.form.startswith("tokens")


def read_map(shape: tuple[int, ...], geometry: Geometry, grids: Iterable[Reading]) -> Reading | None:
    """How an output of that shape is a map, or None. `grids` are the convolutions' maps before it: tokens come from one."""
    if len(shape) in (4, 5):
        return _convolutional(shape, geometry)
    if len(shape) == 3:
        first, second = shape[:2]
        found = None
        if first in geometry.batches:
            found = _tokens("tokens", first, second, geometry, tuple(grids))
        if found is None and second in geometry.batches:
            found = _tokens("tokens-first", second, first, geometry, tuple(grids))
        return found
    return None


def _convolutional(shape: tuple[int, ...], geometry: Geometry) -> Reading | None:
    if shape[0] not in geometry.batches:
        return None
    if len(shape) == 5 and not geometry.is_clip:
        return None
    *front, height, width = shape[2:]
    if geometry.is_grid(height, width) and (front or [1])[0] <= geometry.frames:
        return Reading("channels-first", shape[0], (front or [1])[0], height, width)
    *front, height, width, _ = shape[1:]
    if geometry.is_grid(height, width) and (front or [1])[0] <= geometry.frames:
        return Reading("channels-last", shape[0], (front or [1])[0], height, width)
    return None


def _tokens(form: str, batch: int, length: int, geometry: Geometry, grids: tuple[Reading, ...]) -> Reading | None:
    """The grid of `length` tokens: that of the convolution they were cut by, or one that a merging of patches leaves."""
    cut_by = [(grid.frames * grid.batch // batch, grid.height, grid.width) for grid in grids if grid.batch >= batch]
    # A sequence of one token per patch of one frame, after the frames were fused.
    cut_by += [(1, grid.height, grid.width) for grid in grids]
    for frames, height, width in dict.fromkeys(cut_by):
        if 0 <= length - frames * height * width <= MOST_PREFIX:
            return Reading(form, batch, frames, height, width, length - frames * height * width)
    if length in (geometry.frames, geometry.frames + 1) and geometry.frames > 1:
        return None  # one token per frame: time, not place
    for prefix in (0,) if grids else (0, 1, 2, 5):
        height, width = _sides(length - prefix, geometry)
        merged = not grids or any(grid.height % height == 0 and grid.width % width == 0 for grid in grids if height)
        if height and merged:
            return Reading(form, batch, 1, height, width, prefix)
    return None


def _sides(cells: int, geometry: Geometry) -> tuple[int, int]:
    """Height and width of a grid of so many cells with exactly the input's proportions; zeros when there is none."""
    for height in range(1, cells + 1):
        if cells % height == 0 and height * geometry.width == (cells // height) * geometry.height and cells > 1:
            return height, cells // height
    return 0, 0


def as_maps(output: Tensor, reading: Reading) -> Tensor:
    """The output as (B, C, h, w), or (B, C, t, h, w) where the map has frames of its own."""
    if reading.form == "channels-first":
        return output
    if reading.form == "channels-last":
        return output.movedim(-1, 1)
    tokens = output if reading.form == "tokens" else output.transpose(0, 1)
    tokens = tokens[:, reading.prefix :].transpose(1, 2)
    frames = (reading.frames,) if reading.frames > 1 else ()
    return tokens.reshape(tokens.shape[0], tokens.shape[1], *frames, reading.height, reading.width)
