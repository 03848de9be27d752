"""One task to the pixels a model takes: read, augment, bring to size and to the spec's numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench.clips import check_length, clip_sampler, pixel_tables, prepare_frames
from ferbench.errors import FerbenchError, MediaError
from ferbench.feeding.augment import Augmenter
from ferbench.feeding.geometry import Frames, as_bytes, resized
from ferbench.feeding.options import FeedOptions
from ferbench.feeding.order import draw_rng
from ferbench.feeding.pictures import Frame, read_picture, read_sample_frames
from ferbench.inputspec import InputSpec
from ferbench.manifest import Manifest
from ferbench.media import FrameReader
from ferbench.sampling import Sampler
from ferbench.windows import Task

Clip = NDArray[np.float32]
"""(T, C, height, width), normalised as the spec says."""


@dataclass(frozen=True, slots=True)
class _DrawnFrames:
    """The train form of a sampler. Its draws are the same however often it is asked (a second decoder asks again)."""

    sampler: Sampler
    seed: tuple[int, int, str, int]

    def indices(self, num_frames: int) -> list[int]:
        return self.sampler.indices(num_frames, rng=draw_rng(*self.seed, "frames"))


class Loader:
    """Loads tasks of one epoch; threads may share it."""

    def __init__(
        self, manifest: Manifest, spec: InputSpec, options: FeedOptions, reader: FrameReader, *, epoch: int, train: bool
    ) -> None:
        """Raises UsageError for augmentations that do not exist."""
        self._manifest, self._spec, self._options, self._reader = manifest, spec, options, reader
        self._epoch, self._is_train = epoch, train
        self._augment = Augmenter(options.augment if train else (), spec)
        self._tables = pixel_tables(spec)
        # Windows side by side share frames; in a shuffled epoch neighbours are far apart.
        self._near = _Near(0 if options.shuffle else 4 * spec.clip_len)

    def load(self, task: Task, turn: int, out: Clip | None = None) -> Clip:
        """The input of one task, in `out` where that is given and has as many frames. Raises MediaError."""
        sample = task.samples[0]
        if sample.status == "failed":
            reason, _, message = (sample.error or "failed: no reason recorded").partition(": ")
            raise FerbenchError(message, reason=reason)
        frames = self._read(task, turn)
        check_length(len(frames), self._spec)
        if not self._is_train:
            clip = prepare_frames(frames, self._spec)
            if out is not None:
                out[:] = clip
            return clip
        size = (self._spec.height, self._spec.width)
        stacked = _stacked(frames, size, self._spec.resize)
        stacked = self._augment(stacked, self._rng(task, turn))
        return self._normalised(as_bytes(resized(stacked, size, self._spec.resize)), out)

    def _rng(self, task: Task, turn: int) -> np.random.Generator:
        return draw_rng(self._options.seed, self._epoch, task.samples[0].sample_id, turn, "augment")

    def _read(self, task: Task, turn: int) -> list[Frame]:
        sample = task.samples[0]
        if task.window:
            return [self._window_frame(path, sample.path) for path in task.window]
        sampler: Any = clip_sampler(self._manifest, sample, self._spec)
        if self._is_train and sampler.mode != "all":
            sampler = _DrawnFrames(sampler, (self._options.seed, self._epoch, sample.sample_id, turn))
        return read_sample_frames(self._manifest, sample, sampler, self._reader)

    def _window_frame(self, path: str, own: str) -> Frame:
        found = self._near.get(path)
        if found is None:
            try:
                found = read_picture(str(self._manifest.root / path))
            except MediaError as error:
                where = "" if path == own else f"a frame of its window, {path}: "
                raise MediaError(where + error.message, reason=error.reason) from error
            self._near.put(path, found)
        return found

    def _normalised(self, frames: NDArray[np.uint8], out: Clip | None) -> Clip:
        """(T, h, w, 3) uint8 to float: a table looked up, plane by plane."""
        count, height, width, _ = frames.shape
        shape = (count, self._spec.num_channels, height, width)
        clip = out if out is not None and out.shape == shape else np.empty(shape, np.float32)
        tall = frames.reshape(count * height, width, 3)
        if self._spec.channels == "grey":
            planes: Sequence[Any] = [cv2.cvtColor(tall, cv2.COLOR_RGB2GRAY)]
        else:
            planes = cv2.split(tall)
            planes = planes[::-1] if self._spec.channels == "bgr" else planes
        for channel, (plane, table) in enumerate(zip(planes, self._tables, strict=True)):
            for frame, place in zip(plane.reshape(count, height, width), clip[:, channel], strict=True):
                cv2.LUT(frame, table, place)
        return clip


def _stacked(frames: Sequence[Frame], size: tuple[int, int], resize: str) -> Frames:
    """(T, H, W, 3); frames of several sizes are brought to the model's."""
    if len({frame.shape for frame in frames}) == 1:
        return np.stack(frames)
    return np.concatenate([resized(frame[None], size, resize) for frame in frames])


class _Near:
    """The frames that were read last."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._frames: OrderedDict[str, Frame] = OrderedDict()

    def get(self, path: str) -> Frame | None:
        with self._lock:
            return self._frames.get(path)

    def put(self, path: str, frame: Frame) -> None:
        with self._lock:
            self._frames[path] = frame
            while len(self._frames) > self._size:
                self._frames.popitem(last=False)
