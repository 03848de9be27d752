"""Tracks: the same person from frame to frame, linked by where and how large the face is. Geometry only, no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, log2

from ferbench.faces import Face, intersection_over_union

REACH = 1.0
"""How far, in face sizes, a face may move from one frame to the next and still be the same person."""
REACH_PER_GAP, LONGEST_REACH = 0.1, 1.5
"""For each frame in between in which the person was not found the reach grows by this much, up to that much."""
SIZE_RATIO = 2.0
"""Larger over smaller size of the same person's face in two frames, at most."""


@dataclass(slots=True, eq=False)
class Track:
    """One person's faces: `positions` (0-based, increasing, places in the clip) and the face found at each."""

    positions: list[int]
    faces: list[Face]

    @property
    def weight(self) -> float:
        """Sum of size (square root of the box's area, in pixels) times score: grows with length, size and confidence."""
        return sum(face.size * face.score for face in self.faces)


def link_faces(faces_per_frame: Sequence[Sequence[Face]]) -> list[Track]:
    """All tracks, each face in exactly one, in the order in which they begin.

    Frame by frame, the cheapest pair of a track and a face is linked first, then the cheapest of the rest; a face that no
    track can reach begins a track. A track does not end: whoever was hidden and comes back near the same place continues.
    The cost of a pair is distance / size + |log2 size ratio| + 1 - IoU; of equal costs the older track, then the earlier
    face, goes first.
    """
    tracks: list[Track] = []
    for position, faces in enumerate(faces_per_frame):
        costs = [
            (link_cost(track, face, position), t, f) for t, track in enumerate(tracks) for f, face in enumerate(faces)
        ]
        waiting = dict(enumerate(faces))
        taken: set[int] = set()
        for _, t, f in sorted((cost, t, f) for cost, t, f in costs if cost is not None):
            if t not in taken and f in waiting:
                taken.add(t)
                tracks[t].positions.append(position)
                tracks[t].faces.append(waiting.pop(f))
        tracks += [Track([position], [face]) for face in waiting.values()]
    return tracks


def link_cost(track: Track, face: Face, position: int) -> float | None:
    """What it costs to continue the track with `face` at `position`; None when it is too far or of another size."""
    last, gap = track.faces[-1], position - track.positions[-1] - 1
    if min(last.size, face.size) <= 0:
        return None
    octaves = abs(log2(face.size / last.size))
    moved = hypot(face.centre[0] - last.centre[0], face.centre[1] - last.centre[1]) / ((face.size + last.size) / 2)
    if octaves > log2(SIZE_RATIO) or moved > min(REACH + REACH_PER_GAP * gap, LONGEST_REACH):
        return None
    return moved + octaves + 1 - intersection_over_union(last.box, face.box)
