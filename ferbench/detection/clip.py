"""Faces of one clip, frame after frame: looked for everywhere in a few frames, and near where they were in the others.

    frame      0    1    2    3    4    5    6    7    8  ... 15
    search   full near near near full near full near near ... full
             key                 cut       lost    <---back---key      4: a cut before it; 6: a face was lost;
                                                                       a face new in 15 is followed back: 14, 13, ...

Where nobody moves away, the faces are those of `Detector.detect`; benchmarks/detection_speed.py counts how often.
Knows nothing of networks: any `LocalDetector` can be driven.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def detect_clip(detector: Detector, frames: Sequence[NDArray[np.uint8]], *, exact: bool) -> list[list[Face]]:
    """The faces of each frame of a clip, as `Detector.detect` gives them; `frames` in temporal order.

    `exact` looks everywhere in every frame, and so does a detector that cannot `search`. Otherwise frames between key
    frames hold the faces near those of the frame before only. A frame in which one of them is lost that is no bystander, or
    which differs from the frame before as a cut does, is searched everywhere; while nobody is to be seen, so is every
    fourth. What is found anew in such a frame is looked for in the frames before it, too.
    """
    if exact or not isinstance(detector, LocalDetector):
        return detector.detect(frames)
    keys = {*range(0, len(frames), KEY_INTERVAL), len(frames) - 1}
    cuts = cuts_before(frames)
    found: list[list[Face]] = []
    last_full = 0
    for position, frame in enumerate(frames):
        before = followed(found[-1]) if found and not cuts[position] else []
        if position not in keys and not cuts[position]:
            near = detector.search([frame], [boxes_of(before)])[0] if before else []
            stays_empty = not before and position - last_full < EMPTY_INTERVAL
            if stays_empty or (near and not lost(prominent(before), near)):
                found.append(near)
                continue
        found.append(detector.detect([frame])[0])
        last_full = position
        if not cuts[position]:
            _follow_back(detector, frames, found, cuts)
    return found


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
    """Those of `before` that no confident face of `now` continues: nearest pairs first, each face once, within one size."""
    pairs = sorted(
        (distance(face, other), i, j) for i, other in enumerate(before) for j, face in enumerate(followed(now))
    )
    waiting, taken = set(range(len(before))), set()
    for apart, i, j in pairs:
        if apart <= 1 and i in waiting and j not in taken:
            waiting.remove(i)
            taken.add(j)
    return [before[i] for i in sorted(waiting)]


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
