"""The pieces of the cascade, each against values worked by hand or against torch's own operators."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate
from torchvision.ops import nms

from ferbench.detection.area import bins, crop_and_resize, resize_area, summed
from ferbench.detection.boxes import (
    Candidates,
    concatenate,
    corrected,
    crop_bounds,
    is_usable,
    squared,
    suppress,
    suppress_inside,
    suppress_windows,
    window_candidates,
)
from ferbench.detection.frames import batches_of_one_size, check_frames, faces_from_arrays
from ferbench.detection.pyramid import pyramid_scales, scaled_size

CPU = torch.device("cpu")


def candidates(boxes, *, scores=None, frame=None, offsets=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    return Candidates(
        frame=np.array([0] * count if frame is None else frame, np.int64),
        boxes=boxes,
        scores=np.array([0.5] * count if scores is None else scores, np.float32),
        offsets=np.zeros((count, 4), np.float32) if offsets is None else np.array([offsets], np.float32),
        landmarks=np.arange(count * 10, dtype=np.float32).reshape(count, 5, 2),
    )


def resized(frames, *, height, width):
    """(B, 3, height, width), as torch's interpolate gives it."""
    rows, columns = bins(frames.shape[1], height), bins(frames.shape[2], width)
    return resize_area(summed(frames, device=CPU), rows, columns).permute(0, 3, 1, 2)[:, :3]


# frames.py


def test_frames_are_grouped_by_size_in_the_order_of_each_sizes_first_frame():
    a, b = (10, 20), (20, 10)
    assert batches_of_one_size([a, b, a, a], max_frames=2, max_pixels=10**6) == [(0, 2), (3,), (1,)]


def test_a_batch_holds_no_more_pixels_than_allowed_but_at_least_one_frame():
    sizes = [(10, 10)] * 5
    assert batches_of_one_size(sizes, max_frames=16, max_pixels=250) == [(0, 1), (2, 3), (4,)]
    assert batches_of_one_size(sizes[:2], max_frames=16, max_pixels=1) == [(0,), (1,)]


def test_no_frames_make_no_batches():
    assert batches_of_one_size([], max_frames=16, max_pixels=250) == []


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"frame 1 has shape \(4, 4, 3\) and dtype float32"),
        (np.zeros((4, 4), np.uint8), r"frame 1 has shape \(4, 4\) and dtype uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        ([[0]], "frame 1 is a list"),
    ],
)
def test_what_is_not_a_frame_is_refused_with_its_place_shape_and_dtype(frame, message):
    with pytest.raises(ValueError, match=message):
        check_frames([np.zeros((4, 4, 3), np.uint8), frame])


def test_faces_come_by_score_then_size_then_left_then_upper():
    boxes = np.array(
        [[0, 0, 10, 10], [5, 9, 15, 19], [5, 0, 15, 10], [0, 0, 20, 20], [0, 0, 5, 5]], np.float32
    )  # left, right lower, right upper, large, small but best
    scores = np.array([0.8, 0.8, 0.8, 0.8, 0.9], np.float32)
    faces = faces_from_arrays(boxes, scores, np.zeros((5, 5, 2), np.float32))
    assert [tuple(face.box.tolist()) for face in faces] == [
        (0, 0, 5, 5),
        (0, 0, 20, 20),
        (0, 0, 10, 10),
        (5, 0, 15, 10),
        (5, 9, 15, 19),
    ]


def test_faces_with_nan_inf_or_an_empty_box_are_left_out():
    boxes = np.array([[0, 0, 9, 9], [0, 0, np.nan, 9], [9, 0, 0, 9], [0, 0, np.inf, 9], [1, 1, 9, 9]], np.float32)
    landmarks = np.zeros((5, 5, 2), np.float32)
    landmarks[4, 0, 0] = np.nan
    faces = faces_from_arrays(boxes, np.full(5, 0.9, np.float32), landmarks)
    assert [face.box.tolist() for face in faces] == [[0, 0, 9, 9]]


# pyramid.py


def test_the_pyramid_of_480x640_has_ten_scales():
    scales = pyramid_scales(480, 640, min_face_px=20, factor=0.709)
    assert scales == pytest.approx([0.6 * 0.709**level for level in range(10)])


@pytest.mark.parametrize(
    ("height", "width", "levels"), [(19, 400, 0), (1, 1, 0), (20, 20, 1), (29, 29, 2), (28, 28, 1)]
)
def test_the_last_scale_still_holds_a_window(height, width, levels):
    assert len(pyramid_scales(height, width, min_face_px=20, factor=0.709)) == levels


def test_a_scaled_side_is_the_truncation_of_side_times_scale_plus_one():
    assert scaled_size(360, 640, 0.6) == (217, 385)
    assert scaled_size(20, 20, 0.6) == (13, 13)


# area.py


def test_five_pixels_into_three_share_the_pixels_between_bins():
    row = np.repeat(np.array([0, 10, 20, 30, 40], np.uint8)[None, None, :, None], 3, axis=3)
    three = resized(row, height=1, width=3)
    assert three.shape == (1, 3, 1, 3)
    assert three[0, 0, 0].tolist() == [5, 20, 35]


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 4), st.integers(0, 2**32 - 1))
def test_area_resizing_is_that_of_torch(sizes, seed):
    rows, columns, height, width = sizes
    frames = np.random.default_rng(seed).integers(0, 256, (2, rows, columns, 3), dtype=np.uint8)
    ours = resized(frames, height=height, width=width)
    theirs = interpolate(torch.from_numpy(frames).permute(0, 3, 1, 2).float(), size=(height, width), mode="area")
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=0)  # 0..255 in float32: one unit in the last place is 1.5e-5


def test_each_patch_is_its_own_crop_resized():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    frame = rng.integers(0, 3, 60)
    corner = rng.integers(0, (69, 49), (60, 2))
    bounds = np.concatenate([corner, rng.integers(corner + 1, (71, 51))], axis=1)
    bounds[0] = [69, 49, 70, 50]  # one pixel, the last
    bounds[1] = [0, 0, 70, 50]  # everything
    patches = crop_and_resize(summed(frames, device=CPU), frame, bounds, size=24)
    for patch, index, (left, top, right, bottom) in zip(patches, frame.tolist(), bounds.tolist(), strict=True):
        crop = torch.from_numpy(frames[index, top:bottom, left:right]).permute(2, 0, 1).float()
        expected = interpolate(crop[None], size=(24, 24), mode="area")[0]
        assert torch.allclose(patch.permute(2, 0, 1)[:3], expected, atol=1e-4, rtol=0)


def test_a_rectangle_of_a_frame_gives_the_pixels_of_the_whole():
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    whole, part = summed([frame], device=CPU), summed([frame[20:80, 30:100]], device=CPU, top=20, left=30)
    assert (part.top, part.left, part.bottom, part.right) == (20, 30, 80, 100)
    rows, columns = bins(90, 33).part(9, 28), bins(120, 47).part(13, 38)
    assert torch.equal(resize_area(part, rows, columns), resize_area(whole, rows, columns))
    bounds = np.array([[30, 20, 100, 80], [40, 33, 77, 71]])
    patches = [crop_and_resize(pixels, np.zeros(2, np.int64), bounds, size=24) for pixels in (whole, part)]
    assert torch.equal(*patches)


def test_frames_whose_sum_does_not_fit_32_bits_are_resized_exactly():
    white = np.full((1, 3000, 3000, 3), 255, np.uint8)  # 2.3e9
    assert resized(white, height=13, width=13).unique().tolist() == [255]
    patches = crop_and_resize(summed(white, device=CPU), np.array([0]), np.array([[0, 0, 3000, 3000]]), size=24)
    assert patches.unique().tolist() == [255]


# boxes.py


def test_a_p_net_cell_becomes_the_window_it_saw():
    found = window_candidates(
        np.array([1]), np.array([3]), np.array([5]),
        scores=np.array([0.75], np.float32), offsets=np.array([[1, 2, 3, 4]], np.float32),
        scale=np.array([0.4], np.float32),
    )  # fmt: skip
    # column 5, row 3: the window starts at 2 * 5 + 1 and 2 * 3 + 1 and ends 11 later, all divided by the scale and floored
    assert found.boxes.tolist() == [[27, 17, 55, 45]]
    assert found.frame.tolist() == [1]
    assert found.scores.tolist() == [0.75]
    assert found.offsets.tolist() == [[1, 2, 3, 4]]


def test_offsets_move_a_box_by_parts_of_its_width_and_height():
    box = candidates([10, 20, 30, 60], offsets=[0.1, 0.2, -0.1, 0.5])
    assert corrected(box, last_pixel=0).boxes.flatten().tolist() == pytest.approx([12, 28, 28, 80], abs=1e-4)
    assert corrected(box, last_pixel=1).boxes.flatten().tolist() == pytest.approx([12.1, 28.2, 27.9, 80.5], abs=1e-4)


def test_a_box_is_squared_around_its_centre():
    assert squared(candidates([[10, 20, 30, 60], [0, 0, 9, 3]])).boxes.tolist() == [[0, 20, 40, 60], [0, -3, 9, 6]]


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ([1.0, 1.0, 100.0, 50.0], [0, 0, 100, 50]),  # the whole frame, 1-based and inclusive
        ([3.9, 4.2, 9.9, 8.1], [2, 3, 9, 8]),
        ([-7.5, -0.5, 140.0, 60.0], [0, 0, 100, 50]),
        ([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1]),
    ],
)
def test_the_pixels_under_a_box_are_clipped_to_the_frame(box, pixels):
    bounds = crop_bounds(np.array([box], np.float32), bottom=50, right=100)
    assert bounds.tolist() == [pixels]
    assert is_usable(bounds).tolist() == [True]


@pytest.mark.parametrize(
    "box", [[101, 5, 120, 20], [-30, 5, -2, 20], [5, 51, 20, 70], [5, -30, 20, 0], [20, 5, 10, 20], [5, 20, 20, 10]]
)
def test_a_box_beside_the_frame_or_inside_out_has_no_pixels(box):
    assert is_usable(crop_bounds(np.array([box], np.float32), bottom=50, right=100)).tolist() == [False]


def test_candidates_are_selected_with_all_their_columns():
    three = candidates([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], scores=[0.1, 0.2, 0.3], frame=[4, 5, 6])
    two = three[np.array([True, False, True])]
    assert two.frame.tolist() == [4, 6]
    assert two.boxes[:, 2].tolist() == [1, 3]
    assert two.scores.tolist() == pytest.approx([0.1, 0.3])
    assert two.landmarks[:, 0, 0].tolist() == [0, 20]
    assert repr(concatenate([three, two])) == "Candidates(5)"


def test_suppression_keeps_the_best_of_overlapping_boxes_in_each_frame():
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [0, 0, 10, 10], [1, 0, 11, 10]]
    kept = suppress(candidates(boxes, scores=[0.7, 0.8, 0.6, 0.9, 0.8], frame=[0, 0, 0, 1, 1]), threshold=0.5)
    assert kept.frame.tolist() == [0, 0, 1]
    assert kept.scores.tolist() == pytest.approx([0.8, 0.6, 0.9])


def test_suppression_in_a_frame_does_not_depend_on_its_number():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 200, (300, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 80, (300, 1))], axis=1).tolist()
    scores = rng.uniform(size=300).astype(np.float32).tolist()
    alone = nms(torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores), 0.7)
    for number in (0, 1, 99_999):
        kept = suppress(candidates(boxes, scores=scores, frame=[number] * 300), threshold=0.7)
        assert kept.boxes.tolist() == torch.tensor(boxes, dtype=torch.float32)[alone].tolist()


def test_windows_of_two_levels_do_not_suppress_each_other_where_levels_are_told_apart():
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 900, (400, 2))
    windows = candidates(np.concatenate([corner, corner + rng.integers(20, 300, (400, 1))], axis=1))
    windows.scores[:] = rng.uniform(size=400)
    level = rng.integers(0, 9, 400)
    kept = suppress_windows(windows, threshold=0.5, level=level)
    each = [suppress(windows[level == number], threshold=0.5) for number in range(9)]
    expected = {tuple(box) for part in each for box in part.boxes.tolist()}
    assert {tuple(box) for box in kept.boxes.tolist()} == expected
    assert len(kept) == sum(map(len, each))
    assert kept.scores.tolist() == sorted(kept.scores.tolist(), reverse=True)


def test_nothing_suppressed_is_nothing():
    assert len(suppress(candidates([]), threshold=0.5)) == 0
    assert len(suppress_inside(candidates([]), threshold=0.5)) == 0


def test_a_small_box_inside_a_better_large_one_goes_though_their_iou_is_small():
    boxes = [[0, 0, 100, 100], [10, 10, 40, 40], [90, 90, 120, 120]]
    kept = suppress_inside(candidates(boxes, scores=[0.9, 0.8, 0.7]), threshold=0.7)
    assert kept.boxes.tolist() == [boxes[0], boxes[2]]


def test_of_equal_scores_the_later_box_stays_as_in_facenet_pytorch():
    boxes = [[0, 0, 100, 100], [2, 0, 102, 100]]
    assert suppress_inside(candidates(boxes, scores=[1.0, 1.0]), threshold=0.7).boxes.tolist() == [boxes[1]]


def test_boxes_beyond_the_32767th_are_kept_apart():
    places = np.arange(200)[:, None] * 50 + np.array([0, 0, 20, 20])
    boxes = places.repeat(200, axis=0).tolist()  # 200 places, 200 boxes in each
    scores = np.linspace(0, 1, 40_000).tolist()
    kept = suppress_inside(candidates(boxes, scores=scores), threshold=0.7)
    assert kept.boxes.tolist() == places[::-1].tolist()
    assert kept.landmarks[0, 0, 0].item() == 399_990  # the last of 40,000
