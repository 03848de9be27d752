"""Templates, the similarity transform, and the pixels of a crop."""

import numpy as np
import pytest
from facenet_pytorch.models.utils.detect_face import extract_face
from hypothesis import given, settings
from hypothesis import strategies as st

from ferbench.alignment import (
    TEMPLATES,
    CropOptions,
    Template,
    align_face,
    crop_size,
    full_frame,
    scaled,
    similarity_transform,
)
from ferbench.errors import FaceError, UsageError
from ferbench.faces import Face

ARCFACE = TEMPLATES["arcface-112"].points


def face_at(landmarks, box=(0, 0, 10, 10)):
    return Face(np.array(box, np.float32), np.array(landmarks, np.float32), 1.0)


def applied(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Templates


def test_arcface_112_is_insightfaces():
    expected = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
    assert ARCFACE.tolist() == [list(point) for point in expected]
    assert crop_size(TEMPLATES["arcface-112"], 112) == (112, 112)


def test_evolve_112_is_evolve_96x112_with_eight_pixels_on_either_side():
    narrow, square = TEMPLATES["evolve-96x112"], TEMPLATES["evolve-112"]
    assert narrow.points[0].tolist() == [30.29459953, 51.69630051]
    assert (narrow.width, narrow.height, square.width, square.height) == (96, 112, 112, 112)
    np.testing.assert_array_equal(square.points - narrow.points, [[8, 0]] * 5)
    np.testing.assert_allclose(square.points, ARCFACE, atol=1e-4)  # insightface rounded the same numbers


def test_size_is_the_height_and_the_width_follows():
    narrow = TEMPLATES["evolve-96x112"]
    assert [crop_size(narrow, size) for size in (112, 224, 100)] == [(96, 112), (192, 224), (86, 100)]
    assert crop_size(TEMPLATES["margin"], 160) == (160, 160)


def test_a_scaled_template_has_scaled_points():
    double = scaled(TEMPLATES["arcface-112"], 224)
    assert (double.width, double.height) == (224, 224)
    np.testing.assert_array_equal(double.points, ARCFACE * 2)


@pytest.mark.parametrize("name", [name for name, row in TEMPLATES.items() if isinstance(row, Template)])
def test_every_template_shows_an_upright_face_inside_its_crop(name):
    row = TEMPLATES[name]
    left_eye, right_eye, nose, left_mouth, right_mouth = row.points
    assert left_eye[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert right_eye[1] < nose[1] < left_mouth[1]
    assert (row.points > 0).all()
    assert (row.points < (row.width, row.height)).all()
    assert row.name == name
    assert row.source


# Options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"template": "vgg"},
            "template 'vgg' is unknown; known: arcface-112, evolve-112, evolve-96x112, margin",
        ),
        ({"interpolation": "lanczos"}, "interpolation 'lanczos' is unknown; known: linear, cubic, area"),
        ({"size": 0}, "size is 0; a crop is at least 1 pixel high"),
        ({"margin": 8}, "margin belongs to the template 'margin', not to 'arcface-112'; leave it at 0"),
        ({"template": "margin", "margin": -1}, "margin is -1; it must be at least 0 and below the size, 112"),
        ({"template": "margin", "margin": 112}, "margin is 112"),
        ({"template": "margin", "interpolation": "cubic"}, "template 'margin' is always resized with area, not cubic"),
    ],
)
def test_crop_options_that_make_no_sense_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        CropOptions(**values)


# The similarity transform


def test_landmarks_on_the_template_give_the_identity():
    np.testing.assert_allclose(similarity_transform(ARCFACE, ARCFACE), [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_a_quarter_turn_twice_the_size_and_a_shift_worked_by_hand():
    points = np.array([[0, 0], [1, 0], [0, 1]])
    target = np.array([[5, 7], [5, 9], [3, 7]])  # x -> down, y -> left
    np.testing.assert_allclose(similarity_transform(points, target), [[0, -2, 5], [2, 0, 7]], atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-np.pi, np.pi), st.floats(0.05, 20), st.floats(-2000, 2000), st.floats(-2000, 2000), st.integers(0, 999)
)
def test_any_similarity_is_recovered(angle, scale, x, y, seed):
    points = np.random.default_rng(seed).uniform(0, 100, (5, 2))
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cosine, -sine, x], [sine, cosine, y]])
    np.testing.assert_allclose(similarity_transform(points, applied(matrix, points)), matrix, atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9999))
def test_it_is_the_least_squares_solution(seed):
    rng = np.random.default_rng(seed)
    points, target = rng.uniform(0, 100, (2, 5, 2))
    # a, b, x, y of [[a, -b, x], [b, a, y]], by a general linear solver
    (zero, one), (px, py) = (np.zeros(5), np.ones(5)), points.T
    system = np.concatenate([np.stack([px, -py, one, zero], 1), np.stack([py, px, zero, one], 1)])
    (a, b, x, y), *_ = np.linalg.lstsq(system, target.T.reshape(-1), rcond=None)
    np.testing.assert_allclose(similarity_transform(points, target), [[a, -b, x], [b, a, y]], atol=1e-6)


def test_a_mirrored_face_is_not_mirrored_back():
    matrix = similarity_transform(ARCFACE * (-1, 1) + (112, 0), ARCFACE)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.full((5, 2), 7.0), "the landmarks are all in one point"),
        (np.linspace(0, 9, 10).reshape(5, 2), "the landmarks are all on one line"),
        (np.where(np.eye(5, 2) > 0, np.nan, ARCFACE), "a landmark is not a number"),
        (np.where(np.eye(5, 2) > 0, np.inf, ARCFACE), "a landmark is not a number"),
    ],
)
def test_landmarks_that_are_no_face_are_an_error(points, message):
    with pytest.raises(FaceError, match=message) as caught:
        similarity_transform(points, ARCFACE)
    assert caught.value.reason == "bad-landmarks"


# Crops


def test_a_face_on_the_template_is_cropped_unchanged():
    frame = noise(112, 112)
    crop = align_face(frame, face_at(ARCFACE), CropOptions())
    np.testing.assert_array_equal(crop.image, frame)
    np.testing.assert_allclose(crop.matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-5)
    assert (crop.origin, crop.image.dtype) == ("detected", np.uint8)


def test_a_shifted_face_is_cut_out_with_its_colours():
    frame = noise(200, 300)
    crop = align_face(frame, face_at(ARCFACE + np.array([30, 20])), CropOptions(), origin="nearest")
    np.testing.assert_array_equal(crop.image, frame[20:132, 30:142])
    assert crop.origin == "nearest"


def test_red_stays_red():
    frame = np.zeros((112, 112, 3), np.uint8)
    frame[..., 0] = 200
    assert align_face(frame, face_at(ARCFACE), CropOptions()).image[50, 50].tolist() == [200, 0, 0]
    assert full_frame(frame, CropOptions()).image[50, 50].tolist() == [200, 0, 0]
    boxed = align_face(frame, face_at(ARCFACE, (10, 10, 90, 90)), CropOptions("margin", size=40))
    assert boxed.image[20, 20].tolist() == [200, 0, 0]


def test_beyond_the_frame_is_black():
    frame = np.full((112, 112, 3), 255, np.uint8)
    crop = align_face(frame, face_at(ARCFACE - (40, 0)), CropOptions()).image
    assert crop[:, :40].max() == 0
    assert crop[:, 40:].min() == 255


def test_a_face_lying_on_its_side_is_set_upright():
    frame = noise(112, 112)
    lying = np.rot90(frame, k=-1)  # clockwise: x, y -> 111 - y, x
    crop = align_face(lying, face_at(np.stack([111 - ARCFACE[:, 1], ARCFACE[:, 0]], axis=1)), CropOptions())
    np.testing.assert_array_equal(crop.image, frame)


def test_a_crop_has_the_size_asked_for():
    frame = noise(120, 120)
    for options, shape in [
        (CropOptions(size=224), (224, 224, 3)),
        (CropOptions("evolve-96x112", size=224), (224, 192, 3)),
        (CropOptions("margin", size=160, margin=32), (160, 160, 3)),
    ]:
        assert align_face(frame, face_at(ARCFACE, (5, 5, 99, 99)), options).image.shape == shape
        assert full_frame(frame, options).image.shape == shape


@pytest.mark.parametrize("factor", [2, 3, 4, 7])
def test_area_averages_what_a_smaller_crop_cannot_show(factor):
    frame = noise(112 * factor, 112 * factor)
    landmarks = ARCFACE * factor + (factor - 1) / 2  # centre of block 0 -> centre of pixel 0
    crop = align_face(frame, face_at(landmarks), CropOptions(interpolation="area"))
    means = frame.reshape(112, factor, 112, factor, 3).mean(axis=(1, 3))
    assert np.abs(crop.image - means).max() <= 1  # rounding, once or twice
    linear = align_face(frame, face_at(landmarks), CropOptions(interpolation="linear"))
    np.testing.assert_array_equal(crop.matrix, linear.matrix)


def test_area_takes_frames_whose_sides_are_no_multiples():
    frame = np.full((331, 449, 3), 255, np.uint8)
    crop = align_face(frame, face_at(ARCFACE * 4 + 1.5), CropOptions(interpolation="area"))
    inside = applied(crop.matrix, np.array([[440, 320]]))[0].astype(int) - 1
    assert crop.image[: inside[1], : inside[0]].min() == 255


@pytest.mark.parametrize(("size", "margin"), [(112, 0), (112, 44), (160, 0), (160, 32), (37, 14)])
@pytest.mark.parametrize("box", [(30.3, 40.8, 120.2, 170.9), (-8.7, -3.2, 60.1, 90.4), (150.5, 100.5, 215.2, 201.3)])
def test_the_margin_crop_is_facenet_pytorchs(box, size, margin):
    frame = noise(180, 200)
    crop = align_face(frame, face_at(ARCFACE, box), CropOptions("margin", size=size, margin=margin))
    # facenet-pytorch's detect() returns Python floats
    expected = extract_face(frame, [float(value) for value in np.array(box, np.float32)], size, margin)
    np.testing.assert_array_equal(crop.image, expected.permute(1, 2, 0).numpy().astype(np.uint8))


def test_the_matrix_of_the_margin_crop_is_that_of_its_resize():
    crop = align_face(noise(120, 120), face_at(ARCFACE, (10, 20, 50, 100)), CropOptions("margin", size=40))
    assert crop.matrix.tolist() == [[1, 0, -10], [0, 0.5, -10.25]]  # rows 20 and 21 become row 0


@pytest.mark.parametrize("box", [(300, 10, 340, 50), (-90, 10, -40, 50), (10, 10, 10.5, 50), (np.nan, 0, 9, 9)])
def test_a_box_without_pixels_is_an_error(box):
    with pytest.raises(FaceError) as caught:
        align_face(noise(100, 200), face_at(ARCFACE, box), CropOptions("margin"))
    assert caught.value.reason == "bad-box"


def test_the_full_frame_is_letterboxed():
    frame = np.full((100, 200, 3), 255, np.uint8)
    crop = full_frame(frame, CropOptions())
    assert crop.image[28:84].min() == 255
    assert crop.image[:28].max() == crop.image[84:].max() == 0
    assert (crop.face, crop.origin) == (None, "full-frame")
    np.testing.assert_allclose(crop.matrix, [[0.56, 0, -0.22], [0, 0.56, 27.78]], atol=1e-12)


def test_a_full_frame_smaller_than_the_crop_is_enlarged():
    crop = full_frame(np.full((10, 5, 3), 9, np.uint8), CropOptions(size=40))
    assert crop.image[:, 10:30].min() == 9
    assert crop.image[:, :10].max() == crop.image[:, 30:].max() == 0


def test_a_very_long_frame_keeps_a_pixel():
    assert full_frame(np.full((2, 2000, 3), 9, np.uint8), CropOptions()).image.max() == 9


@pytest.mark.parametrize("frame", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8)])
def test_what_is_not_an_rgb_frame_is_refused(frame):
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 RGB"):
        align_face(frame, face_at(ARCFACE), CropOptions())
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 RGB"):
        full_frame(frame, CropOptions())


def test_cubic_weighs_four_pixels_where_linear_weighs_two():
    frame = np.zeros((112, 112, 3), np.uint8)
    frame[:, 60] = 96
    half_a_pixel = face_at(ARCFACE - np.array([0.5, 0]))
    linear, cubic = (
        align_face(frame, half_a_pixel, CropOptions(interpolation=name)).image[50, 58:63, 0].tolist()
        for name in ("linear", "cubic")
    )
    assert linear == [0, 0, 48, 48, 0]
    assert cubic == [0, 0, 57, 57, 0]  # 19/32 of 96; beside it -3/32, which is black
