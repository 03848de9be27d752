"""Which face of each frame is the sample's person. Pure decisions on `list[Face]`: no pixels, no disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import hypot

from ferbench.alignment.tracking import link_faces
from ferbench.errors import UsageError
from ferbench.faces import Face

FacesPerFrame = Sequence[Sequence[Face]]
FrameSizes = Sequence[tuple[int, int]]
"""(height, width) of each frame."""
Order = tuple[float, ...]


def _extent(face: Face) -> Order:
    """Orders faces, best first: the larger, then the one more to the left, then the upper."""
    return -face.area, float(face.box[0]), float(face.box[1])


def _largest(faces_per_frame: FacesPerFrame, frame_sizes: FrameSizes) -> list[Face | None]:
    return [min(faces, key=_extent, default=None) for faces in faces_per_frame]


def _confident(faces_per_frame: FacesPerFrame, frame_sizes: FrameSizes) -> list[Face | None]:
    return [min(faces, key=lambda face: (-face.score, *_extent(face)), default=None) for faces in faces_per_frame]


def _central(faces_per_frame: FacesPerFrame, frame_sizes: FrameSizes) -> list[Face | None]:
    chosen: list[Face | None] = []
    for faces, (height, width) in zip(faces_per_frame, frame_sizes, strict=True):

        def order(face: Face, x: float = width / 2, y: float = height / 2) -> Order:
            return hypot(face.centre[0] - x, face.centre[1] - y), *_extent(face)

        chosen.append(min(faces, key=order, default=None))
    return chosen


def _track(faces_per_frame: FacesPerFrame, frame_sizes: FrameSizes) -> list[Face | None]:
    if len(faces_per_frame) == 1:
        return _largest(faces_per_frame, frame_sizes)
    chosen: list[Face | None] = [None] * len(faces_per_frame)
    tracks = link_faces(faces_per_frame)
    if tracks:
        main = min(tracks, key=lambda track: (-track.weight, *min(_extent(face) for face in track.faces)))
        for position, face in zip(main.positions, main.faces, strict=True):
            chosen[position] = face
    return chosen


SELECTIONS: dict[str, Callable[[FacesPerFrame, FrameSizes], list[Face | None]]] = {
    "largest": _largest,
    "confident": _confident,
    "central": _central,
    "track": _track,
}
"""Name -> rule.

largest    the face with the largest box of each frame by itself
confident  the face with the highest score
central    the face whose box centre is nearest to the frame's centre
track      one person through the clip: faces are linked from frame to frame (see tracking.py), and the track with the
           greatest sum of size times score is taken, so that neither a bystander near the camera in one frame nor a
           picture on the wall wins; a single frame has no tracks to compare and gives its largest face

Of equal faces the larger is taken, then the one more to the left, then the upper one.
"""


def select_faces(
    faces_per_frame: FacesPerFrame, frame_sizes: FrameSizes, *, rule: str = "track", min_score: float = 0.0
) -> list[Face | None]:
    """One face or None per frame, in order.

    `frame_sizes`: (height, width) per frame. Faces that score below `min_score` are as good as not found. Raises
    UsageError for an unknown rule, ValueError when the two sequences differ in length.

    Example, two frames with faces A (large) and B (small), then B only:

        select_faces([[A, B], [B]], sizes, rule="largest")  ->  [A, B]
        select_faces([[A, B], [B]], sizes, rule="track")    ->  [A, None] or [B, B], whichever has the greater sum
    """
    if rule not in SELECTIONS:
        raise UsageError(f"face selection {rule!r} is unknown; known: {', '.join(SELECTIONS)}")
    if len(faces_per_frame) != len(frame_sizes):
        raise ValueError(f"faces of {len(faces_per_frame)} frames, but sizes of {len(frame_sizes)}")
    confident = [[face for face in faces if face.score >= min_score] for faces in faces_per_frame]
    return SELECTIONS[rule](confident, frame_sizes)
