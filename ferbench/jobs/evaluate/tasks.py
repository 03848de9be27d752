"""What the model is run on: a sample each, or for Aff-Wild2's models windows of frames of a video, each frame a sample.

A window model sees the frames around the one that it judges, or T frames of which it judges every one:

    sampler center-window   one window per frame, that frame in its middle (xinqi-fan/ABAW2021 data/custom_dataset.py)
    output frames           a window per T frames; the last one ends with the video and scores what is left of it,
                            where that repository's many-to-many loader never scores the tail

Windows are cut over the rows of the manifest that a video has, as the original is over those of its csv: frames without a
label or a crop are not there, so neighbours may lie apart in time. They never leave the video.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.manifest import Manifest, Sample
from ferbench.sampling import SHORT_POLICIES, Sampler

CENTER_WINDOW = "center-window"
FRAME = "frame"
"""Column of the frame's number in its video."""
_FILLING = ("repeat-last", "repeat-first", "loop", "spread")
"""Short-clip policies that show every frame and fill the window."""


@dataclass(frozen=True, slots=True)
class Task:
    """One input of the model, in all its views, and the samples it scores."""

    samples: tuple[Sample, ...]
    window: tuple[str, ...] = ()
    """Paths of a window's frames; empty where the input is the sample's own frames."""
    places: tuple[int, ...] = ()
    """Of a per-frame output: which frame of the window each sample is."""


def plan_tasks(
    manifest: Manifest, samples: Sequence[Sample], spec: InputSpec, views: ViewOptions, *, names: Sequence[str | None]
) -> list[Task]:
    """A task per sample, or per window of a video, in the order of the samples; each sample is scored by one.

    `names` has the fold of every row of the manifest, None for rows outside the test part, which no window shows.
    Raises UsageError where a window model meets stills that are not frames of a video.
    """
    is_center, is_frames = spec.sampler == CENTER_WINDOW, spec.output == "frames"
    stills = [sample for sample in samples if sample.media == "image"]
    if not stills or not spec.is_clip_model or not (is_center or is_frames):
        return [Task((sample,)) for sample in samples]
    if not manifest.has_values(FRAME):
        raise UsageError(
            f"the model takes windows of {spec.clip_len} frames of a video, and manifest {manifest.name!r} holds pictures "
            f"without a column {FRAME!r} that says which frame each one is; index the dataset with its card"
        )
    if views.views > 1:
        raise UsageError(f"--views {views.views}: a model of windows has one window per frame")
    places = _places(manifest, {video_of(sample.path) for sample in stills}, names)
    if is_frames:
        return _in_order(_tiles(samples, places, spec), samples)
    return [_centred(sample, places, spec.make_sampler()) for sample in samples]


def unit_of(tasks: Sequence[Task], spec: InputSpec) -> str:
    """In words, what one row of logits is made from."""
    if any(task.places for task in tasks):
        return f"frame, one of the {spec.clip_len} of a window"
    if any(task.window for task in tasks):
        return f"frame, from a window of {spec.clip_len} around it"
    return "clip" if spec.is_clip_model else "mean over the images of a clip"


def video_of(path: str) -> str:
    """The folder of a frame's picture: one per video, or per person of one."""
    return path.rpartition("/")[0]


_Places = dict[str, tuple[tuple[str, ...], int]]
"""Path -> the paths of its video's rows that have pixels, in the order of their frame numbers, and its place there."""


def _places(manifest: Manifest, wanted: set[str], names: Sequence[str | None]) -> _Places:
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    columns = (manifest.column(name) for name in ("path", "media", "status", FRAME))
    for row, (name, path, media, status, frame) in enumerate(zip(names, *columns, strict=True)):
        video = video_of(path)
        if name is not None and media == "image" and status != "failed" and video in wanted:
            found[name, video].append((-1 if frame is None else int(frame), row, path))
    places: _Places = {}
    for frames in found.values():
        paths = tuple(path for _, _, path in sorted(frames))
        places.update((path, (paths, place)) for place, path in enumerate(paths))
    return places


def _centred(sample: Sample, places: _Places, sampler: Sampler) -> Task:
    if sample.path not in places:  # no still, or one without pixels
        return Task((sample,))
    paths, place = places[sample.path]
    around = dataclasses.replace(sampler, center=place)
    return Task((sample,), tuple(paths[index] for index in around.indices(len(paths))))


def _tiles(samples: Sequence[Sample], places: _Places, spec: InputSpec) -> Iterable[Task]:
    """Windows of T frames side by side; the last begins earlier so that it ends with the video.

    A video of fewer frames is filled up by the spec's short-clip policy, by default with its last frame.
    """
    videos: dict[int, tuple[tuple[str, ...], dict[int, Sample]]] = {}
    for sample in samples:
        if sample.path not in places:
            yield Task((sample,))
            continue
        paths, place = places[sample.path]
        videos.setdefault(id(paths), (paths, {}))[1][place] = sample
    wanted = spec.clip_len
    policy = SHORT_POLICIES[spec.short if spec.short in _FILLING else "repeat-last"]
    for paths, scored in videos.values():
        count = len(paths)
        for begin in range(0, count, wanted):
            first = max(min(begin, count - wanted), 0)
            indices = list(range(first, first + wanted)) if count >= wanted else policy(count, wanted)
            new = [place for place in range(begin, min(begin + wanted, count)) if place in scored]
            if new:
                yield Task(
                    tuple(scored[place] for place in new),
                    tuple(paths[index] for index in indices),
                    tuple(indices.index(place) for place in new),
                )


def _in_order(tasks: Iterable[Task], samples: Sequence[Sample]) -> list[Task]:
    order = {sample.sample_id: place for place, sample in enumerate(samples)}
    return sorted(tasks, key=lambda task: order[task.samples[0].sample_id])
