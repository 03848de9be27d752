"""Golden vectors of every sampling mode, from the published code's own arithmetic, and the rules all modes share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferbench.errors import MediaError, UsageError
from ferbench.sampling import MODES, SHORT_POLICIES, Sampler


def ints(text: str) -> list[int]:
    return [int(word) for word in text.replace(",", " ").split()]


GOLDEN = [
    # mode, sampler arguments, num_frames, expected
    ("former", {}, 1, [0] * 16),
    ("former", {}, 9, [0, 1] * 8),
    ("former", {}, 10, ints("0,1,1,2,2,3,3,4,5,6,6,7,7,8,8,9")),
    ("former", {}, 16, list(range(16))),
    ("former", {}, 66, ints("4,5,12,13,20,21,28,29,36,37,44,45,52,53,60,61")),
    ("former", {}, 144, ints("8,9,26,27,44,45,62,63,80,81,98,99,116,117,134,135")),
    ("former", {"short": "repeat-last"}, 5, ints("0 1 1 2 2 3 3 4 4 4 4 4 4 4 4 4")),
    ("dfer-clip", {}, 11, ints("0 1 2 3 4 5 6 7 8 9 10 10 10 10 10 10")),
    ("dfer-clip", {}, 16, list(range(16))),
    ("dfer-clip", {}, 17, ints("0 1 2 3 4 5 6 7 9 10 11 12 13 14 15 16")),
    ("dfer-clip", {}, 66, ints("2,6,10,14,18,22,26,30,35,39,43,47,51,55,59,63")),
    ("mae-dfer", {}, 11, ints("0 4 8 8 8 8 8 8 8 8 8 8 8 8 8 8")),
    ("mae-dfer", {}, 70, ints("0 4 8 12 16 20 24 28 32 36 40 44 48 52 56 60")),
    ("mae-dfer", {"view": 1}, 70, ints("8 12 16 20 24 28 32 36 40 44 48 52 56 60 64 68")),
    ("mae-dfer", {"stride": 1}, 20, list(range(16))),
    ("mae-dfer", {"stride": 1, "view": 1}, 20, list(range(4, 20))),
    ("m3dfel", {}, 5, ints("0 0 0 0 1 1 1 2 2 2 3 3 3 4 4 4")),
    ("m3dfel", {}, 66, ints("0 4 8 12 16 20 24 28 33 37 41 45 49 53 57 61")),
    ("dfew", {}, 11, ints("0 1 2 4 5 7 8 9 0 1 3 4 5 7 8 10")),
    ("dfew", {}, 16, list(range(16))),
    ("dfew", {}, 70, ints("0 4 9 13 18 23 27 32 36 41 46 50 55 59 64 69")),
    ("uniform", {}, 16, list(range(16))),
    ("uniform", {"clip_len": 4}, 10, [1, 3, 6, 8]),
    ("uniform", {"clip_len": 8}, 5, [0, 0, 1, 2, 2, 3, 4, 4]),
    ("uniform", {"clip_len": 1}, 7, [3]),
    ("stride", {"clip_len": 4, "stride": 3}, 20, [5, 8, 11, 14]),
    ("stride", {"clip_len": 4, "stride": 3}, 7, [0, 3, 6, 6]),
    ("center-window", {"center": 50}, 100, list(range(46, 55))),
    ("center-window", {"center": 1}, 100, [0, 0, 0, 0, 1, 2, 3, 4, 5]),
    ("center-window", {"center": 98}, 100, [94, 95, 96, 97, 98, 99, 99, 99, 99]),
    ("center-window", {"center": 1, "short": "repeat-current"}, 100, [0, 1, 1, 1, 1, 2, 3, 4, 5]),
    ("center-window", {"center": 1, "short": "shift"}, 100, list(range(9))),
    ("center-window", {"center": 98, "short": "shift"}, 100, list(range(91, 100))),
    ("center-window", {"center": 4}, 5, [0, 1, 2, 3, 4, 4, 4, 4, 4]),
    ("last-n", {}, 11, [8, 9, 10]),
    ("last-n", {"clip_len": 1}, 11, [10]),
    ("last-n", {}, 2, [0, 1]),
    ("all", {}, 5, [0, 1, 2, 3, 4]),
]


@pytest.mark.parametrize(("mode", "numbers", "num_frames", "expected"), GOLDEN)
def test_a_mode_returns_the_published_test_indices(mode, numbers, num_frames, expected):
    assert Sampler(mode, **numbers).indices(num_frames) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("repeat-last", [0, 1, 2, 3, 4, 4, 4, 4]),
        ("repeat-first", [0, 0, 0, 0, 1, 2, 3, 4]),
        ("loop", [0, 1, 2, 3, 4, 0, 1, 2]),
        ("spread", [0, 0, 1, 2, 2, 3, 4, 4]),
        ("keep", [0, 1, 2, 3, 4]),
    ],
)
def test_each_short_clip_policy_does_what_the_docstring_shows(policy, expected):
    assert Sampler("uniform", clip_len=8, short=policy).indices(5) == expected


def test_the_error_policy_names_both_lengths():
    with pytest.raises(MediaError, match="has 5 frames and the sampler needs 8") as caught:
        Sampler("uniform", clip_len=8, short="error").indices(5)
    assert caught.value.reason == "too-short"


def published_former_train(n, segments, length, rng):
    """Former-DFER's arithmetic written out, as an oracle with the same stream of random numbers."""
    average = (n - length + 1) // segments
    if average > 0:
        offsets = [k * average + int(rng.integers(average)) for k in range(segments)]
    elif n > segments:
        offsets = sorted(int(value) for value in rng.integers(n - length + 1, size=segments))
    else:
        offsets = [0] * segments
    indices = []
    for offset in offsets:
        position = offset
        for _ in range(length):
            indices.append(position)
            if position < n - 1:
                position += 1
    return indices


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_former_train_indices_equal_the_published_arithmetic(n, seed):
    ours = Sampler("former").indices(n, rng=np.random.default_rng(seed))
    assert ours == published_former_train(n, 8, 2, np.random.default_rng(seed))


def test_mae_dfer_train_indices_of_a_short_clip_are_the_published_ones():
    assert Sampler("mae-dfer").indices(11, rng=np.random.default_rng(0)) == [0] + [10] * 15


def test_mae_dfer_train_window_is_as_long_as_published():
    for seed in range(50):
        indices = Sampler("mae-dfer").indices(200, rng=np.random.default_rng(seed))
        assert indices[-1] - indices[0] == 63  # a window of 16*4, its end exclusive
        assert indices[-1] <= 198  # the published end index is drawn below the number of frames


def test_dfew_train_indices_are_sorted_and_drawn_without_replacement():
    indices = Sampler("dfew").indices(40, rng=np.random.default_rng(1))
    assert indices == sorted(set(indices))
    assert len(indices) == 16


def test_uniform_train_takes_one_frame_from_each_segment():
    for seed in range(20):
        indices = Sampler("uniform", clip_len=4).indices(10, rng=np.random.default_rng(seed))
        assert [0 <= indices[0] < 2, 2 <= indices[1] < 5, 5 <= indices[2] < 7, 7 <= indices[3] < 10] == [True] * 4


def test_m3dfel_train_moves_every_index_forward_by_less_than_the_clip_length():
    base = Sampler("m3dfel").indices(200)
    moved = Sampler("m3dfel").indices(200, rng=np.random.default_rng(3))
    steps = [after - before for before, after in zip(base, moved, strict=True)]
    assert min(steps) >= 0
    assert max(steps) < 16
    assert len(set(steps)) > 1


@given(
    st.sampled_from([mode for mode in MODES if mode not in ("all", "last-n")]),
    st.integers(1, 400),
    st.one_of(st.none(), st.integers(0, 1000)),
)
def test_every_mode_returns_exactly_its_clip_length_of_existing_frames_in_time_order(mode, n, seed):
    sampler = Sampler(mode)
    indices = sampler.indices(n, rng=None if seed is None else np.random.default_rng(seed))
    assert len(indices) == sampler.clip_len
    assert all(type(index) is int and 0 <= index < n for index in indices)
    if mode not in ("former", "dfew", "m3dfel"):  # zero-fill, tiling and jitter go back in time by design
        assert indices == sorted(indices)


@given(st.sampled_from(sorted(SHORT_POLICIES)), st.integers(1, 30), st.integers(1, 30))
def test_a_short_clip_policy_never_leaves_the_clip(policy, available, wanted):
    if policy == "error":
        return
    positions = SHORT_POLICIES[policy](available, wanted)
    assert all(0 <= position < available for position in positions)


def test_the_train_form_is_decided_by_the_generator_alone():
    first = Sampler("uniform").indices(90, rng=np.random.default_rng(7))
    assert first == Sampler("uniform").indices(90, rng=np.random.default_rng(7))
    assert first != Sampler("uniform").indices(90, rng=np.random.default_rng(8))


def test_a_recorded_sampler_names_the_policy_and_numbers_it_used():
    assert Sampler("former").as_dict() == {
        "mode": "former", "clip_len": 16, "stride": 2, "short": "zero", "center": -1, "view": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "former2"}, "unknown sampler 'former2'; known: former, dfer-clip"),
        ({"mode": "uniform", "short": "zero"}, "knows no short-clip policy 'zero'; known: spread"),
        ({"mode": "former", "clip_len": 15}, "not a multiple"),
        ({"mode": "uniform", "clip_len": -1}, "must be positive"),
        ({"mode": "mae-dfer", "view": 2}, "view must be 0 or 1"),
    ],
)
def test_a_wrong_sampler_is_refused_with_the_rule(arguments, message):
    with pytest.raises(UsageError, match=message):
        Sampler(**arguments)


def test_an_empty_clip_is_an_error_not_an_empty_list():
    with pytest.raises(MediaError) as caught:
        Sampler("all").indices(0)
    assert caught.value.reason == "no-frames"
