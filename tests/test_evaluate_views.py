"""Test-time views: which frames and pixels they are, and how their outputs become one row of logits."""

import math

import numpy as np
import pytest
from evaluate_fixtures import CLIP, clips_manifest, predictions_of, write_net
from hypothesis import given
from hypothesis import strategies as st

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate import ViewOptions
from ferbench.jobs.evaluate.views import _VIEWS, average, spatial_views, temporal_views
from ferbench.sampling import Sampler


def frames_of(sampler, count, num_frames):
    return [list(view.indices(num_frames)) for view in temporal_views(sampler, count)]


# --- which frames -----------------------------------------------------------------------------------------------------


def test_two_views_of_mae_dfer_are_its_own_two():
    first, last = frames_of(Sampler("mae-dfer"), 2, 79)
    assert first == list(range(0, 64, 4)) == Sampler("mae-dfer", view=0).indices(79)
    assert last == list(range(16, 80, 4)) == Sampler("mae-dfer", view=1).indices(79)


def test_strided_windows_go_from_the_start_of_the_clip_to_its_end():
    assert frames_of(Sampler("stride", clip_len=3, stride=2), 3, 11) == [[0, 2, 4], [3, 5, 7], [6, 8, 10]]


def test_segment_samplers_are_shifted_within_their_segments():
    # Segments of 8 frames, middles at 4, 12, ...; a third of a segment is 2.67 frames.
    assert frames_of(Sampler("uniform", clip_len=4), 3, 32) == [[1, 9, 17, 25], [4, 12, 20, 28], [7, 15, 23, 31]]
    # Former-DFER reads two neighbours per segment of 16: they stay neighbours.
    assert frames_of(Sampler("former", clip_len=4, stride=2), 2, 32) == [[3, 4, 19, 20], [11, 12, 27, 28]]


@given(
    mode=st.sampled_from(sorted(_VIEWS)), count=st.integers(1, 6), num_frames=st.integers(1, 300),
    clip_len=st.sampled_from([2, 8, 16]),
)  # fmt: skip
def test_every_view_is_a_clip_of_frames_that_are_there(mode, count, num_frames, clip_len):
    views = frames_of(Sampler(mode, clip_len=clip_len), count, num_frames)
    assert len(views) == count
    for view in views:
        assert len(view) == clip_len
        assert all(0 <= index < num_frames for index in view)
    starts = [view[0] for view in views]
    assert starts == sorted(starts)
    if count == 1 or (count % 2 and mode not in ("stride", "mae-dfer")):
        assert views[count // 2] == Sampler(mode, clip_len=clip_len).indices(num_frames)


@pytest.mark.parametrize("mode", ["all", "last-n", "center-window"])
def test_a_sampler_with_one_clip_says_so(mode):
    with pytest.raises(UsageError, match="has one clip per sample; samplers with several: mae-dfer, stride, uniform"):
        temporal_views(Sampler(mode), 2)


# --- which pixels -----------------------------------------------------------------------------------------------------

SPEC = InputSpec(clip_len=1, height=2, width=2)
PLACES = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
"""A frame of 4x4 whose values say where they are: 4 * row + column."""


def top_left(options):
    return [view[0, 0, 0, 0] for view in spatial_views(PLACES, SPEC, options)]


def test_crops_are_the_middle_or_with_its_sides_or_with_the_corners():
    assert top_left(ViewOptions(crops=1, enlarge=2)) == [5]
    assert top_left(ViewOptions(crops=3, enlarge=2)) == [4, 5, 6]
    assert top_left(ViewOptions(crops=5, enlarge=2)) == [0, 2, 8, 10, 5]


def test_a_mirror_image_follows_each_crop():
    views = spatial_views(PLACES, SPEC, ViewOptions(crops=3, flip=True, enlarge=2))
    assert [view[0, 0].tolist() for view in views[:2]] == [[[4, 5], [8, 9]], [[5, 4], [9, 8]]]
    assert len(views) == ViewOptions(crops=3, flip=True).count == 6


def test_frames_are_a_little_larger_than_several_crops_and_no_larger_than_one():
    spec = InputSpec(height=224, width=112)
    assert ViewOptions().frame_size(spec) == (224, 112)
    assert ViewOptions(crops=5).frame_size(spec) == (256, 128)
    assert ViewOptions(crops=1, enlarge=1.5).frame_size(spec) == (336, 168)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": 0}, "views must be at least 1"),
        ({"crops": 2}, "crops must be one of 1, 3, 5, got 2"),
        ({"average": "max"}, "average 'max' is not one of logits, softmax"),
        ({"enlarge": 0.5}, "enlarge must be between 1 and 4"),
        ({"enlarge": math.nan}, "enlarge must be between 1 and 4"),
        ({"crops": 3, "enlarge": 1.0}, "are all the same"),
    ],
)
def test_views_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        ViewOptions(**settings)


# --- averages ---------------------------------------------------------------------------------------------------------


def test_a_mean_of_logits_and_one_of_probabilities_may_name_different_classes():
    # One view is very sure of class 0, two are a little for class 1.
    logits = np.array([[6, 0], [0, 1], [0, 1]], np.float32)
    assert average(logits, "logits").tolist() == [2, pytest.approx(2 / 3)]
    sure, unsure = 1 / (1 + math.exp(-6)), 1 / (1 + math.exp(1))
    expected = (sure + 2 * unsure) / 3
    stored = average(logits, "softmax")
    np.testing.assert_allclose(np.exp(stored), [expected, 1 - expected], rtol=1e-6)
    # The stored logarithms give the same probabilities through softmax again.
    np.testing.assert_allclose(np.exp(stored) / np.exp(stored).sum(), [expected, 1 - expected], rtol=1e-6)
    assert (expected < 0.5, average(np.array([[3, 0], [0, 1], [0, 1]], np.float32), "logits").argmax()) == (False, 0)


def test_weights_and_classes_that_cannot_be():
    logits = np.array([[0, 0, -np.inf], [math.log(3), 0, 0]], np.float32)
    np.testing.assert_allclose(
        np.exp(average(logits, "softmax", weights=(0.75, 0.25))),
        [0.75 * 0.5 + 0.25 * 0.6, 0.375 + 0.05, 0.05],
        rtol=1e-6,
    )
    assert np.isneginf(average(np.array([[0, -np.inf]], np.float32), "softmax")).tolist() == [False, True]


@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1, max_size=5))
def test_one_row_of_logits_is_its_own_mean_and_softmax_means_add_up_to_one(rows):
    logits = np.array(rows, np.float32)
    assert average(logits[:1], "logits").tolist() == logits[0].tolist()
    assert np.exp(average(logits, "softmax").astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)


# --- the whole --------------------------------------------------------------------------------------------------------


def logits_of(tmp_path, net, *, out="run", batch_size=16, **views):
    """sample_id -> logits, and the provenance."""
    found = predictions_of(
        tmp_path / "set/manifest.parquet", net, tmp_path / out, views=ViewOptions(**views), batch_size=batch_size
    )
    return dict(zip(found.sample_ids, found.logits.tolist(), strict=True)), found.provenance


def halves(left, right):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, :4], picture[:, 4:] = left, right
    return picture


LEFT_HALF = "return inputs[:, :, :, :4].mean(dim=(2, 3))"


def test_flip_averages_a_picture_with_its_mirror_image(tmp_path):
    clips_manifest(tmp_path / "set", {"a": [halves((255, 0, 0), (0, 0, 255))], "b": [halves((0, 255, 0), (0, 51, 0))]})
    net = write_net(tmp_path / "net.py", LEFT_HALF, sampler="all")
    plain, about = logits_of(tmp_path, net)
    assert (plain["a"], about["views"]["count"]) == ([1, 0, 0], 1)
    flipped, about = logits_of(tmp_path, net, flip=True, out="flipped")
    assert (flipped["a"], about["views"]["flip"], about["views"]["count"]) == ([0.5, 0, 0.5], True, 2)
    assert flipped["b"] == pytest.approx([0, 0.6, 0])


def test_views_of_a_clip_are_clips_of_other_frames_averaged(tmp_path):
    greys = [0, 51, 102, 153, 204, 255]
    clips_manifest(tmp_path / "set", {"a": [(grey, 0, 0) for grey in greys], "short": [(51, 0, 0)] * 2})
    # Only the first frame of the clip counts: windows of every frame start at 0, 2 and 4 of six.
    net = write_net(
        tmp_path / "net.py", "return inputs[:, 0].mean(dim=(2, 3))", layout="NTCHW", sampler="stride", stride=1
    )
    found, about = logits_of(tmp_path, net, views=3)
    assert found["a"] == pytest.approx([np.mean([0, 0.4, 0.8]), 0, 0], abs=1e-6)
    assert found["short"] == pytest.approx([0.2, 0, 0], abs=1e-6)
    assert about["views"] == {
        "views": 3, "crops": 1, "flip": False, "enlarge": 0.0, "average": "logits", "count": 3,
    }  # fmt: skip


def test_softmax_means_are_stored_as_logarithms_and_that_is_said(tmp_path):
    clips_manifest(tmp_path / "set", {"a": [halves((255, 0, 0), (0, 0, 255))]})
    net = write_net(tmp_path / "net.py", LEFT_HALF, sampler="all")
    found, about = logits_of(tmp_path, net, flip=True, average="softmax")
    total = math.e + 2
    expected = [(math.e + 1) / (2 * total), 1 / total, (math.e + 1) / (2 * total)]
    np.testing.assert_allclose(np.exp(found["a"]), expected, rtol=1e-6)
    assert "The logits are logarithms of averaged probabilities (--average softmax)." in about["notices"]


@pytest.mark.parametrize("views", [{}, {"views": 2, "crops": 5, "flip": True}])
def test_views_of_a_sample_do_not_depend_on_its_batch_mates(views, tmp_path):
    rng = np.random.default_rng(0)
    clips = {f"s{number}": rng.integers(0, 256, (9, 8, 8, 3)) for number in range(5)}
    clips_manifest(tmp_path / "set", clips)
    net = write_net(tmp_path / "net.py", CLIP, layout="NCTHW".replace("CT", "TC"), clip_len=4)
    one, _ = logits_of(tmp_path, net, **views, batch_size=1, out="one")
    many, _ = logits_of(tmp_path, net, **views, batch_size=64, out="many")
    for name in clips:
        np.testing.assert_allclose(one[name], many[name], rtol=1e-6)
    assert len({tuple(row) for row in one.values()}) == 5


def test_views_that_the_sampler_does_not_have_are_refused_before_any_sample(tmp_path, ferbench):
    clips_manifest(tmp_path / "set", {"a": [(9, 9, 9)]})
    net = write_net(tmp_path / "net.py", sampler="all")
    ran = ferbench(
        "evaluate", tmp_path / "set/manifest.parquet", "--model", net, "-o", tmp_path / "run", "--views", "2"
    )
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--views 2: the sampler 'all' has one clip per sample" in ran.err
    assert not (tmp_path / "run").exists()
