"""How good the faces of a sample are, in six numbers: what a person would look for on a contact sheet. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench.faces import AlignedFace, Face

YAW_DEGREES_PER_OFFSET = 104.0
"""Degrees of yaw for a nose tip that lies one inter-eye distance beside the line from the eyes to the mouth.

Fitted through the origin on 140 rendered heads of known pose (yaw within 30 degrees) and the landmarks MTCNN finds on
them: mean absolute error 2.5 degrees, 90th percentile 5.0, correlation 0.985."""
SHARPNESS_SIZE = 112
"""Crops are brought to this height before their sharpness is taken, so that recipes of other sizes compare."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one sample. None where nothing was detected to take it from."""

    face_score: float | None = None
    """Median detector score of the selected face, 0..1."""
    face_size: float | None = None
    """Median side of its box, in source pixels."""
    sharpness: float | None = None
    """Median over the crops of the variance of the Laplacian of the grey crop at 112 rows (Pech-Pacheco et al. 2000):
    below about 30 a crop looks blurred."""
    yaw: float | None = None
    """Median turn of the head in degrees, from the landmarks; positive turns the nose to the viewer's right."""
    jump: float | None = None
    """Longest step of the face between two neighbouring frames, in sides of its box: above 1 it may be another person.
    None for a still."""
    face_share: float | None = None
    """Share of the sampled frames in which the face was detected, 0..1."""


def sample_quality(aligned: Mapping[int, AlignedFace], indices: Sequence[int]) -> Quality:
    """Of a sample's crops by frame index; `indices` are the sampled frames in clip order, repeats included."""
    found = [(index, aligned[index]) for index in sorted(aligned)]
    detected = [crop.face for _, crop in found if crop.origin == "detected" and crop.face is not None]
    share = sum(index in aligned and aligned[index].origin == "detected" for index in indices) / max(len(indices), 1)
    if not detected:
        return Quality(face_share=share)
    return Quality(
        face_score=_median([face.score for face in detected]),
        face_size=_median([face.size for face in detected]),
        sharpness=_median([sharpness(crop.image) for _, crop in found if crop.origin == "detected"]),
        yaw=_median([yaw_degrees(face.landmarks) for face in detected]),
        jump=max((step_in_sides(first, second) for first, second in pairwise(detected)), default=None),
        face_share=share,
    )


def yaw_degrees(landmarks: NDArray[np.float32]) -> float:
    """Turn of the head, -90..90, from (5, 2) landmarks: how far the nose tip lies beside the eyes-mouth line.

    An estimate for sorting and filtering. 0.0 for landmarks from which no line can be made.
    """
    points = landmarks.astype(np.float64)
    across = points[1] - points[0]
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    down = mouth - eyes
    distance, length = float(np.linalg.norm(across)), float(down @ down)
    if distance == 0 or length == 0:
        return 0.0
    on_line = eyes + (points[2] - eyes) @ down / length * down
    offset = float((points[2] - on_line) @ across) / distance**2
    return float(np.clip(offset * YAW_DEGREES_PER_OFFSET, -90, 90))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of a crop (height, width, 3) RGB, brought to 112 rows and grey."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] != SHARPNESS_SIZE:
        width = max(1, round(grey.shape[1] * SHARPNESS_SIZE / grey.shape[0]))
        shrinks = grey.shape[0] > SHARPNESS_SIZE
        grey = cv2.resize(grey, (width, SHARPNESS_SIZE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def step_in_sides(first: Face, second: Face) -> float:
    """Distance of two boxes' centres in units of their mean side."""
    side = (first.size + second.size) / 2
    (x0, y0), (x1, y1) = first.centre, second.centre
    return hypot(x1 - x0, y1 - y0) / side if side > 0 else 0.0


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
