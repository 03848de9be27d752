"""A folder per class: SFEW, CAER, CAER-S, and copies that have no card."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import caer, caer_s, sfew, touch_all

from ferbench.cards import read_card
from ferbench.datasets.class_folders import read, read_uncarded, split_of
from ferbench.errors import DataError, FerbenchError
from ferbench.jobs.index import index_dataset
from ferbench.manifest import read_manifest


def rules(findings):
    return [(finding.rule, finding.severity, finding.count) for finding in findings]


def rows(reading):
    """sample id -> (path, media, class name)."""
    columns = reading.columns
    names = [reading.labels.names[label] for label in columns["label"]]
    return dict(zip(columns["sample_id"], zip(columns["path"], columns["media"], names, strict=True), strict=True))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("train_set", "train"), ("Train_Aligned_Faces", "train"),
        ("val", "validation"), ("valid", "validation"), ("Validation", "validation"), ("dev", "validation"),
        ("Val_Aligned_Faces_new", "validation"), ("TEST", "test"), ("testing", "test"), ("test images", "test"),
        ("testimony", None), ("happy", None), ("trainer", None), ("clip_train", None),
    ],
)  # fmt: skip
def test_splits_are_known_in_the_spellings_people_use(name, split):
    assert split_of(name) == split


# --- with a card ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sfew_copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("sfew")
    sfew.fabricate(root)
    return root


def test_sfew_is_read_from_its_aligned_faces_and_says_that_the_test_part_has_no_labels(sfew_copy, tmp_path, ferbench):
    ran = ferbench("index", "sfew", sfew_copy, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 0
    assert [(found["rule"], found["severity"], found["count"]) for found in ran.json["findings"]] == [
        ("no-label", "note", 372)
    ]
    assert {split: counts["samples"] for split, counts in ran.json["counts"].items()} == {
        "train": 891,
        "validation": 428,
    }
    assert (ran.json["rows_read"], ran.json["samples"]) == (891 + 428 + 372, 891 + 428)
    first = next(read_manifest(tmp_path / "m.parquet").samples())
    assert (first.sample_id, first.path, first.group, first.split) == (
        "train/angry/Movie0_000002400_00000000",
        "Train/Train_Aligned_Faces/Angry/Movie0_000002400_00000000.png",
        "Movie0",
        "train",
    )


def test_sfews_whole_frames_have_the_published_counts(sfew_copy, tmp_path, ferbench):
    ran = ferbench("index", "sfew", sfew_copy, "-o", tmp_path / "m.parquet", "-o", "images=original", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert list(ran.json["counts"]["train"].values()) == [958, 178, 66, 98, 198, 150, 172, 96]
    assert list(ran.json["counts"]["validation"].values()) == [436, 77, 23, 47, 73, 86, 73, 57]


def test_the_newer_of_two_archives_of_one_split_is_read_and_other_doubles_are_refused(tmp_path):
    for folder in ("Train/Train_Aligned_Faces", "Val/Val_Aligned_Faces", "Val/Val_Aligned_Faces_new"):
        touch_all(tmp_path / folder / "Happy", ["m_1_2.png"])
    reading = read(tmp_path, read_card("sfew"), {"images": "auto"})
    assert reading.columns["path"][1] == "Val/Val_Aligned_Faces_new/Happy/m_1_2.png"
    touch_all(tmp_path / "copy/Train_Aligned_Faces/Sad", ["m_1_2.png"])
    with pytest.raises(DataError, match=r"2 folders hold class folders of train \(Train/Train_Aligned_Faces, copy"):
        read(tmp_path, read_card("sfew"), {"images": "auto"})


def test_caer_has_three_splits_of_clips(tmp_path, ferbench):
    caer.fabricate(tmp_path)
    ran = ferbench("index", "caer", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert {split: counts["samples"] for split, counts in ran.json["counts"].items()} == {
        "train": 9240, "validation": 1321, "test": 2640,
    }  # fmt: skip
    first = next(read_manifest(tmp_path / "m.parquet").samples())
    assert (first.sample_id, first.path, first.media) == ("test/anger/0001", "CAER/test/Anger/0001.avi", "video")


def test_a_lost_clip_of_caer_is_seen_by_the_counts(tmp_path, ferbench):
    caer.fabricate(tmp_path)
    (tmp_path / "CAER/test/Fear/0001.avi").unlink()
    ran = ferbench("index", "caer", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 4
    messages = [found["message"] for found in ran.json["findings"] if found["severity"] == "error"]
    assert messages[0].startswith("everything: 13,200 samples, published are 13,201")
    assert messages[1].startswith("test: 2,639 samples, published are 2,640")


def test_frames_of_a_clip_are_one_sample_of_a_dynamic_set_and_numbered_stills_are_many_of_a_static_one(tmp_path):
    touch_all(tmp_path / "train/Anger/0001", ["00001.jpg", "00002.jpg"])
    touch_all(tmp_path / "train/Happy", ["0001.jpg", "0002.jpg"])
    assert rows(read(tmp_path, read_card("caer"), {})) == {
        "train/anger/0001": ("train/Anger/0001", "frames", "anger"),
        "train/happy/0001": ("train/Happy/0001.jpg", "image", "happy"),
        "train/happy/0002": ("train/Happy/0002.jpg", "image", "happy"),
    }
    assert [media for _, media, _ in rows(read(tmp_path, read_card("caer-s"), {})).values()] == ["image"] * 4


def test_media_in_no_class_folder_are_counted(tmp_path):
    touch_all(tmp_path / "CAER/train/Anger", ["0001.avi"])
    touch_all(tmp_path / "CAER/train/Contempt", ["0001.avi", "0002.avi"])
    touch_all(tmp_path / "CAER/test", ["0001.avi"])
    reading = read(tmp_path, read_card("caer"), {})
    assert rules(skip.as_finding() for skip in reading.skipped) == [("no-label", "note", 1), ("no-class", "error", 2)]
    assert "CAER/train/Contempt: 2 files in no folder named after a class" in reading.skipped[1].first
    assert reading.rows_read == 4


def test_class_folders_named_with_numbers_are_refused_with_a_way_out(tmp_path):
    for number in range(7):
        touch_all(tmp_path / f"train/{number}", ["a.jpg"])
    with pytest.raises(DataError, match="a number is not a name"):
        read(tmp_path, read_card("caer"), {})
    with pytest.raises(DataError, match="list the samples in a CSV with class names"):
        read_uncarded(tmp_path)
    with pytest.raises(DataError, match="nothing of caer is here; looked for folders named anger, disgust"):
        read(tmp_path / "train/1", read_card("caer"), {})


def test_caer_s_has_the_corrected_totals(tmp_path, ferbench):
    caer_s.fabricate(tmp_path)
    ran = ferbench("index", "caer-s", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert (ran.json["counts"]["train"]["samples"], ran.json["counts"]["test"]["samples"]) == (48995, 20987)


# --- without a card ---------------------------------------------------------------------------------------------------


def test_any_folders_are_classes_in_alphabetical_order_below_split_folders(tmp_path, ferbench):
    touch_all(tmp_path / "set/train/surprise", ["1.jpg", "2.jpg"])
    touch_all(tmp_path / "set/train/happy/clip_17", ["00001.jpg", "00002.jpg"])
    touch_all(tmp_path / "set/train/happy", ["a.mp4"])
    touch_all(tmp_path / "set/valid/Happiness", ["b.mp4"])
    touch_all(tmp_path / "set/valid/surprise", ["c.mp4"])
    touch_all(tmp_path / "set/test", ["d.mp4"])
    ran = ferbench("index", "folders", tmp_path / "set", "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 0
    assert [(found["rule"], found["severity"]) for found in ran.json["findings"]] == [("no-label", "note")]
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.labels.names == ("Happiness", "surprise")
    assert [(sample.sample_id, sample.media, sample.label, sample.split) for sample in manifest.samples()] == [
        ("train/Happiness/a", "video", 0, "train"),
        ("train/Happiness/clip_17", "frames", 0, "train"),
        ("train/surprise/1", "image", 1, "train"),
        ("train/surprise/2", "image", 1, "train"),
        ("validation/Happiness/b", "video", 0, "validation"),
        ("validation/surprise/c", "video", 1, "validation"),
    ]


def test_without_split_folders_there_is_no_split(tmp_path):
    touch_all(tmp_path / "happy", ["a.jpg", "a.png"])
    touch_all(tmp_path / "sad/extra", ["b.jpg"])
    reading = read_uncarded(tmp_path)
    assert "split" not in reading.columns
    assert rows(reading) == {
        "happy/a.jpg": ("happy/a.jpg", "image", "happy"),
        "happy/a.png": ("happy/a.png", "image", "happy"),
        "sad/extra/b": ("sad/extra/b.jpg", "image", "sad"),
    }


def test_what_is_odd_about_folders_is_said(tmp_path):
    touch_all(tmp_path / "train/happy", ["a.jpg"])
    touch_all(tmp_path / "train/empty", ["notes.txt"])
    touch_all(tmp_path / "test/happy", ["a.jpg"])
    touch_all(tmp_path / "test/sad", ["a.jpg"])
    touch_all(tmp_path / "extra", ["a.jpg"])
    touch_all(tmp_path, ["b.jpg"])
    reading = read_uncarded(tmp_path)
    assert rules(reading.findings) == [("empty-folder", "warning", 1), ("class-of-one-part", "warning", 1)]
    assert reading.findings[1].message == "train has no 'sad'"
    assert rules(skip.as_finding() for skip in reading.skipped) == [("no-class", "error", 1), ("no-split", "error", 1)]
    assert (reading.rows_read, len(reading.columns["path"])) == (5, 3)


def test_two_spellings_of_one_class_in_one_folder_keep_their_samples_apart(tmp_path):
    touch_all(tmp_path / "happy", ["a.jpg"])
    touch_all(tmp_path / "Happiness", ["a.jpg"])
    reading = read_uncarded(tmp_path)
    assert (reading.labels.names, sorted(reading.columns["sample_id"])) == (("Happiness",), ["Happiness/a", "happy/a"])


def test_a_folder_without_media_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_uncarded(tmp_path / "absent")
    (tmp_path / "happy").mkdir()
    with pytest.raises(DataError, match="nothing of a folder per class is here"):
        read_uncarded(tmp_path)


def test_a_name_that_is_no_utf8_fails_or_is_counted_but_stops_nothing(tmp_path):
    touch_all(tmp_path / "happy", ["a.jpg"])
    os.makedirs(os.fsencode(tmp_path) + b"/s\xe4d")
    for name in (b"/happy/m\xfcde.jpg", b"/s\xe4d/b.jpg"):
        os.close(os.open(os.fsencode(tmp_path) + name, os.O_CREAT))
    result = index_dataset("folders", tmp_path, None, {})
    assert result.manifest.column("status") == [None, "failed"]
    assert "not valid UTF-8" in result.manifest.column("error")[1]
    assert [finding.rule for finding in result.findings] == ["unreadable"]


NAMES = st.sampled_from(
    ["happy", "Sad", "train", "test", "0", "clip_1", "val", "001.jpg", "002.jpg", "a.mp4", "x.txt", ".b"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=8))
def test_any_tree_is_read_or_refused_and_every_file_is_counted_once(tmp_path_factory, paths):
    root = tmp_path_factory.mktemp("any")
    for path in paths:
        place = root.joinpath(*path)
        if not place.exists() and all(not parent.is_file() for parent in place.parents):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    for name in ("folders", "caer", "caer-s"):
        try:
            result = index_dataset(name, root, None, {})
        except FerbenchError:
            continue
        assert result.rows_read >= len(result.manifest)
