"""Which face of each frame is taken, and how faces become tracks."""

import numpy as np
import pytest

from ferbench.alignment import SELECTIONS, select_faces
from ferbench.alignment.tracking import Track, link_cost, link_faces
from ferbench.errors import UsageError
from ferbench.faces import Face


def face(x, y=100, side=40, score=0.9):
    """A square face around x, y."""
    half = side / 2
    return Face(np.array([x - half, y - half, x + half, y + half], np.float32), np.zeros((5, 2), np.float32), score)


def chosen(faces_per_frame, rule, **options):
    """Places of the chosen faces in their frames."""
    found = select_faces(faces_per_frame, [(200, 400)] * len(faces_per_frame), rule=rule, **options)
    return [
        None if one is None else next(place for place, other in enumerate(faces) if other is one)
        for one, faces in zip(found, faces_per_frame, strict=True)
    ]


def test_largest_takes_the_largest_of_each_frame():
    assert chosen([[face(50, side=40), face(200, side=60)], [face(50, side=70), face(200, side=60)]], "largest") == [
        1,
        0,
    ]


def test_confident_takes_the_best_score():
    assert chosen([[face(50, side=80, score=0.8), face(200, score=0.99)]], "confident") == [1]


def test_central_takes_the_face_nearest_to_the_middle_of_its_own_frame():
    faces = [face(50), face(210), face(390)]
    found = select_faces([faces, faces], [(200, 400), (200, 100)], rule="central")
    assert [one.centre[0] for one in found] == [210, 50]


@pytest.mark.parametrize("rule", SELECTIONS)
def test_a_frame_without_faces_gives_none(rule):
    assert chosen([[], [face(50)], []], rule) == [None, 0, None]
    assert chosen([[], []], rule) == [None, None]
    assert chosen([[]], rule) == [None]
    assert chosen([], rule) == []


@pytest.mark.parametrize("rule", SELECTIONS)
def test_a_chosen_face_is_one_that_was_found_not_a_mixture(rule):
    rng = np.random.default_rng(0)
    clip = [
        [
            face(rng.uniform(50, 350), side=rng.uniform(20, 90), score=rng.uniform(0.7, 1))
            for _ in range(rng.integers(1, 5))
        ]
        for _ in range(30)
    ]
    found = select_faces(clip, [(200, 400)] * 30, rule=rule)
    assert all(one is None or any(one is other for other in faces) for one, faces in zip(found, clip, strict=True))


@pytest.mark.parametrize("rule", ["largest", "confident"])
def test_of_equal_faces_the_larger_then_the_left_then_the_upper_is_taken(rule):
    assert chosen([[face(200), face(50), face(50, y=60)]], rule) == [2]


def test_of_equally_central_faces_the_larger_then_the_left_is_taken():
    assert chosen([[face(250), face(150), face(200, y=150)]], "central") == [1]
    assert chosen([[face(150), face(250, side=44)]], "central") == [1]


@pytest.mark.parametrize("rule", SELECTIONS)
def test_faces_below_the_lowest_score_are_as_good_as_not_found(rule):
    clip = [[face(200, side=80, score=0.79), face(50, score=0.8)], [face(200, score=0.5)]]
    assert chosen(clip, rule, min_score=0.8) == [1, None]


def test_an_unknown_rule_lists_the_known_ones():
    with pytest.raises(UsageError, match="'best' is unknown; known: largest, confident, central, track"):
        select_faces([], [], rule="best")


def test_sizes_must_match_the_frames():
    with pytest.raises(ValueError, match="faces of 2 frames, but sizes of 1"):
        select_faces([[], []], [(200, 400)])


# Tracks


def test_a_bystander_who_is_larger_in_one_frame_is_not_taken():
    person = [face(100 + 3 * step) for step in range(10)]
    clip = [[one] for one in person]
    clip[4] = [face(330, side=90), person[4]]
    assert chosen(clip, "largest") == [0] * 10
    assert chosen(clip, "track") == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_two_people_stay_two_people_whatever_the_order_of_detection():
    left, right = [face(100 + step, side=40) for step in range(6)], [face(220 - step, side=50) for step in range(6)]
    clip = [[left[step], right[step]] if step % 2 else [right[step], left[step]] for step in range(6)]
    assert chosen(clip, "track") == [0, 1, 0, 1, 0, 1]
    assert [len(track.faces) for track in link_faces(clip)] == [6, 6]


def test_a_person_who_is_not_found_for_a_while_continues():
    clip = [[face(100)], [face(104)], [], [], [], [face(116), face(320)], [face(118), face(322)]]
    assert chosen(clip, "track") == [0, 0, None, None, None, 0, 0]


def test_a_person_who_is_hidden_is_not_replaced_by_another_beside_them():
    clip = [[face(100, side=60), face(150)], [face(150)], [face(100, side=60), face(150)]]
    assert chosen(clip, "track") == [0, None, 0]


def test_a_cut_to_another_place_begins_a_track_and_the_weightier_one_is_taken():
    clip = [[face(60)], [face(60)], [face(300)], [face(300)], [face(300)]]
    assert chosen(clip, "track") == [None, None, 0, 0, 0]


def test_a_face_that_doubles_and_more_is_someone_else():
    track = Track([0], [face(100, side=40)])
    assert link_cost(track, face(100, side=79), 1) is not None
    assert link_cost(track, face(100, side=81), 1) is None
    assert link_cost(track, face(100, side=19), 1) is None


def test_a_face_may_move_its_own_size_and_further_the_longer_it_was_gone():
    track = Track([0], [face(100, side=40)])
    assert [link_cost(track, face(140, side=40), 1), link_cost(track, face(141, side=40), 1)] == [2.0, None]
    assert link_cost(track, face(155, side=40), 5) is not None  # gone for four frames: 1.4 sizes
    assert link_cost(track, face(165, side=40), 1000) is None  # never more than 1.5


def test_a_still_face_costs_nothing():
    assert link_cost(Track([0], [face(100)]), face(100), 1) == 0


def test_a_track_weighs_its_length_size_and_score():
    assert Track([0, 1], [face(0, side=40, score=0.5), face(0, side=60, score=1.0)]).weight == pytest.approx(80)


def test_of_tracks_of_equal_weight_the_larger_then_the_left_is_taken():
    assert chosen([[face(300), face(100)], [face(300), face(100)]], "track") == [1, 1]


def test_a_single_frame_gives_its_largest_face():
    faces = [face(50, side=60, score=0.7), face(200, side=50, score=1.0)]
    assert chosen([faces], "track") == chosen([faces], "largest") == [0]
    assert chosen([faces, faces], "track") == [1, 1]


def test_an_empty_box_is_never_linked():
    assert link_cost(Track([0], [face(100, side=0)]), face(100), 1) is None
    assert len(link_faces([[face(100, side=0)], [face(100)]])) == 2
