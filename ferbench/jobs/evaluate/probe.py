"""A few inputs of the test part, of every class, for the audits of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import FerbenchError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.blocks import Block, read_blocks
from ferbench.jobs.evaluate.tasks import Task
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.manifest import Manifest


def probe_tasks(tasks: Sequence[Task], *, count: int, seed: int) -> list[Task]:
    """Up to `count` tasks that have pixels, the classes taken in turn, at random within each; the same for a seed."""
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[Task]] = {}
    for task in tasks:
        label = _label(task)
        if label is not None and task.samples[0].status != "failed":
            by_class.setdefault(label, []).append(task)
    queues = []
    for _, members in sorted(by_class.items()):
        drawn = rng.choice(len(members), size=min(count, len(members)), replace=False)
        queues.append([members[place] for place in drawn.tolist()])
    chosen = [queue[turn] for turn in range(count) for queue in queues if turn < len(queue)]
    return chosen[:count]


def probe_clips(
    manifest: Manifest, tasks: Sequence[Task], spec: InputSpec, *, count: int, seed: int
) -> tuple[list[NDArray[np.float32]], list[int | None]]:
    """Clips (T, C, height, width) and their labels. A sample that cannot be read is left out: the run says why."""
    chosen = tuple(probe_tasks(tasks, count=count, seed=seed))
    clips: list[NDArray[np.float32]] = []
    targets: list[int | None] = []
    for block, loaded in read_blocks(manifest, [Block(0, chosen)], spec, ViewOptions(), workers=0):
        for task, clip in zip(block.tasks, loaded, strict=True):
            if not isinstance(clip, FerbenchError):
                clips.append(clip[0])
                targets.append(_label(task))
    return clips, targets


def _label(task: Task) -> int | None:
    """Of the middle sample, where a window scores several."""
    return task.samples[len(task.samples) // 2].label
