"""Frames without a face, and whole clips."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ferbench.alignment import MISSING, TEMPLATES, CropOptions, align_clip, fill_missing
from ferbench.errors import FaceError, UsageError
from ferbench.faces import Face

CLIPS = Path(__file__).parents[1] / "manifests" / "demo" / "media"
ARCFACE = TEMPLATES["arcface-112"].points


def face(x, score=1.0):
    """A face whose box begins at x and whose landmarks are all x."""
    return Face(np.array([x, 0, x + 10, 10], np.float32), np.full((5, 2), x, np.float32), score)


def filled(faces, indices, policy):
    """(left of the box, origin) per frame; None for a dropped one, (None, origin) for a full frame."""
    return [
        None if one is None else (None if one.face is None else float(one.face.box[0]), one.origin)
        for one in fill_missing(faces, indices, policy=policy)
    ]


CLIP = [None, face(10), None, None, None, face(50), None]
INDICES = [0, 10, 12, 15, 18, 20, 30]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            "nearest",
            [
                (10, "nearest"), (10, "detected"), (10, "nearest"), (10, "nearest"), (50, "nearest"), (50, "detected"),
                (50, "nearest"),
            ],
        ),
        (
            "interpolate",
            [
                (10, "nearest"), (10, "detected"), (18, "interpolated"), (30, "interpolated"), (42, "interpolated"),
                (50, "detected"), (50, "nearest"),
            ],
        ),
        (
            "full-frame",
            [
                (None, "full-frame"), (10, "detected"), (None, "full-frame"), (None, "full-frame"),
                (None, "full-frame"), (50, "detected"), (None, "full-frame"),
            ],
        ),
        ("drop", [None, (10, "detected"), None, None, None, (50, "detected"), None]),
    ],
)  # fmt: skip
def test_a_frame_without_a_face_gets_what_the_policy_says(policy, expected):
    assert filled(CLIP, INDICES, policy) == expected


def test_nearest_is_in_frame_index_not_in_order():
    assert filled([face(10), None, face(50)], [0, 9, 10], "nearest")[1] == (50, "nearest")


def test_of_two_as_near_the_earlier_is_taken():
    assert filled([face(10), None, face(50)], [0, 5, 10], "nearest")[1] == (10, "nearest")


def test_interpolation_moves_box_landmarks_and_score_together():
    placement = fill_missing([face(10, score=0.8), None, face(50, score=1.0)], [0, 1, 4], policy="interpolate")[1]
    assert placement.face.box.tolist() == [20, 0, 30, 10]
    assert placement.face.landmarks.tolist() == [[20, 20]] * 5
    assert placement.face.score == pytest.approx(0.85)
    assert placement.face.box.dtype == placement.face.landmarks.dtype == np.float32


def test_fail_names_how_many_of_how_many():
    with pytest.raises(FaceError, match="no face in 5 of 7 frames") as caught:
        fill_missing(CLIP, INDICES, policy="fail")
    assert caught.value.reason == "no-face"


@pytest.mark.parametrize("policy", MISSING)
def test_a_clip_with_a_face_in_every_frame_is_left_as_it_is(policy):
    assert filled([face(1), face(2)], [3, 7], policy) == [(1, "detected"), (2, "detected")]


@pytest.mark.parametrize("policy", [name for name in MISSING if name != "full-frame"])
def test_a_clip_without_any_face_fails(policy):
    with pytest.raises(FaceError, match=r"^no face found in any of the 16 frames$") as caught:
        fill_missing([None] * 16, range(16), policy=policy)
    assert caught.value.reason == "no-face"
    with pytest.raises(FaceError, match=r"^no face found$"):
        fill_missing([None], [0], policy=policy)


def test_a_clip_without_any_face_can_be_kept_as_full_frames():
    assert filled([None, None], [0, 1], "full-frame") == [(None, "full-frame")] * 2


def test_no_frames_need_nothing():
    assert [fill_missing([], [], policy=policy) for policy in MISSING] == [[]] * 5


def test_an_unknown_policy_lists_the_known_ones():
    with pytest.raises(UsageError, match="'skip' is unknown; known: fail, nearest, interpolate, full-frame, drop"):
        fill_missing([], [], policy="skip")


@pytest.mark.parametrize("indices", [[0, 0], [1, 0]])
def test_frame_indices_must_increase(indices):
    with pytest.raises(ValueError, match="frame indices must increase"):
        fill_missing([None, None], indices, policy="drop")


def test_every_frame_needs_an_index():
    with pytest.raises(ValueError, match="1 faces, but 2 frame indices"):
        fill_missing([None], [0, 1], policy="drop")


# Whole clips


def placed(x=0, y=0, score=1.0):
    """A face lying on the template, shifted."""
    box = np.array([20 + x, 20 + y, 90 + x, 110 + y], np.float32)
    return Face(box, (ARCFACE + np.array([x, y])).astype(np.float32), score)


def frames(*indices):
    return {index: np.full((150, 200, 3), index, np.uint8) for index in indices}


def test_a_clip_is_cropped_in_frame_order_from_its_own_pixels():
    crops = align_clip(
        frames(9, 2, 5), {2: [placed()], 5: [], 9: [placed(30, 20)]}, crop=CropOptions(), missing="nearest"
    )
    assert list(crops) == [2, 5, 9]
    assert [crop.origin for crop in crops.values()] == ["detected", "nearest", "detected"]
    assert [crop.image[60, 60, 0] for crop in crops.values()] == [2, 5, 9]
    np.testing.assert_array_equal(crops[5].matrix, crops[2].matrix)


def test_dropped_frames_are_not_in_the_result():
    crops = align_clip(frames(1, 2, 3), {1: [], 2: [placed()], 3: []}, crop=CropOptions(), missing="drop")
    assert list(crops) == [2]


def test_full_frames_stand_in_for_missing_faces():
    crops = align_clip(frames(1, 2), {1: [], 2: [placed()]}, crop=CropOptions(), missing="full-frame")
    assert [(crop.origin, crop.face is None) for crop in crops.values()] == [("full-frame", True), ("detected", False)]


def test_the_lowest_score_decides_what_counts_as_a_face():
    with pytest.raises(FaceError, match="no face found in any of the 2 frames"):
        align_clip(frames(1, 2), {1: [placed(score=0.7)], 2: []}, crop=CropOptions(), min_score=0.9)


def test_frames_may_differ_in_size():
    clip = {0: np.zeros((150, 200, 3), np.uint8), 1: np.zeros((300, 120, 3), np.uint8)}
    crops = align_clip(clip, {0: [placed()], 1: [placed()]}, crop=CropOptions(), select="central")
    assert [crop.image.shape for crop in crops.values()] == [(112, 112, 3)] * 2


def test_frames_and_faces_must_have_the_same_indices():
    with pytest.raises(ValueError, match=r"only in one of them: \[2, 3\]"):
        align_clip(frames(1, 2), {1: [], 3: []}, crop=CropOptions())


def test_a_real_clip_comes_out_upright_with_its_eyes_level():
    from ferbench.detection import DetectorOptions, make_detector

    capture = cv2.VideoCapture(str(CLIPS / "pyfeat__WolfgangLanger_Pexels.mp4"))
    clip = {}
    for index in range(472):
        if capture.grab() and index % 59 == 0:
            clip[index] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
    found = dict(zip(clip, make_detector(DetectorOptions()).detect(list(clip.values())), strict=True))
    crops = align_clip(clip, found, crop=CropOptions(), select="track", missing="fail")
    assert len(crops) == 8
    for crop in crops.values():
        points = crop.face.landmarks @ crop.matrix[:, :2].T + crop.matrix[:, 2]
        assert abs(points[0, 1] - points[1, 1]) < 4  # of 112 pixels: her head tilts by up to 20 degrees
        assert np.linalg.norm(points - ARCFACE, axis=1).mean() < 6
