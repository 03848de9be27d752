"""What becomes of a frame in which the face was not found. Pure decisions: faces and frame indices in, placements out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ferbench.errors import FaceError, UsageError
from ferbench.faces import Face


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame's crop is cut from."""

    face: Face | None
    """None: the whole frame."""
    origin: str
    """`detected`, `nearest`, `interpolated` or `full-frame`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A frame without a face and its neighbours that have one, (frame index, face)."""

    index: int
    before: tuple[int, Face] | None
    after: tuple[int, Face] | None
    missing: int
    """Frames of the clip without a face."""
    total: int
    """Frames of the clip."""


def _fail(gap: Gap) -> Placement | None:
    raise FaceError(f"no face in {gap.missing} of {gap.total} frames, and the policy is to fail", reason="no-face")


def _nearest(gap: Gap) -> Placement:
    sides = [side for side in (gap.before, gap.after) if side is not None]
    return Placement(min(sides, key=lambda side: abs(side[0] - gap.index))[1], "nearest")


def _interpolate(gap: Gap) -> Placement:
    if gap.before is None or gap.after is None:
        return _nearest(gap)
    (start, first), (end, last) = gap.before, gap.after
    part = np.float32((gap.index - start) / (end - start))
    face = Face(
        box=first.box + part * (last.box - first.box),
        landmarks=first.landmarks + part * (last.landmarks - first.landmarks),
        score=first.score + float(part) * (last.score - first.score),
    )
    return Placement(face, "interpolated")


def _full_frame(gap: Gap) -> Placement:
    return Placement(None, "full-frame")


def _drop(gap: Gap) -> None:
    return None


MISSING: dict[str, Callable[[Gap], Placement | None]] = {
    "fail": _fail,
    "nearest": _nearest,
    "interpolate": _interpolate,
    "full-frame": _full_frame,
    "drop": _drop,
}
"""Name -> what a frame without a face gets.

fail         any such frame fails the sample
nearest      landmarks and box of the nearest frame (in frame index; of two as near, the earlier) that has a face
interpolate  landmarks, box and score between those of the neighbours with a face, linear in frame index; before the first
             and after the last the nearest
full-frame   the whole frame, letterboxed
drop         nothing: the frame is left out

Whatever is filled in, the pixels are the frame's own.
"""


def fill_missing(
    faces: Sequence[Face | None], frame_indices: Sequence[int], *, policy: str = "nearest"
) -> list[Placement | None]:
    """One placement per frame, in order; None for a dropped frame.

    `frame_indices`: places of the frames in the video, increasing. Raises FaceError, reason `no-face`, when policy `fail`
    meets a frame without a face, and under every policy but `full-frame` when no frame has one; UsageError for an unknown
    policy; ValueError for indices that do not increase or do not match `faces`.
    """
    if policy not in MISSING:
        raise UsageError(f"missing-face policy {policy!r} is unknown; known: {', '.join(MISSING)}")
    if len(faces) != len(frame_indices):
        raise ValueError(f"{len(faces)} faces, but {len(frame_indices)} frame indices")
    if any(later <= earlier for earlier, later in pairwise(frame_indices)):
        raise ValueError(f"frame indices must increase, got {list(frame_indices)}")
    found = [(index, face) for index, face in zip(frame_indices, faces, strict=True) if face is not None]
    missing, total = len(faces) - len(found), len(faces)
    if total and not found and policy != "full-frame":
        raise FaceError(
            "no face found" if total == 1 else f"no face found in any of the {total} frames", reason="no-face"
        )
    placements: list[Placement | None] = []
    for index, face in zip(frame_indices, faces, strict=True):
        if face is not None:
            placements.append(Placement(face, "detected"))
        else:
            place = bisect_left(found, index, key=lambda pair: pair[0])
            before = found[place - 1] if place > 0 else None
            after = found[place] if place < len(found) else None
            placements.append(MISSING[policy](Gap(index, before, after, missing, total)))
    return placements
