"""A sample's frames as the float array a model takes. Pixels only: which frames is the sampler's, which model the job's."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferbench.errors import MediaError
from ferbench.inputspec import RANGES, InputSpec
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameBatch, FrameChooser, FrameReader, ReadRequest, read_frames
from ferbench.sampling import Sampler

_PIL = {"pil-bilinear": Image.Resampling.BILINEAR, "pil-bicubic": Image.Resampling.BICUBIC}
_CV2 = {"cv2-linear": cv2.INTER_LINEAR, "cv2-area": cv2.INTER_AREA}


def load_clip(manifest: Manifest, sample: Sample, spec: InputSpec, reader: FrameReader) -> NDArray[np.float32]:
    """(T, C, height, width) normalised frames of one sample; an image model gets every sampled frame as an image.

    Images and frame folders are read here; a video goes through the killable `reader`. Raises MediaError.
    """
    batch = read_sample(manifest, sample, clip_sampler(manifest, sample, spec), reader)
    check_length(len(batch.indices), spec)
    return prepare_frames([batch.frames[index] for index in batch.indices], spec)


def read_sample(manifest: Manifest, sample: Sample, choose: FrameChooser, reader: FrameReader) -> FrameBatch:
    """The frames of one sample that `choose` asks for, as they are on the disk. Raises MediaError."""
    request = ReadRequest(
        path=str(manifest.path_of(sample)),
        media=sample.media,
        choose=choose,
        start_frame=sample.start_frame,
        end_frame=sample.end_frame,
    )
    return reader.read(request) if sample.media == "video" else read_frames(request)


def check_length(num_frames: int, spec: InputSpec) -> None:
    """MediaError `clip-length` when a clip model would get another number of frames than it takes."""
    if spec.is_clip_model and num_frames != spec.clip_len:
        raise MediaError(
            f"the model takes clips of {spec.clip_len} frames, and this sample gives {num_frames}",
            reason="clip-length",
        )


def clip_sampler(manifest: Manifest, sample: Sample, spec: InputSpec) -> Sampler:
    """The sampler that makes the model's clip of this sample.

    A clip that was sampled to the model's length when its faces were aligned is taken as it is: sampling it again would
    take frames of frames (MAE-DFER's stride of 4 would leave 4 of 16). A still is one image for an image model.
    """
    aligned_as = manifest.recipe.as_dict().get("sampling", {}).get("mode") if manifest.recipe else None
    is_sampled = sample.media == "frames" and aligned_as not in (None, "all") and sample.num_frames == spec.clip_len
    if is_sampled or (sample.media == "image" and not spec.is_clip_model):
        return Sampler("all")
    return spec.make_sampler()


def prepare_frames(
    frames: Sequence[NDArray[np.uint8]], spec: InputSpec, *, size: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """RGB frames (H, W, 3) uint8 of any size to (T, C, height, width) float32: channels, resize, range, mean, std.

    `size` is (height, width) where it is to be another than the spec's, for views that crop.
    """
    height, width = size or (spec.height, spec.width)
    tables = pixel_tables(spec)
    values = np.empty((len(frames), spec.num_channels, height, width), np.float32)
    for frame, planes in zip(frames, values, strict=True):
        resized = _resized(_channels(frame, spec), (width, height), spec.resize)
        for channel, (plane, table) in enumerate(zip(planes, tables, strict=True)):
            cv2.LUT(np.ascontiguousarray(resized[:, :, channel]), table, plane)
    return values


def pixel_tables(spec: InputSpec) -> NDArray[np.float32]:
    """(C, 256): what each 8-bit value becomes in each channel.

    Looking 256 values up gives the bits of computing every pixel, in a tenth of the time.
    """
    divisor, offset = RANGES[spec.range]
    in_range = np.arange(256, dtype=np.float32) / np.float32(divisor) + np.float32(offset)
    mean, std = (np.resize(np.array(values, np.float32), spec.num_channels) for values in (spec.mean, spec.std))
    return np.ascontiguousarray((in_range - mean[:, None]) / std[:, None])


def _channels(frame: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    if spec.channels == "grey":
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
    return np.ascontiguousarray(frame[:, :, ::-1]) if spec.channels == "bgr" else frame


def _resized(frame: NDArray[np.uint8], size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """(height, width, C) at `size` (width, height), C kept as an axis for grey too."""
    if frame.shape[1::-1] != size:
        if resize in _PIL:
            frame = np.asarray(Image.fromarray(frame).resize(size, _PIL[resize]))
        else:
            frame = np.asarray(cv2.resize(frame, size, interpolation=_CV2[resize]), np.uint8)
    return frame.reshape(size[1], size[0], -1)
