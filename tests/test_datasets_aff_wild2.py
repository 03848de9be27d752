"""Aff-Wild2: every edition's folders, the join of lines and crops, and what goes wrong with both."""

import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import aff_wild2, aff_wild2_8, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.datasets.aff_wild2 import source_video
from ferbench.datasets.frame_labels import NOT_A_NUMBER, five_digits, list_pictures, read_frame_labels
from ferbench.errors import DataError, FerbenchError
from ferbench.jobs.index import index_dataset
from ferbench.manifest import read_manifest

SEVEN = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise"
CAR = "annotations/EXPR_Set/Train_Set/1-30-1280x720.txt"


def expected(videos, *, frames=100, classes=7, first=0):
    """(samples, discarded, without a crop) of fabricated videos, counted one frame at a time."""
    samples = discarded = uncropped = 0
    for video in range(first, first + videos):
        crops = set(aff_wild2.crops_of(video, frames))
        for number, label in enumerate(aff_wild2.labels_of(video, frames, classes).tolist(), start=1):
            discarded += label == -1
            uncropped += label != -1 and number not in crops
            samples += label != -1 and number in crops
    return samples, discarded, uncropped


@pytest.fixture
def copy(tmp_path):
    aff_wild2.fabricate(tmp_path)
    return tmp_path


def index(root, card="aff-wild2", **options):
    return index_dataset(card, root, None, options)


def found(result):
    return {finding.rule: finding for finding in result.findings}


def small(root, text, numbers=(1, 2, 3), *, name="v"):
    """A copy of one train video."""
    write(root / f"annotations/EXPR_Set/Train_Set/{name}.txt", text)
    aff_wild2.touch_numbers(root / "cropped_aligned" / name, numbers)
    return root


# --- the official copy ------------------------------------------------------------------------------------------------


def test_a_sample_is_a_labelled_frame_with_a_crop(copy, ferbench):
    ran = ferbench("index", "aff-wild2", copy, "-o", copy / "m.parquet", "--json")
    samples, discarded, uncropped = expected(8)
    assert (samples, discarded, uncropped) == (758, 16, 26)
    assert ran.code == 0
    assert (ran.json["rows_read"], ran.json["samples"]) == (800, 758)
    assert {(finding["severity"], finding["rule"]): finding["count"] for finding in ran.json["findings"]} == {
        ("warning", "known-bad"): 1,
        ("note", "discarded"): 16,
        ("note", "no-crop"): 26,
    }
    assert ran.json["counts"]["train"]["samples"] == expected(5)[0] == 472
    assert ran.json["counts"]["validation"]["samples"] == expected(3, first=5)[0] == 286
    manifest = read_manifest(copy / "m.parquet")
    assert manifest.provenance["facts"]["train videos"] == "5"
    rows = manifest.table.to_pylist()
    assert {key: rows[0][key] for key in ("sample_id", "path", "media", "label", "group", "split", "frame")} == {
        "sample_id": "1-30-1280x720/00001",
        "path": "cropped_aligned/1-30-1280x720/00001.jpg",
        "media": "image",
        "label": 0,
        "group": "1-30-1280x720",
        "split": "train",
        "frame": 1,
    }
    ids = [row["sample_id"] for row in rows]
    assert ids == sorted(ids)
    # Video 0: line 7 is -1 and crop 11 is not there, so neither is a sample.
    assert [row["frame"] for row in rows[:12]] == [1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 13, 14]


def test_image_00001_is_the_first_integer(tmp_path):
    result = index(small(tmp_path, f"{SEVEN}\n0\n1\n-1\n6\n5\n", (1, 2, 3, 4)))
    assert result.manifest.table.select(["frame", "label"]).to_pydict() == {"frame": [1, 2, 4], "label": [0, 1, 6]}
    # The last line has no frame: the official files have one more.
    assert {skip: found(result)[skip].count for skip in found(result)} == {"discarded": 1, "no-crop": 1}


@pytest.mark.parametrize("edition", list(aff_wild2.EDITIONS))
def test_every_edition_names_its_folders_its_own_way(tmp_path, edition):
    aff_wild2.fabricate(tmp_path, edition=edition)
    folder, _, classes = aff_wild2.EDITIONS[edition]
    result = index(tmp_path, "aff-wild2" if classes == 7 else "aff-wild2-8")
    assert len(result.manifest) == 758
    assert len(result.manifest.labels) == classes
    assert result.layout == f"annotations in {folder}, aligned crops in cropped_aligned"
    assert sum(finding.severity == "error" for finding in result.findings) == 0
    other = aff_wild2.labels_of(0, 100, 8)[:6].tolist()
    if classes == 8:
        assert result.manifest.column("label")[:6] == other


def test_the_eight_class_tree_has_other(tmp_path):
    aff_wild2_8.fabricate(tmp_path)
    assert index(tmp_path, "aff-wild2-8").counts()["train"]["other"] > 0


def test_two_people_of_one_video_are_one_group(copy):
    groups = dict(zip(*index(copy).manifest.table.select(["sample_id", "group"]).to_pydict().values(), strict=True))
    assert groups["135-24-1920x1080_left/00001"] == groups["135-24-1920x1080_right/00001"] == "135-24-1920x1080"
    assert groups["10-60-1280x720/00001"] == groups["10-60-1280x720_right/00001"] == "10-60-1280x720"
    assert [source_video(name) for name in ("video2_left", "a_right_b", "x")] == ["video2", "a_right_b", "x"]


def test_all_frames_keeps_those_without_a_crop_as_failed_rows(copy):
    result = index(copy, frames="all")
    table = result.manifest.table.select(["sample_id", "path", "status", "error"])
    failed = [row for row in table.to_pylist() if row["status"] == "failed"]
    assert (len(result.manifest), len(failed)) == (758 + 26, 26)
    assert failed[0] == {
        "sample_id": "1-30-1280x720/00011",
        "path": "cropped_aligned/1-30-1280x720/00011.jpg",
        "status": "failed",
        "error": "no-crop: cropped_aligned/1-30-1280x720/00011.jpg",
    }
    assert (found(result)["no-crop"].severity, found(result)["no-crop"].count) == ("note", 26)


def test_test_videos_are_unlabelled_rows_when_asked_for(copy):
    result = index(copy, test="yes")
    rows = [row for row in result.manifest.table.to_pylist() if row["split"] == "test"]
    assert len(rows) == sum(len(aff_wild2.crops_of(video, 100)) for video in (8, 9))
    assert {row["label"] for row in rows} == {None}
    assert {row["group"] for row in rows} == {"13-30-1920x1080", "video2"}
    assert result.rows_read == 800 + len(rows)


def test_a_test_video_without_crops_and_one_that_is_annotated_are_said(copy):
    write(copy / "expression_test_set.txt", "video2_left.mp4\n\n../secret\n1-30-1280x720\n")
    result = index(copy, test="yes")
    assert "expression_test_set.txt:3: '../secret' has no crops" in found(result)["test-video"].message
    assert (
        "expression_test_set.txt:4: '1-30-1280x720' is a test video and is annotated" in found(result)["leak"].message
    )


# --- folders as people have them --------------------------------------------------------------------------------------


def test_abaw2021_nests_annotations_and_crops(tmp_path):
    aff_wild2.fabricate(tmp_path / "data", crops="Cropped_aligned_image/cropped_aligned")
    (tmp_path / "data/annotations").rename(tmp_path / "data/x")
    (tmp_path / "data/Annotation").mkdir()
    (tmp_path / "data/x").rename(tmp_path / "data/Annotation/annotations")
    result = index(tmp_path)
    assert len(result.manifest) == 758
    assert result.manifest.column("path")[0] == (
        "data/Cropped_aligned_image/cropped_aligned/1-30-1280x720/00001.jpg"
    )  # fmt: skip


def test_crops_in_batches_are_found(copy):
    (copy / "cropped_aligned").rename(copy / "batch1")
    (copy / "cropped_aligned").mkdir()
    (copy / "batch1").rename(copy / "cropped_aligned/batch1")
    assert index(copy).manifest.column("path")[0] == "cropped_aligned/batch1/1-30-1280x720/00001.jpg"


def test_unaligned_crops_are_used_where_there_are_no_others(copy):
    (copy / "cropped_aligned").rename(copy / "cropped")
    assert index(copy).manifest.column("path")[0] == "cropped/1-30-1280x720/00001.jpg"
    with pytest.raises(DataError, match="no folder cropped_aligned or cropped is below"):
        index(copy, images="aligned")


def test_two_editions_are_told_apart_by_their_classes(copy):
    aff_wild2.fabricate(copy, edition="2022")
    assert len(index(copy).manifest.labels) == 7
    assert "EXPR_Classification_Challenge" in index(copy, "aff-wild2-8").layout
    aff_wild2.fabricate(copy, edition="2024")
    with pytest.raises(DataError, match=r"choose one with annotations=FOLDER"):
        index(copy, "aff-wild2-8")
    chosen = index(copy, "aff-wild2-8", annotations="6th ABAW Annotations/EXPR_Recognition_Challenge")
    assert "EXPR_Recognition_Challenge" in chosen.layout


def test_crops_may_have_other_names(tmp_path):
    root = small(tmp_path, f"{SEVEN}\n0\n1\n2\n", ())
    for name in ("000001.png", "2.jpg", "00003.jpg", "3.jpg", "Thumbs.db", "cover.jpg"):
        write(root / "cropped_aligned/v" / name)
    table = index(root).manifest.table
    assert table.column("path").to_pylist() == [
        f"cropped_aligned/v/{name}" for name in ("000001.png", "2.jpg", "00003.jpg")
    ]
    assert table.column("sample_id").to_pylist() == ["v/00001", "v/00002", "v/00003"]


def test_a_folder_without_annotations_says_what_was_looked_for(tmp_path):
    write(tmp_path / "readme.txt")
    with pytest.raises(DataError, match=r"looked for annotations/EXPR_Set/Train_Set .* found readme.txt"):
        index(tmp_path)


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "severity", "rule", "message"),
    [
        (f"{SEVEN}\n0\nx\n2\n", "error", "bad-row", "v.txt:3: expected a whole number, got 'x'"),
        (f"{SEVEN}\n0\n\n2\n", "error", "bad-row", "v.txt:3: expected a whole number, got ''"),
        (f"{SEVEN}\n0\n7\n2\n", "error", "label-range", "v.txt:3: label 7 is not in -1..6"),
        (f"{SEVEN}\n0\n-5\n2\n", "error", "label-range", "v.txt:3: label -5 is not in -1..6"),
        (f"{SEVEN}\n0\n99999\n2\n", "error", "label-range", "v.txt:3: label 32767 is not in -1..6"),
        (f"{SEVEN},Other\n0\n7\n2\n", "error", "unknown-class", "v.txt:3: label 7 is a class that the card lacks"),
        (f"{SEVEN},Other\n0\n1\n2\n", "warning", "class-names", "v.txt:1: the line of class names names 'Other'"),
        ("Neutral,Anger\n0\n1\n1\n", "warning", "class-names", "v.txt:1: the line of class names lacks 'disgust'"),
        ("0\n1\n2\n", "note", "no-header", "v.txt: no line of class names"),
        ("valence,arousal\n0\n1\n2\n", "warning", "header", "v.txt:1: expected class names, got 'valence,arousal'"),
        (SEVEN + "\n0\n", "warning", "frame-count", "v: 2 crops lie beyond its 1 labelled frames"),
        (b"N\0e\0\n", "error", "unreadable", "v.txt: not a text file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, severity, rule, message):
    small(tmp_path, f"{SEVEN}\n0\n1\n2\n", name="good")
    result = index(small(tmp_path, text))
    assert message in found(result)[rule].message
    assert found(result)[rule].severity == severity


def test_a_header_in_another_order_is_used_and_reported(tmp_path):
    small(tmp_path, f"{SEVEN}\n0\n1\n2\n", name="a")
    result = index(small(tmp_path, "Happy,Neutral,Anger,Disgust,Fear,Sadness,Surprise\n0\n1\n2\n", name="b"))
    names = [result.manifest.labels.names[label] for label in result.manifest.column("label")]
    assert names == ["neutral", "anger", "disgust", "happiness", "neutral", "anger"]
    assert "b.txt:1: the classes are in another order: Happy, Neutral" in found(result)["class-order"].message


def test_one_crop_more_than_lines_is_nothing_and_two_are_a_finding(tmp_path):
    assert "frame-count" not in found(index(small(tmp_path, f"{SEVEN}\n0\n1\n", (1, 2, 3))))
    assert "frame-count" in found(index(small(tmp_path, f"{SEVEN}\n0\n1\n", (1, 2, 3, 4))))


def test_a_crop_numbered_0_is_reported(tmp_path):
    result = index(small(tmp_path, f"{SEVEN}\n0\n1\n", (0, 1)))
    assert found(result)["frame-base"].message == "v: there is a crop numbered 0"
    assert result.manifest.column("sample_id") == ["v/00001"]


def test_a_video_without_its_crops_is_an_error_and_not_a_note(copy):
    shutil.rmtree(copy / "cropped_aligned/video59")
    result = index(copy)
    assert found(result)["no-crop-folder"].severity == "error"
    assert found(result)["no-crop-folder"].count == 98
    assert "video59: 98 labelled frames have no crop" in found(result)["no-crop-folder"].message


def test_a_video_in_train_and_validation_is_read_once(copy):
    shutil.copy(copy / CAR, copy / "annotations/EXPR_Set/Validation_Set")
    result = index(copy)
    assert (found(result)["duplicate"].severity, found(result)["duplicate"].count) == ("error", 100)
    assert len(result.manifest) == 758


def test_no_crops_at_all_is_an_error_unless_all_frames_are_wanted(copy):
    shutil.rmtree(copy / "cropped_aligned")
    with pytest.raises(DataError, match="index the frames without them with frames=all"):
        index(copy)
    result = index(copy, frames="all")
    assert set(result.manifest.column("status")) == {"failed"}
    assert found(result)["no-crop-folder"].severity == "error"


# --- the parser -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_change_nothing(tmp_path, end, bom):
    write(tmp_path / "v.txt", bom + end.join([SEVEN, "0", "-1", " 3 ", "4.0"]) + end + end)
    labels = read_frame_labels(tmp_path / "v.txt")
    assert labels.header == tuple(SEVEN.split(","))
    assert labels.values.tolist() == [0, -1, 3, 4]
    assert (labels.first_line, labels.odd) == (2, {})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.sampled_from(["0", "6", "-1", "-7", "12", " 3", "x", "", "1.0", "1.5", "٣", "nan", "--1"])))
def test_the_fast_parse_is_the_slow_parse(tmp_path, lines):
    from ferbench.textfiles import whole_number

    while lines and not lines[-1].strip():
        lines.pop()
    write(tmp_path / "v.txt", "\n".join(["Neutral,Anger", *lines]))
    labels = read_frame_labels(tmp_path / "v.txt")
    numbers = [whole_number(line) for line in lines]
    assert labels.values.tolist() == [NOT_A_NUMBER if number is None else number for number in numbers]
    assert labels.odd == {row: line.strip() for row, line in enumerate(lines) if numbers[row] is None}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.one_of(
            st.integers(0, 120_000).map(lambda number: f"{number:05d}.jpg"),
            st.text("0123456789.jpgJPG", min_size=1, max_size=12).filter(lambda name: name.strip(".")),
        ),
        unique_by=str.lower,
        max_size=20,
    )
)
def test_pictures_are_listed_as_one_by_one(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("crops")
    for name in names:
        write(folder / name)
    numbers = {}
    for name in names:
        stem, _, suffix = name.rpartition(".")
        if stem.isascii() and stem.isdigit() and len(stem) < 10 and suffix.lower() == "jpg":
            numbers.setdefault(int(stem), []).append(name)
    pictures = list_pictures(folder)
    assert pictures.numbers.tolist() == sorted(numbers)
    paths = pictures.paths_of(pictures.numbers, five_digits(pictures.numbers), "f")
    for number, path in zip(pictures.numbers, paths.to_pylist(), strict=True):
        assert path.removeprefix("f/") in numbers[number]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(str.encode),
        st.lists(st.sampled_from([b"0", b"-1", b"9", b"x", b"\xff", b"", b"\r", b"Neutral,Anger"])).map(b"\n".join),
    ),
    frames=st.sampled_from(["cropped", "all"]),
    test=st.sampled_from(["no", "yes"]),
    other=st.binary(max_size=60),
)
def test_any_bytes_are_read_or_refused_and_every_row_is_accounted_for(tmp_path, data, frames, test, other):
    small(tmp_path, data)
    write(tmp_path / "expression_test_set.txt", other)
    card = read_card("aff-wild2")
    try:
        reading = find_reader(card)(tmp_path, card, resolve_options(card, {"frames": frames, "test": test}))
        rows = len(reading.columns["sample_id"])
        assert reading.rows_read == rows + sum(skip.count for skip in reading.skipped)
        if rows:
            assert len(index(tmp_path, frames=frames, test=test).manifest) == rows
    except FerbenchError:
        pass


def test_a_hundred_thousand_frames_of_a_video_keep_their_numbers(tmp_path):
    values = np.arange(100_003) % 7
    root = small(tmp_path, "\n".join([SEVEN, *values.astype(str)]), (1, 99_999, 100_000, 100_003))
    manifest = index(root).manifest
    assert manifest.column("sample_id") == ["v/00001", "v/99999", "v/100000", "v/100003"]
    assert manifest.column("path")[-1] == "cropped_aligned/v/100003.jpg"
    assert manifest.column("label") == [values[number - 1] for number in (1, 99_999, 100_000, 100_003)]
