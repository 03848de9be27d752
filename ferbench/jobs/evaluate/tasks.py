"""What the model is run on: a sample each, or for Aff-Wild2's models windows of frames of a video, each frame a sample.

`ferbench.windows` says how windows are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.manifest import Manifest, Sample
from ferbench.windows import Task, Videos, needs_windows

__all__ = ["Task", "plan_tasks", "unit_of"]


def plan_tasks(
    manifest: Manifest, samples: Sequence[Sample], spec: InputSpec, views: ViewOptions, *, names: Sequence[str | None]
) -> list[Task]:
    """A task per sample, or per window of a video, in the order of the samples; each sample is scored by one.

    `names` has the fold of every row of the manifest, None for rows outside the test part, which no window shows.
    Raises UsageError where a window model meets stills that are not frames of a video.
    """
    if not needs_windows(manifest, samples, spec):
        return [Task((sample,)) for sample in samples]
    if views.views > 1:
        raise UsageError(f"--views {views.views}: a model of windows has one window per frame")
    videos = Videos(manifest, samples, names=names)
    if spec.output == "frames":
        return _in_order(videos.tiles(samples, spec), samples)
    sampler = spec.make_sampler()
    return [videos.centred(sample, sampler) for sample in samples]


def unit_of(tasks: Sequence[Task], spec: InputSpec) -> str:
    """In words, what one row of logits is made from."""
    if any(task.places for task in tasks):
        return f"frame, one of the {spec.clip_len} of a window"
    if any(task.window for task in tasks):
        return f"frame, from a window of {spec.clip_len} around it"
    return "clip" if spec.is_clip_model else "mean over the images of a clip"


def _in_order(tasks: Iterable[Task], samples: Sequence[Sample]) -> list[Task]:
    order = {sample.sample_id: place for place, sample in enumerate(samples)}
    return sorted(tasks, key=lambda task: order[task.samples[0].sample_id])
