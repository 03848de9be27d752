"""Faces of one clip, frame after frame: looked for everywhere in a few frames, and near where they were in the others.

    frame      0    1    2    3    4    5    6    7    8  ... 15
    search   full near near near full near full near near ... full
             key                 cut       lost    <---back---key      4: a cut before it; 6: a face was lost;
                                                                       a face new in 15 is followed back: 14, 13, ...

Where the same faces are in two neighbouring key frames and there is no cut between them, the frames between are looked at
in one go, near the straight line from one to the other; a frame in which that does not find them is looked at again, near
the faces of the frame before.

Where nobody moves away, the faces are those of `Detector.detect`; benchmarks/tracking_agreement.py counts how often.
Knows nothing of networks: any `LocalDetector` can be driven.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench.detection import Detector, LocalDetector
from ferbench.faces import Face, intersection_over_union

KEY_INTERVAL = 16
"""Every so many frames, and in the last, faces are looked for everywhere: whoever came in is noticed there."""
MIN_SCORE = 0.9
"""Faces from this score on are followed; alignment takes no others."""
SAME_FACE = 0.3
"""IoU from which two boxes in one frame are the same face."""
CUT = 24.0
"""Mean difference of two frames' thumbnails, in grey levels of 0..255, from which no face is expected where it was."""
THUMBNAIL = 16
EMPTY_INTERVAL = 4
"""While nobody is to be seen, every so many frames are searched everywhere; whoever is found there is followed back."""
BYSTANDER = 0.5
"""A face below this part of the largest one's size does not cause a full search when it is lost."""


def detect_clip(
    detector: Detector, frames: Sequence[NDArray[np.uint8]], *, exact: bool, everyone: bool = True
) -> list[list[Face]]:
    """The faces of each frame of a clip, as `Detector.detect` gives them; `frames` in temporal order.

    `exact` looks everywhere in every frame, and so does a detector that cannot `search`. Otherwise frames between key
    frames hold the faces near those of the frame before only. A frame in which one of them is lost that is no bystander, or
    which differs from the frame before as a cut does, is searched everywhere; while nobody is to be seen, so is every
    fourth. What is found anew in such a frame is looked for in the frames before it, too. Without `everyone`, faces below
    half the size of a frame's largest may be left out.
    """
    if exact or not isinstance(detector, LocalDetector):
        return detector.detect(frames)
    whole = detector.detect if everyone else detector.detect_large
    keys = sorted({*range(0, len(frames), KEY_INTERVAL), len(frames) - 1}) if frames else []
    in_key = {key: faces for key in keys for faces in whole([frames[key]])}
    cuts = cuts_before(frames)
    foreseen = _foreseen(detector, frames, in_key, cuts, everyone=everyone)
    found: list[list[Face]] = []
    last_full = 0
    for position, frame in enumerate(frames):
        before = followed(found[-1]) if found and not cuts[position] else []
        if position not in in_key and not cuts[position]:
            near = foreseen.get(position, [])
            if not near or lost(prominent(before), near):
                near = detector.search([frame], [boxes_of(before)])[0] if before else []
            stays_empty = not before and position - last_full < EMPTY_INTERVAL
            if stays_empty or (near and not lost(prominent(before), near)):
                found.append(near)
                continue
        found.append(in_key[position] if position in in_key else whole([frame])[0])
        last_full = position
        if not cuts[position]:
            _follow_back(detector, frames, found, cuts)
    return found


def _foreseen(
    detector: LocalDetector,
    frames: Sequence[NDArray[np.uint8]],
    in_key: Mapping[int, list[Face]],
    cuts: Sequence[bool],
    *,
    everyone: bool,
) -> dict[int, list[Face]]:
    """The faces of the frames between key frames that have the same faces, looked for on the straight line between them."""
    places, priors = [], []
    for first, last in itertools.pairwise(in_key):
        begin, end = (followed(in_key[key]) for key in (first, last))
        if not everyone:
            begin, end = prominent(begin), prominent(end)
        pairs = continued(begin, end)
        if any(cuts[first + 1 : last + 1]) or not len(begin) == len(end) == len(pairs) > 0:
            continue
        start, stop = boxes_of([begin[i] for i, _ in pairs]), boxes_of([end[j] for _, j in pairs])
        for position in range(first + 1, last):
            places.append(position)
            priors.append(start + (stop - start) * np.float32((position - first) / (last - first)))
    return dict(zip(places, detector.search([frames[place] for place in places], priors), strict=True))


def _follow_back(
    detector: LocalDetector,
    frames: Sequence[NDArray[np.uint8]],
    found: list[list[Face]],
    cuts: Sequence[bool],
) -> None:
    """Adds to the frames before the last what is new in the last, as far back as it is found."""
    newcomers = lost(followed(found[-1]), found[-2]) if len(found) > 1 else []
    for newcomer in newcomers:
        last = newcomer
        for position in range(len(found) - 2, -1, -1):
            near = followed(detector.search([frames[position]], [boxes_of([last])])[0])
            new = [face for face in near if not any(is_same(face, other) for other in found[position])]
            if not new:
                break
            last = min(new, key=lambda face: distance(face, last))
            found[position] = sorted([*found[position], *new], key=lambda face: -face.score)
            if cuts[position]:
                break


def followed(faces: Sequence[Face]) -> list[Face]:
    """Those that are followed."""
    return [face for face in faces if face.score >= MIN_SCORE]


def prominent(faces: Sequence[Face]) -> list[Face]:
    """Those that are no bystanders: at least half as large as the largest."""
    largest = max((face.size for face in faces), default=0.0)
    return [face for face in faces if face.size >= BYSTANDER * largest]


def boxes_of(faces: Sequence[Face]) -> NDArray[np.float32]:
    """(N, 4) float32 x0, y0, x1, y1."""
    return np.stack([face.box for face in faces])


def is_same(face: Face, other: Face) -> bool:
    """Whether two boxes of one frame are one face."""
    return intersection_over_union(face.box, other.box) >= SAME_FACE


def distance(face: Face, other: Face) -> float:
    """Between the centres, in the second's sizes."""
    return hypot(face.centre[0] - other.centre[0], face.centre[1] - other.centre[1]) / max(other.size, 1.0)


def lost(before: Sequence[Face], now: Sequence[Face]) -> list[Face]:
    """Those of `before` that no confident face of `now` continues."""
    kept = {i for i, _ in continued(before, followed(now))}
    return [face for i, face in enumerate(before) if i not in kept]


def continued(before: Sequence[Face], now: Sequence[Face]) -> list[tuple[int, int]]:
    """(position in `before`, in `now`) of the same faces: nearest pairs first, each face once, within one size."""
    near = sorted((distance(face, other), i, j) for i, other in enumerate(before) for j, face in enumerate(now))
    waiting, taken = set(range(len(before))), set()
    pairs = []
    for apart, i, j in near:
        if apart <= 1 and i in waiting and j not in taken:
            waiting.remove(i)
            taken.add(j)
            pairs.append((i, j))
    return sorted(pairs)


def cuts_before(frames: Sequence[NDArray[np.uint8]]) -> list[bool]:
    """For each frame, whether it differs from the one before as across a cut; the first does not."""
    differences = thumbnail_differences(frames)
    return [difference >= CUT for difference in differences]


def thumbnail_differences(frames: Sequence[NDArray[np.uint8]]) -> list[float]:
    """For each frame, the mean difference of its grey thumbnail from that of the one before, 0..255; 0 for the first."""
    thumbnails = [_thumbnail(frame) for frame in frames]
    pairs = zip(thumbnails[:1] + thumbnails, thumbnails, strict=False)
    return [float(np.abs(first - second).mean()) for first, second in pairs]


def _thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(16, 16) float32. Of few pixels of a large frame: a cut shows in those as well."""
    step = max(1, min(frame.shape[:2]) // (4 * THUMBNAIL))
    few = np.ascontiguousarray(frame[::step, ::step])
    small = cv2.resize(few, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
