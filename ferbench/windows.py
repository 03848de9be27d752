"""Windows: what a model of frames in their video sees of a manifest whose rows are frames (Aff-Wild2).

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
from ferbench.manifest import Manifest, Sample
from ferbench.sampling import SHORT_POLICIES, Sampler

CENTER_WINDOW = "center-window"
FRAME = "frame"
"""Column of the frame's number in its video."""
_FILLING = ("repeat-last", "repeat-first", "loop", "spread")
"""Short-clip policies that show every frame and fill the window."""


@dataclass(frozen=True, slots=True)
class Task:
    """One input of the model and the samples it scores."""

    samples: tuple[Sample, ...]
    window: tuple[str, ...] = ()
    """Paths of a window's frames; empty where the input is the sample's own frames."""
    places: tuple[int, ...] = ()
    """Of a per-frame output: which frame of the window each sample is."""


def needs_windows(manifest: Manifest, samples: Iterable[Sample], spec: InputSpec) -> bool:
    """True when a model of windows meets stills. UsageError where those are not known to be frames of a video."""
    is_of_windows = spec.is_clip_model and (spec.sampler == CENTER_WINDOW or spec.output == "frames")
    if not is_of_windows or not any(sample.media == "image" for sample in samples):
        return False
    if not manifest.has_values(FRAME):
        raise UsageError(
            f"the model takes windows of {spec.clip_len} frames of a video, and manifest {manifest.name!r} holds pictures "
            f"without a column {FRAME!r} that says which frame each one is; index the dataset with its card"
        )
    return True


def video_of(path: str) -> str:
    """The folder of a frame's picture: one per video, or per person of one."""
    return path.rpartition("/")[0]


class Videos:
    """The rows of each video in the order of their frame numbers."""

    def __init__(self, manifest: Manifest, samples: Iterable[Sample], *, names: Sequence[str | None]) -> None:
        """Of the videos that `samples` are stills of; `names` has one entry per row of the manifest.

        Rows whose name is None, or that failed, are in no window; no window joins rows of two names.
        """
        wanted = {video_of(sample.path) for sample in samples if sample.media == "image"}
        found: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
        columns = (manifest.column(name) for name in ("path", "media", "status", FRAME))
        for row, (name, path, media, status, frame) in enumerate(zip(names, *columns, strict=True)):
            video = video_of(path)
            if name is not None and media == "image" and status != "failed" and video in wanted:
                found[name, video].append((-1 if frame is None else int(frame), row, path))
        self._places: dict[str, tuple[tuple[str, ...], int]] = {}
        for frames in found.values():
            paths = tuple(path for _, _, path in sorted(frames))
            self._places.update((path, (paths, place)) for place, path in enumerate(paths))

    def centred(self, sample: Sample, sampler: Sampler) -> Task:
        """The window around one sample; a sample that is no still, or failed, is by itself."""
        if sample.path not in self._places:
            return Task((sample,))
        paths, place = self._places[sample.path]
        around = dataclasses.replace(sampler, center=place)
        return Task((sample,), tuple(paths[index] for index in around.indices(len(paths))))

    def tiles(self, samples: Iterable[Sample], spec: InputSpec) -> Iterable[Task]:
        """Windows of T frames side by side; the last begins earlier so that it ends with the video.

        A video of fewer frames is filled up by the spec's short-clip policy, by default with its last frame.
        """
        videos: dict[int, tuple[tuple[str, ...], dict[int, Sample]]] = {}
        for sample in samples:
            if sample.path not in self._places:
                yield Task((sample,))
                continue
            paths, place = self._places[sample.path]
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
