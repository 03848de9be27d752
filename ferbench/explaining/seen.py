"""A sample as the model sees it, and as people do: the same frames, once as its input and once as pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.clips import check_length, clip_sampler, prepare_frames, read_sample
from ferbench.errors import FerbenchError
from ferbench.inputspec import InputSpec
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader
from ferbench.sampling import Sampler


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One sample."""

    frames: tuple[NDArray[np.uint8], ...]
    """T pictures (H, W, 3) RGB, as they are on the disk."""
    clip: NDArray[np.float32]
    """(T, C, height, width) of the same frames, as the model takes them."""


def see(manifest: Manifest, sample: Sample, spec: InputSpec, reader: FrameReader) -> Seen:
    """Read a sample. Raises MediaError, or FerbenchError with the reason for which it failed before."""
    assert_usable(sample)
    batch = read_sample(manifest, sample, clip_sampler(manifest, sample, spec), reader)
    check_length(len(batch.indices), spec)
    frames = tuple(batch.frames[index] for index in batch.indices)
    return Seen(frames, prepare_frames(frames, spec))


def pictures(manifest: Manifest, sample: Sample, reader: FrameReader, *, most: int) -> tuple[NDArray[np.uint8], ...]:
    """At most `most` frames of a sample (H, W, 3) RGB, evenly spread over it, where no model says which."""
    assert_usable(sample)
    batch = read_sample(manifest, sample, Sampler("uniform", clip_len=most, short="keep"), reader)
    return tuple(batch.frames[index] for index in batch.indices)


def assert_usable(sample: Sample) -> None:
    """FerbenchError with the reason for which the sample failed in an earlier stage."""
    if sample.status == "failed":
        reason, _, message = (sample.error or "failed: no reason recorded").partition(": ")
        raise FerbenchError(message or reason, reason=reason)
