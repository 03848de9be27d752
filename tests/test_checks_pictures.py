"""`check --only pictures`: the same and nearly the same picture on both sides, by hash."""

import itertools

import cv2
import numpy as np
import pytest
from check_fixtures import found, manifest, said, scene, write_frames, write_picture
from conftest import FACES
from hypothesis import given, settings
from hypothesis import strategies as st
from media_fixtures import write_video

from ferbench.checks.near import differing_bits, near_pairs
from ferbench.checks.phash import NEAR_BITS, NEAR_LIKENESS, hash_picture, likeness


def pictures(made, **options):
    return said(found(made, "pictures", **options))


def test_different_pictures_are_fine(tmp_path):
    for row in range(6):
        write_picture(tmp_path / f"s{row}.png", scene(row))
    assert pictures(manifest(tmp_path, split=["train"] * 3 + ["test"] * 3)) == []


def test_the_same_pixels_in_another_file_are_an_error(tmp_path):
    write_picture(tmp_path / "a.png", scene(1))
    write_picture(tmp_path / "b.bmp", scene(1))
    write_picture(tmp_path / "c.png", scene(2))
    made = manifest(tmp_path, path=["a.png", "b.bmp", "c.png"], split=["train", "test", "test"])
    assert pictures(made) == [("error", "leak-picture", "s1", "the same picture is in train ('s0') and in test ('s1')")]
    assert pictures(made.with_columns(split=["validation", "train", "test"])) == [
        ("warning", "leak-picture", "s0", "the same picture is in train ('s1') and in validation ('s0')")
    ]
    assert pictures(made.with_columns(split=["test", "test", "train"])) == []


@pytest.mark.parametrize("change", ["jpg60", "jpg90", "half"])
def test_a_copy_in_another_size_or_quality_is_a_warning(tmp_path, change):
    face = cv2.imread(str(FACES / "pyfeat__single_face.jpg"))
    copy = cv2.resize(face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) if change == "half" else face
    write_picture(tmp_path / "a.png", face)
    write_picture(tmp_path / "b.png", scene(1))
    write_picture(tmp_path / "c.jpg", copy, quality={"jpg60": 60, "jpg90": 90, "half": 95}[change])
    made = manifest(tmp_path, path=["a.png", "b.png", "c.jpg"], fold=[1, 1, 2])
    ((severity, rule, sample, message),) = pictures(made)
    assert (severity, rule, sample) == ("warning", "near-duplicate", "s2")
    start, end = message.split(" bits apart, is ")
    assert int(start.removeprefix("nearly the same picture, ").removesuffix(" of 64")) <= NEAR_BITS
    assert end == "in the test part of fold 1 ('s0') and in that of fold 2 ('s2')"


def test_one_file_on_both_sides_is_said_by_leaks_alone(tmp_path):
    write_picture(tmp_path / "a.png", scene(1))
    made = manifest(tmp_path, path=["a.png", "a.png"], split=["train", "test"])
    assert pictures(made) == []
    assert [row[1] for row in said(found(made, "leaks", "pictures"))] == ["leak-source"]


def test_clips_are_compared_by_their_middle_frames(tmp_path):
    write_frames(tmp_path / "a", [f"{number:03d}.png" for number in range(9)], seed=1)
    write_frames(tmp_path / "b", [f"{number:03d}.png" for number in range(5)], seed=2)
    write_picture(tmp_path / "b/002.png", scene(1004, 32))  # the middle of a
    write_video(tmp_path / "v.mp4", frames=20)
    write_video(tmp_path / "w.mp4", frames=20, show=lambda index: index + 100)
    made = manifest(
        tmp_path, path=["a", "b", "v.mp4", "w.mp4", "v.mp4"], media=["frames"] * 2 + ["video"] * 3,
        start_frame=[None, None, None, None, 8], end_frame=[None, None, None, None, 13],
        split=["train", "test", "train", "test", "test"],
    )  # fmt: skip
    assert pictures(made) == [
        ("error", "leak-picture", "s1", "the same picture is in train ('s0') and in test ('s1')"),
        ("error", "leak-picture", "s4", "the same picture is in train ('s2') and in test ('s4')"),
    ]


def test_flat_pictures_are_not_compared(tmp_path):
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, np.full((64, 64, 3), 7, np.uint8))
    assert pictures(manifest(tmp_path, path=["a.png", "b.png"], split=["train", "test"])) == []


def test_without_sides_nothing_is_compared(tmp_path):
    from check_fixtures import checked

    result = checked(manifest(tmp_path, label=[0, 0]), only=("pictures", "leaks"))
    reason = "the manifest has no split and no folds"
    assert (result.not_checked, result.visited) == ({"leaks": reason, "pictures": reason}, 0)


def test_unreadable_pictures_are_the_files_checks_to_say(tmp_path):
    write_picture(tmp_path / "a.png", scene(1))
    made = manifest(tmp_path, path=["a.png", "gone.png"], split=["train", "test"])
    assert pictures(made) == []
    assert [row[1] for row in said(found(made, "files", "pictures"))] == ["missing-file"]


def test_the_numbers_of_the_hash_are_as_documented():
    pictures = [cv2.imread(str(path)) for path in sorted(FACES.glob("*.jpg"))] + [
        scene(seed, 256) for seed in range(40)
    ]
    hashes = [hash_picture(picture) for picture in pictures]
    unlike = [
        int(one.bits ^ other.bits).bit_count() for one, other in itertools.combinations(hashes, 2)
    ]  # fmt: skip
    assert min(unlike) > 2 * NEAR_BITS
    for picture, own in zip(pictures, hashes, strict=True):
        for quality in (60, 90):
            for scale in (1.0, 0.5):
                small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                copy = hash_picture(cv2.imdecode(data, cv2.IMREAD_COLOR))
                assert (own.bits ^ copy.bits).bit_count() <= NEAR_BITS
                shapes = [np.frombuffer(each.shape, np.int8)[None] for each in (own, copy)]
                assert likeness(*shapes)[0] > NEAR_LIKENESS


def test_the_hash_of_a_known_picture_stays_what_it_is():
    picture = hash_picture(scene(7, 256))
    assert picture.bits == 0x83F2A487ACBC5B43
    assert len(picture.shape) == 63


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=40, unique=True), st.integers(0, 9), st.randoms(use_true_random=False)
)
@settings(max_examples=60, deadline=None)
def test_near_pairs_are_those_of_a_plain_loop(values, distance, random):
    for value in values[:10]:
        changed = value
        for bit in random.sample(range(64), random.randint(1, 10)):
            changed ^= 1 << bit
        values = [*values, changed] if changed not in values else values
    hashes = np.array(sorted(values), np.uint64)
    one, other, bits = near_pairs(hashes, distance)
    got = {(int(i), int(j)): int(d) for i, j, d in zip(one, other, bits, strict=True)}
    plain = [int(value) for value in hashes]
    want = {
        (i, j): (plain[i] ^ plain[j]).bit_count()
        for i, j in itertools.combinations(range(len(plain)), 2)
        if (plain[i] ^ plain[j]).bit_count() <= distance
    }
    assert got == want
    assert bits.tolist() == sorted(bits.tolist())


def test_bits_are_counted_in_words():
    ours = np.array([0, 2**64 - 1, 0b1011, 1 << 63], np.uint64)
    assert differing_bits(ours, np.zeros(4, np.uint64)).tolist() == [0, 64, 3, 1]
