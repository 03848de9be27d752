"""Six numbers per sample: each is what it says on faces made for it."""

import cv2
import numpy as np
import pytest

from ferbench.alignment.quality import Quality, sample_quality, sharpness, step_in_sides, yaw_degrees
from ferbench.faces import AlignedFace, Face

FRONTAL = np.array([[40, 50], [72, 50], [56, 70], [44, 86], [68, 86]], np.float32)


def face(x=0.0, size=40.0, score=0.99, landmarks=FRONTAL) -> Face:
    return Face(np.array([x, 0, x + size, size], np.float32), landmarks, score)


def crop(found, origin="detected", image=None) -> AlignedFace:
    image = np.zeros((112, 112, 3), np.uint8) if image is None else image
    return AlignedFace(image, np.eye(2, 3), found, origin)


def turned(nose_x) -> np.ndarray:
    return np.array([[40, 50], [72, 50], [nose_x, 70], [44, 86], [68, 86]], np.float32)


def test_a_frontal_face_has_no_yaw_and_turning_moves_the_sign_with_the_nose():
    assert yaw_degrees(FRONTAL) == 0.0
    assert yaw_degrees(turned(64)) == pytest.approx(104 * 8 / 32)
    assert yaw_degrees(turned(48)) == pytest.approx(-104 * 8 / 32)
    assert yaw_degrees(turned(200)) == 90.0


def test_yaw_does_not_change_when_the_head_is_tilted_scaled_or_moved():
    angle = np.deg2rad(25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (turned(60) @ turn.T * 3 + (100, -20)).astype(np.float32)
    assert yaw_degrees(moved) == pytest.approx(yaw_degrees(turned(60)), abs=1e-3)


def test_landmarks_in_one_point_have_no_yaw():
    assert yaw_degrees(np.zeros((5, 2), np.float32)) == 0.0


def test_sharpness_is_the_variance_of_the_laplacian_and_falls_with_blur():
    flat = np.full((112, 112, 3), 90, np.uint8)
    assert sharpness(flat) == 0.0
    dot = np.zeros((112, 112, 3), np.uint8)
    dot[50, 50] = 100
    # One pixel of 100: the Laplacian is -400 there and 100 at its four neighbours; the mean is 0.
    assert sharpness(dot) == pytest.approx((400**2 + 4 * 100**2) / 112**2)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert sharpness(cv2.GaussianBlur(noise, (0, 0), 3)) < sharpness(noise) / 10


def test_a_step_is_counted_in_sides_of_the_box():
    assert step_in_sides(face(0), face(20)) == pytest.approx(0.5)
    assert step_in_sides(face(0, 20), face(0, 40)) == pytest.approx(np.hypot(10, 10) / 30)
    assert step_in_sides(face(0, 0), face(5, 0)) == 0.0


def test_a_samples_numbers_are_of_the_detected_frames_only():
    aligned = {
        3: crop(face(0, score=0.9)),
        5: crop(face(400), origin="nearest"),
        9: crop(face(20, score=0.98, landmarks=turned(64))),
    }
    assert sample_quality(aligned, [3, 5, 9, 12]) == Quality(
        face_score=pytest.approx(0.94), face_size=40.0, sharpness=0.0, yaw=pytest.approx(13.0), jump=0.5, face_share=0.5
    )


def test_a_still_has_no_jump_and_a_full_frame_has_nothing_but_its_share():
    assert sample_quality({0: crop(face())}, [0]).jump is None
    assert sample_quality({0: crop(None, origin="full-frame")}, [0]) == Quality(face_share=0.0)
