"""Test-time views: several clips of a sample, several crops of its frames, and their mirror images, averaged.

    temporal   K clips      MAE-DFER's two (the first and the last 16 of every 4th frame), or evenly shifted windows
    spatial    1, 3, 5      crops of frames resized a little larger: the middle; left, middle, right; corners and middle
    mirrored   flip         each of them, and it turned left to right

Every view belongs to one sample and is averaged with that sample's other views alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.clips import check_length, clip_sampler, prepare_frames, read_sample
from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader
from ferbench.sampling import Sampler

CROPS = (1, 3, 5)
AVERAGES = ("logits", "softmax")
LARGER = 256 / 224
"""Frames to crops, where several crops are asked for: the usual resize to 256 for crops of 224."""


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """The views of each sample and how they become one row of logits."""

    views: int = 1
    """Clips per sample, K. They differ as the model's sampler defines it: see `temporal_views`."""
    crops: int = 1
    """1, 3 or 5 crops of the model's size from frames that are `enlarge` times as large."""
    flip: bool = False
    """Each view mirrored as well."""
    enlarge: float = 0.0
    """Size of the frames over the size of the crops; 0 is 1 for one crop and 256/224 for more."""
    average: str = "logits"
    """What is averaged over views, frames and members: `logits`, or `softmax` probabilities, of which the logarithm is
    stored, so that the largest one and the probabilities are those of the mean."""

    def __post_init__(self) -> None:
        if self.views < 1:
            raise UsageError(f"views must be at least 1, got {self.views}")
        if self.crops not in CROPS:
            raise UsageError(f"crops must be one of {', '.join(map(str, CROPS))}, got {self.crops}")
        if self.average not in AVERAGES:
            raise UsageError(f"average {self.average!r} is not one of {', '.join(AVERAGES)}")
        if not (self.enlarge == 0 or 1 <= self.enlarge <= 4):
            raise UsageError(f"enlarge must be between 1 and 4, got {self.enlarge:g}")
        if self.crops > 1 and self.enlarge == 1:
            raise UsageError(
                f"{self.crops} crops of frames of the crops' own size are all the same; enlarge must be over 1"
            )

    @property
    def count(self) -> int:
        """Inputs of the model per sample."""
        return self.views * self.crops * (2 if self.flip else 1)

    def frame_size(self, spec: InputSpec) -> tuple[int, int]:
        """(height, width) that frames are resized to before they are cropped."""
        factor = self.enlarge or (LARGER if self.crops > 1 else 1.0)
        return round(spec.height * factor), round(spec.width * factor)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the provenance."""
        return dataclasses.asdict(self)


# --- temporal ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shifted:
    """View `view` of `count` of a sampler's clip: see `temporal_views`. One `FrameChooser`."""

    sampler: Sampler
    view: int
    count: int

    def indices(self, num_frames: int) -> list[int]:
        """As `Sampler.indices`."""
        return _VIEWS[self.sampler.mode](self, num_frames)


def _published(choice: Shifted, n: int) -> list[int]:
    """VideoMAE's test views: T of the strided list, from its start to its end in equal steps.

    For two of them MAE-DFER's: the first T and the last T (sunlicai/MAE-DFER kinetics.py).
    """
    sampler = choice.sampler
    strided = range(0, n, sampler.stride)
    if len(strided) < sampler.clip_len:
        return sampler.indices(n)
    start = (len(strided) - sampler.clip_len) * choice.view // (choice.count - 1)
    return list(strided[start : start + sampler.clip_len])


def _windows(choice: Shifted, n: int) -> list[int]:
    """Windows of every stride-th frame, the first at the start of the clip and the last at its end."""
    sampler = choice.sampler
    span = (sampler.clip_len - 1) * sampler.stride + 1
    if n < span:
        return sampler.indices(n)
    start = (n - span) * choice.view // (choice.count - 1)
    return list(range(start, start + span, sampler.stride))


def _within_segments(choice: Shifted, n: int) -> list[int]:
    """The sampler's own frames, shifted within their segments by equal parts of one: earlier, as it is, later."""
    sampler = choice.sampler
    per_segment = sampler.stride if sampler.mode in ("former", "dfer-clip") else 1
    segment = n * per_segment / sampler.clip_len
    shift = round(segment * ((choice.view + 0.5) / choice.count - 0.5))
    return [min(max(index + shift, 0), n - 1) for index in sampler.indices(n)]


_VIEWS = {
    "mae-dfer": _published,
    "stride": _windows,
    "uniform": _within_segments,
    "former": _within_segments,
    "dfer-clip": _within_segments,
    "m3dfel": _within_segments,
    "dfew": _within_segments,
}


def temporal_views(sampler: Sampler, count: int) -> tuple[Sampler | Shifted, ...]:
    """The choosers of `count` clips of a sample; one is the sampler itself.

    `mae-dfer` and `stride` give windows from the first to the last in equal steps; the segment samplers their frames
    shifted within the segments. UsageError for a sampler that has one clip only. A clip too short for a shift gives the
    same frames in every view.
    """
    if count == 1:
        return (sampler,)
    if sampler.mode not in _VIEWS:
        raise UsageError(
            f"--views {count}: the sampler {sampler.mode!r} has one clip per sample; samplers with several: "
            f"{', '.join(_VIEWS)}"
        )
    return tuple(Shifted(sampler, view, count) for view in range(count))


@dataclass(frozen=True, slots=True)
class _Together:
    """The frames of several choosers, one after the other, so that each frame is read once."""

    choosers: tuple[Sampler | Shifted, ...]

    def indices(self, num_frames: int) -> list[int]:
        return [index for chooser in self.choosers for index in chooser.indices(num_frames)]


# --- pixels -----------------------------------------------------------------------------------------------------------


def spatial_views(clip: NDArray[np.float32], spec: InputSpec, options: ViewOptions) -> list[NDArray[np.float32]]:
    """(T, C, H, W) frames of `options.frame_size` to crops (T, C, height, width), each followed by its mirror image."""
    height, width = clip.shape[2] - spec.height, clip.shape[3] - spec.width
    middle = (height // 2, width // 2)
    places = {
        1: (middle,),
        3: ((height // 2, 0), middle, (height // 2, width)),
        5: ((0, 0), (0, width), (height, 0), (height, width), middle),
    }[options.crops]
    found = []
    for top, left in places:
        crop = clip[:, :, top : top + spec.height, left : left + spec.width]
        found += [crop, crop[..., ::-1]] if options.flip else [crop]
    return found


def load_views(
    manifest: Manifest, sample: Sample, spec: InputSpec, options: ViewOptions, reader: FrameReader
) -> NDArray[np.float32]:
    """(V, T, C, height, width): every view of one sample, clips first, then crops, then mirror images.

    Clips that are the same frames are there once. Each frame is read and resized once. Raises MediaError.
    """
    sampler = clip_sampler(manifest, sample, spec)
    # A clip that was sampled when its faces were aligned, and a still, have no other clip.
    choosers = temporal_views(sampler, options.views if sampler.mode == spec.sampler else 1)
    batch = read_sample(manifest, sample, _Together(choosers) if len(choosers) > 1 else sampler, reader)
    length = len(batch.indices) // len(choosers)
    check_length(length, spec)
    clips = [batch.indices[place * length : (place + 1) * length] for place in range(len(choosers))]
    if len(set(clips)) == 1:
        clips = clips[:1]
    if options.count == 1 and not options.enlarge:
        return prepare_frames([batch.frames[index] for index in clips[0]], spec)[None]
    places = {index: place for place, index in enumerate(dict.fromkeys(batch.indices))}
    frames = prepare_frames([batch.frames[index] for index in places], spec, size=options.frame_size(spec))
    return stack_views([frames[[places[index] for index in clip]] for clip in clips], spec, options)


def stack_views(clips: Sequence[NDArray[np.float32]], spec: InputSpec, options: ViewOptions) -> NDArray[np.float32]:
    """(V, T, C, height, width) of the spatial views of clips (T, C, H, W) of `options.frame_size`."""
    return np.stack([view for clip in clips for view in spatial_views(clip, spec, options)])


# --- averages ---------------------------------------------------------------------------------------------------------


def average(logits: NDArray[np.float32], how: str, *, weights: Sequence[float] | None = None) -> NDArray[np.float32]:
    """(N, K) logits to (K,): the mean of the logits, or the logarithm of the mean of their softmax.

    `weights` (N,) are taken as they are: they should add up to 1. A logit of -inf is a probability of 0.
    """
    if how == "logits":
        if weights is None:
            return np.asarray(logits.mean(axis=0), np.float32)
        with np.errstate(invalid="ignore"):  # -inf of a member whose weight is 0
            return np.asarray(np.average(logits.astype(np.float64), axis=0, weights=weights), np.float32)
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    mean = np.average(powers / powers.sum(axis=-1, keepdims=True), axis=0, weights=weights)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(mean), np.float32)
