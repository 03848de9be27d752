"""Samples to batches, read ahead by threads."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np

from ferbench.errors import DataError, FerbenchError, UsageError
from ferbench.feeding.loader import Clip, Loader
from ferbench.feeding.options import Batch, FeedOptions
from ferbench.feeding.order import batch_bounds, epoch_order
from ferbench.feeding.shards import shard_batches
from ferbench.inputspec import InputSpec
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader
from ferbench.media.streaming import Stream, pack_of
from ferbench.windows import Task, Videos, needs_windows

AHEAD = 2
"""Batches that are read while one is with the model."""
SHARES_PER_WORKER = 4
"""Parts of a batch of images per thread: few, and none waits long for another."""
NOT_SCORED = -1
"""Target of a frame that its window only shows."""


def feed(
    manifest: Manifest,
    samples: Iterable[Sample],
    spec: InputSpec,
    options: FeedOptions,
    *,
    epoch: int,
    first_batch: int = 0,
    train: bool,
) -> Iterator[Batch]:
    """The batches of one epoch, from `first_batch` on, that this process sees.

    `samples` are rows of `manifest`, which gives root, recipe and, for a model of windows, the neighbours: train on a
    manifest of the train part. `train` draws frames at random and augments; else pixels are those of `evaluate`. Which
    pixels a sample gives depends on (seed, epoch, sample_id) and the train form alone. A sample that cannot be read is in
    `Batch.failed`. Every process yields the same number of batches; some may be empty, and a step that waits for all
    processes (DistributedDataParallel) must then be taken by those too. Packs that are read shard by shard, or in the
    manifest's order, are read once.

    Raises UsageError for options that do not fit, DataError for a sample without a label.
    """
    tasks = _tasks(manifest, list(samples), spec, options)
    plan = _plan(manifest, tasks, options, epoch=epoch)[first_batch:]
    reader = FrameReader(num_workers=max(1, options.workers))
    loader = Loader(manifest, spec, options, reader, epoch=epoch, train=train)
    return _batches(plan, loader, reader, spec, options, _stream(manifest, plan, options))


_Wanted = Sequence[tuple[Task, int]]
"""The tasks of one batch, each with its turn."""


def _plan(manifest: Manifest, tasks: Sequence[Task], options: FeedOptions, *, epoch: int) -> list[_Wanted]:
    """This process's batches of the epoch."""
    firsts = [task.samples[0] for task in tasks]
    ids = [first.sample_id for first in firsts]
    if options.grain == "shards":
        shards = [pack_of(first.path) for first in firsts]
        named = [shard for shard in shards if shard is not None]
        if len(named) < len(shards):
            loose = firsts[shards.index(None)]
            raise UsageError(
                f"manifest {manifest.name!r}, sample {loose.sample_id!r}: {loose.path} is in no shard; shuffling shards "
                "takes faces that ferbench align --pack parquet (or tar) wrote"
            )
        return [[(tasks[index], 0) for index in batch] for batch in shard_batches(named, ids, options, epoch=epoch)]
    order = epoch_order(ids, [_label(first) for first in firsts], options, epoch=epoch)
    return [
        [(tasks[draw.index], draw.turn) for draw in order[begin:end][options.rank :: options.world]]
        for begin, end in batch_bounds(len(order), options)
    ]


def _stream(manifest: Manifest, plan: Sequence[_Wanted], options: FeedOptions) -> Stream:
    """The packs that the batches of `plan` read in order; of none where they read here and there."""
    root = str(manifest.root)
    is_in_order = options.grain == "shards" or not options.shuffle

    def paths(step: int) -> list[str]:
        if not is_in_order:
            return []
        found = [task.window or (task.samples[0].path,) for task, _ in plan[step]]
        return [os.path.join(root, path) for each in found for path in each]

    return Stream(len(plan), paths)


def _tasks(manifest: Manifest, samples: Sequence[Sample], spec: InputSpec, options: FeedOptions) -> Sequence[Task]:
    for sample in samples:
        if sample.label is None:
            raise DataError(
                f"manifest {manifest.name!r}, sample {sample.sample_id!r}: it has no label to learn; leave it out"
            )
    tasks: Sequence[Task] = [Task((sample,)) for sample in samples]
    if needs_windows(manifest, samples, spec):
        videos = Videos(manifest, samples, names=[""] * len(manifest))
        if spec.output == "frames":
            if options.balanced:
                raise UsageError("balanced draws samples, and a window whose every frame is scored has several of them")
            tasks = list(videos.tiles(samples, spec))
        else:
            sampler = spec.make_sampler()
            tasks = [videos.centred(sample, sampler) for sample in samples]
    return tasks


def _batches(
    plan: Sequence[_Wanted], loader: Loader, reader: FrameReader, spec: InputSpec, options: FeedOptions, stream: Stream
) -> Iterator[Batch]:
    with reader, closing(stream):
        if not options.workers:
            for step, wanted in enumerate(plan):
                begun = _Begun(wanted, spec)
                stream.begin(step)
                loaded = [_load(loader, begun, place) for place in range(len(wanted))]
                stream.end(step)
                yield begun.finish(loaded)
            return
        with ThreadPoolExecutor(options.workers, thread_name_prefix="ferbench-feed") as pool:
            waiting: deque[tuple[_Begun, list[Future[list[_Loaded]]]]] = deque()
            left = enumerate(plan)
            try:
                for done in itertools.count():
                    for step, wanted in itertools.islice(left, AHEAD + 1 - len(waiting)):
                        begun = _Begun(wanted, spec)
                        # Before what waits for it, so that nothing waits for ever.
                        is_there = pool.submit(stream.begin, step)
                        shares = _shares(len(wanted), spec, options)
                        futures = [pool.submit(_load_all, loader, begun, share, is_there) for share in shares]
                        waiting.append((begun, futures))
                    if not waiting:
                        return
                    begun, futures = waiting.popleft()
                    loaded = [outcome for future in futures for outcome in future.result()]
                    stream.end(done)
                    yield begun.finish(loaded)
            finally:
                for _, futures in waiting:
                    for future in futures:
                        future.cancel()


_Loaded = Clip | FerbenchError


def _shares(count: int, spec: InputSpec, options: FeedOptions) -> list[range]:
    """Which places of a batch a thread reads in one go: a clip, or several images, each of which is over too soon."""
    size = 1 if spec.is_clip_model else max(1, count // (SHARES_PER_WORKER * options.workers))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _load_all(loader: Loader, begun: _Begun, places: range, is_there: Future[None]) -> list[_Loaded]:
    is_there.result()
    return [_load(loader, begun, place) for place in places]


def _load(loader: Loader, begun: _Begun, place: int) -> _Loaded:
    task, turn = begun.wanted[place]
    try:
        return loader.load(task, turn, begun.slot(place))
    except UsageError:
        raise
    except FerbenchError as error:
        return error


class _Begun:
    """A batch that is being read. Clips of a clip model are written where they will lie."""

    def __init__(self, wanted: Sequence[tuple[Task, int]], spec: InputSpec) -> None:
        import torch

        self.wanted, self._spec = wanted, spec
        length, size = spec.clip_len, (spec.height, spec.width)
        shape = {
            "NTCHW": (length, spec.num_channels, *size),
            "NCTHW": (spec.num_channels, length, *size),
            "NCHW": (spec.num_channels, *size),
        }[spec.layout]
        self._clips = torch.empty((len(wanted), *shape), dtype=torch.float32)
        self._slots: Any = self._clips.numpy()

    def slot(self, place: int) -> Clip:
        """(T, C, height, width) of one sample."""
        slot = self._slots[place]
        if self._spec.layout == "NCHW":
            return slot[None]  # type: ignore[no-any-return]
        return slot if self._spec.layout == "NTCHW" else slot.swapaxes(0, 1)  # type: ignore[no-any-return]

    def finish(self, loaded: Sequence[_Loaded]) -> Batch:
        """The batch of what could be read."""
        import torch

        good = [place for place, clip in enumerate(loaded) if not isinstance(clip, FerbenchError)]
        failed, failed_targets = [], []
        for (task, _), outcome in zip(self.wanted, loaded, strict=True):
            if isinstance(outcome, FerbenchError):
                failed += [(sample.sample_id, outcome.as_row()) for sample in task.samples]
                failed_targets += [_label(sample) for sample in task.samples]
        repeats = [1] * len(good)
        clips = self._clips if len(good) == len(loaded) else self._clips[good]
        if self._spec.layout == "NCHW" and any(len(loaded[place]) != 1 for place in good):  # type: ignore[arg-type]
            images: list[Any] = [loaded[place] for place in good]
            repeats = [len(image) for image in images]
            clips = torch.from_numpy(np.concatenate(images))
        tasks = [self.wanted[place][0] for place in good]
        if self._spec.output == "frames":
            targets = torch.tensor([_frame_targets(task, self._spec.clip_len) for task in tasks], dtype=torch.int64)
            targets = targets.reshape(len(tasks), self._spec.clip_len)
            ids = [sample.sample_id for task in tasks for sample in task.samples]
        else:
            rows = [task.samples[0] for task, times in zip(tasks, repeats, strict=True) for _ in range(times)]
            targets = torch.tensor([_label(sample) for sample in rows], dtype=torch.int64)
            ids = [sample.sample_id for sample in rows]
        return Batch(clips, targets, tuple(ids), tuple(failed), tuple(failed_targets))


def _frame_targets(task: Task, length: int) -> list[int]:
    """One per frame of the window; a clip that is no window has one class, of every frame."""
    if not task.window:
        return [_label(task.samples[0])] * length
    targets = [NOT_SCORED] * length
    for sample, place in zip(task.samples, task.places, strict=True):
        targets[place] = _label(sample)
    return targets


def _label(sample: Sample) -> int:
    assert sample.label is not None
    return sample.label
