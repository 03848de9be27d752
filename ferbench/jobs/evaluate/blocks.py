"""Blocks of tasks in order, their pixels read ahead by threads while the model works on the block before."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.clips import prepare_frames
from ferbench.engines import worker_count
from ferbench.errors import FerbenchError, MediaError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.tasks import Task
from ferbench.jobs.evaluate.views import ViewOptions, load_views, stack_views
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader, ReadRequest, read_frames
from ferbench.media.streaming import Stream
from ferbench.sampling import Sampler
from ferbench.storage import sha256_of_value

Clips = NDArray[np.float32]
"""(V, T, C, height, width): the views of one task."""

AHEAD = 2
"""Blocks that are being read while one is in the model."""


@dataclass(frozen=True, slots=True)
class Block:
    """Tasks that go through the model together. Which these are depends on the manifest and the options alone."""

    number: int
    tasks: tuple[Task, ...]

    @property
    def samples(self) -> list[Sample]:
        """Of all tasks, in order."""
        return [sample for task in self.tasks for sample in task.samples]

    def media(self, hashes: Mapping[str, str]) -> str:
        """One hash of which samples these are and of their files, from those of the samples."""
        return sha256_of_value([[sample.sample_id, hashes.get(sample.sample_id, "")] for sample in self.samples])[:16]


def block_size(views: ViewOptions, batch_size: int) -> int:
    """Tasks per block; the last one may have fewer."""
    return max(1, batch_size // views.count)


def cut_blocks(tasks: Sequence[Task], views: ViewOptions, batch_size: int) -> list[Block]:
    """Blocks of `batch_size` inputs of the model; a task's views stay together."""
    size = block_size(views, batch_size)
    starts = range(0, len(tasks), size)
    return [Block(number, tuple(tasks[start : start + size])) for number, start in enumerate(starts)]


def read_blocks(
    manifest: Manifest, blocks: Sequence[Block], spec: InputSpec, views: ViewOptions, *, workers: int
) -> Iterator[tuple[Block, list[Clips | FerbenchError]]]:
    """Each block with the pixels of its tasks in their order; a task that cannot be read has its error there instead.

    Packs are read part by part, each part once: see `ferbench.media.streaming`.
    Raises UsageError when the options do not fit the media.
    """
    threads = worker_count(workers, sum(len(block.tasks) for block in blocks))
    stream = Stream(len(blocks), lambda step: _paths(manifest, blocks[step]))
    with FrameReader() as reader, closing(stream), ThreadPoolExecutor(threads) as pool:
        window_frames = _WindowFrames(manifest, spec, views, pool)

        def load(task: Task, is_there: Future[None]) -> Clips | FerbenchError:
            is_there.result()
            failure = known_failure(task.samples[0])
            return failure or _or_error(lambda: load_views(manifest, task.samples[0], spec, views, reader))

        def begin(step: int) -> list[Future[Clips | FerbenchError]]:
            # Submitted before what waits for it, so that nothing waits for ever.
            is_there = pool.submit(stream.begin, step)
            return [
                window_frames.begin(task, is_there) if task.window else pool.submit(load, task, is_there)
                for task in blocks[step].tasks
            ]

        waiting: list[list[Future[Clips | FerbenchError]]] = []
        try:
            for place, block in enumerate(blocks):
                while len(waiting) <= AHEAD and place + len(waiting) < len(blocks):
                    waiting.append(begin(place + len(waiting)))
                clips = [future.result() for future in waiting.pop(0)]
                stream.end(place)
                for clip in clips:
                    if isinstance(clip, UsageError):
                        raise clip
                yield block, clips
        finally:
            for futures in waiting:
                for future in futures:
                    future.cancel()


def _paths(manifest: Manifest, block: Block) -> list[str]:
    """What a block reads, as absolute paths."""
    root = str(manifest.root)
    return [os.path.join(root, path) for task in block.tasks for path in task.window or (task.samples[0].path,)]


def _or_error(load: Callable[[], Clips]) -> Clips | FerbenchError:
    try:
        return load()
    except FerbenchError as error:
        return error


def known_failure(sample: Sample) -> FerbenchError | None:
    """What an earlier job says of a sample that failed there."""
    if sample.status != "failed":
        return None
    reason, _, message = (sample.error or "failed: no reason recorded").partition(": ")
    return FerbenchError(message, reason=reason)


class _WindowFrames:
    """Frames of windows, each decoded once for the windows near each other that show it."""

    def __init__(self, manifest: Manifest, spec: InputSpec, views: ViewOptions, pool: ThreadPoolExecutor) -> None:
        self._manifest, self._spec, self._views, self._pool = manifest, spec, views, pool
        self._frames: OrderedDict[str, Future[Clips]] = OrderedDict()

    def begin(self, task: Task, is_there: Future[None]) -> Future[Clips | FerbenchError]:
        """Have a window's frames read. The frames are submitted before what waits for them, so nothing waits for ever."""
        frames = [self._frame(path, is_there) for path in task.window]
        while len(self._frames) > 4 * self._spec.clip_len:
            self._frames.popitem(last=False)
        return self._pool.submit(self._assemble, task, frames)

    def _frame(self, path: str, is_there: Future[None]) -> Future[Clips]:
        if path not in self._frames:
            self._frames[path] = self._pool.submit(self._read, path, is_there)
        self._frames.move_to_end(path)
        return self._frames[path]

    def _read(self, path: str, is_there: Future[None]) -> Clips:
        is_there.result()
        batch = read_frames(ReadRequest(str(self._manifest.root / path), "image", Sampler("all")))
        return prepare_frames([batch.frames[0]], self._spec, size=self._views.frame_size(self._spec))

    def _assemble(self, task: Task, frames: Sequence[Future[Clips]]) -> Clips | FerbenchError:
        parts = []
        for path, frame in zip(task.window, frames, strict=True):
            try:
                parts.append(frame.result())
            except MediaError as error:
                is_own = len(task.samples) == 1 and path == task.samples[0].path
                where = "" if is_own else f"a frame of its window, {path}: "
                return MediaError(where + error.message, reason=error.reason)
        return stack_views([np.concatenate(parts)], self._spec, self._views)
