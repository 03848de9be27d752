"""FER2013: the csv in its two spellings, its pixels as pictures, and copies with class folders."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import fer2013, touch_all, write

from ferbench.cards import read_card
from ferbench.datasets.fer2013 import read
from ferbench.datasets.fer2013_pixels import extract_pixels, grey_values
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest

HEADER = "emotion,pixels,Usage"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("fer2013")
    fer2013.fabricate(root)
    return root


def reading(root, images=""):
    return read(root, read_card("fer2013"), {"images": images})


def small_copy(root, *rows, name="fer2013.csv", header=HEADER):
    """A csv of whole rows."""
    write(root / name, "\n".join([header, *rows]) + "\n")
    return root


def test_the_csv_with_its_pictures_has_nothing_to_complain_about(copy, tmp_path, ferbench):
    ran = ferbench("index", "fer2013", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    counts = ran.json["counts"]
    assert {split: counts[split]["samples"] for split in counts} == {"train": 28709, "validation": 3589, "test": 3589}
    assert counts["train"]["happy"] == 7215
    assert counts["test"]["disgust"] == 55
    manifest = read_manifest(tmp_path / "m.parquet")
    last = list(manifest.samples())[-1]
    assert (last.sample_id, last.path, last.split) == ("fer2013_35886", "images/fer2013_35886.png", "test")


def test_a_csv_without_pictures_says_how_to_write_them(tmp_path, ferbench):
    small_copy(tmp_path, fer2013.row(0, "Training"), fer2013.row(6, "PrivateTest"))
    ran = ferbench("index", "fer2013", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 4
    found = {finding["rule"]: finding for finding in ran.json["findings"]}
    assert found["no-pictures"]["advice"].endswith(f"index fer2013 {tmp_path} -o images=images`")
    assert found["missing-file"]["message"].startswith("2 of 2 files are not below")
    assert read_manifest(tmp_path / "m.parquet").column("error")[0] == "no-file: images/fer2013_00000.png"
    assert not (tmp_path / "images").exists()


def test_pixels_become_grey_pictures_row_by_row(tmp_path):
    small_copy(tmp_path, fer2013.row(0, "Training", first=7), fer2013.row(1, "PublicTest"), "", "")
    found = reading(tmp_path, images="deep/pictures")
    assert found.columns["path"] == ["deep/pictures/fer2013_00000.png", "deep/pictures/fer2013_00001.png"]
    picture = cv2.imread(str(tmp_path / "deep/pictures/fer2013_00000.png"), cv2.IMREAD_UNCHANGED)
    assert (picture.shape, picture.dtype) == ((48, 48), np.uint8)
    assert np.array_equal(picture.ravel(), (np.arange(48 * 48) + 7) % 256)
    assert (found.rows_read, found.findings) == (2, ())


def test_written_pictures_are_used_and_not_written_again(tmp_path):
    small_copy(tmp_path, fer2013.row(0, "Training"))
    reading(tmp_path, images="images")
    write(tmp_path / "images/fer2013_00000.png", b"mine")
    assert reading(tmp_path, images="images").columns["path"] == ["images/fer2013_00000.png"]
    assert (tmp_path / "images/fer2013_00000.png").read_bytes() == b"mine"


def test_bad_pixels_are_a_finding_and_a_missing_picture(tmp_path):
    good = fer2013.row(3, "Training")
    small_copy(tmp_path, good, "3,1 2 3,Training", good.replace(" 9 ", " 256 "), good.replace(" 9 ", " x "), "3,4")
    extraction = extract_pixels(tmp_path / "fer2013.csv", tmp_path / "out")
    assert (extraction.rows, extraction.written) == (5, 1)
    assert [(finding.sample, finding.message.partition("picture: ")[2]) for finding in extraction.findings] == [
        ("fer2013_00001", "3 numbers, a picture has 2,304"),
        ("fer2013_00002", "'256' is no whole number from 0 to 255"),
        ("fer2013_00003", "'x' is no whole number from 0 to 255"),
        ("fer2013_00004", "not three fields"),
    ]
    assert extraction.findings[0].message.startswith(f"{tmp_path}/fer2013.csv:3: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fer2013_00000.png"]
    found = reading(tmp_path, images="out")
    assert (len(found.columns["path"]), found.rows_read) == (4, 5)
    (skip,) = found.skipped
    assert skip.first == (f"{tmp_path}/fer2013.csv:6: expected three fields, emotion, pixels and Usage",)


def test_a_first_run_reports_what_could_not_be_written(tmp_path):
    small_copy(tmp_path, fer2013.row(0, "Training"), "6,1 2,Training")
    bad = [finding for finding in reading(tmp_path, images="new").findings if finding.rule == "bad-pixels"]
    assert [(finding.severity, finding.count) for finding in bad] == [("error", 1)]


def test_pictures_are_never_written_over_other_files(tmp_path):
    small_copy(tmp_path, fer2013.row(0, "Training"))
    write(tmp_path / "out/thesis.txt", "mine")
    with pytest.raises(DataError, match=r"out: is there already; name a new or an empty folder"):
        extract_pixels(tmp_path / "fer2013.csv", tmp_path / "out")
    assert (tmp_path / "out/thesis.txt").read_text() == "mine"


def test_an_interrupted_extraction_leaves_nothing(tmp_path):
    write(tmp_path / "fer2013.csv", f"{HEADER}\n{fer2013.row(0, 'Training')}\n")
    (tmp_path / "locked").mkdir()
    with pytest.raises(FerbenchError, match="cannot be read"):
        extract_pixels(tmp_path / "locked", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fer2013.csv", "locked"]


def test_the_folder_of_the_pictures_must_be_below_the_root(tmp_path):
    small_copy(tmp_path / "root", fer2013.row(0, "Training"))
    for images in ("../elsewhere", str(tmp_path / "elsewhere")):
        with pytest.raises(DataError, match=r"elsewhere is not below .*root; fer2013's manifest names pictures"):
            reading(tmp_path / "root", images=images)
    assert not (tmp_path / "elsewhere").exists()


def test_the_pictures_of_fer_plus_are_not_taken_for_rows_of_the_csv(tmp_path):
    small_copy(tmp_path, fer2013.row(0, "Training"), fer2013.row(6, "Training"))
    touch_all(tmp_path / "data/FER2013Train", ["fer0000000.png", "fer0000001.png"])
    found = reading(tmp_path)
    assert found.columns["path"] == ["images/fer2013_00000.png", "images/fer2013_00001.png"]
    assert found.findings[0].message.endswith(
        "the 2 named as fer0000000.png are FER+'s, whose numbers are not the rows of the csv"
    )


def test_pictures_in_two_folders_are_taken_from_the_first_and_that_is_said(tmp_path):
    small_copy(tmp_path, fer2013.row(0, "Training"))
    touch_all(tmp_path / "a", ["fer2013_00000.png"])
    touch_all(tmp_path / "b", ["fer2013_00000.png"])
    found = reading(tmp_path)
    assert found.columns["path"] == ["a/fer2013_00000.png"]
    assert found.findings[-1].message == "1 pictures are both in a and in b; those in a are taken"
    assert reading(tmp_path, images="b").columns["path"] == ["b/fer2013_00000.png"]


def test_icml_face_data_has_other_columns_and_the_same_rows(tmp_path):
    pixels = fer2013.row(0, "").split(",")[1]
    small_copy(tmp_path, f"4,PublicTest,{pixels}", name="icml_face_data.csv", header="emotion, Usage, pixels")
    found = reading(tmp_path, images="images")
    assert (found.columns["label"], found.columns["split"]) == ([4], ["validation"])
    assert (tmp_path / "images/fer2013_00000.png").stat().st_size > 0


def test_fer2013_csv_is_taken_where_the_competition_s_files_are_beside_it(tmp_path):
    small_copy(tmp_path, fer2013.row(0, "Training"))
    small_copy(tmp_path, name="icml_face_data.csv", header="emotion, Usage, pixels")
    write(tmp_path / "train.csv", "emotion,pixels\n")
    assert reading(tmp_path).layout.startswith("fer2013.csv, ")


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ("x,1 2,Training", "bad-row", "emotion must be a whole number, got 'x'"),
        ("0,1 2,Train", "bad-row", "Usage must be Training, PublicTest or PrivateTest, got 'Train'"),
        ("0,Training", "bad-row", "expected three fields, emotion, pixels and Usage"),
        ("9,1 2,Training", "label-range", "emotion 9 is not in 0..6"),
    ],
)
def test_a_malformed_row_is_skipped_with_its_line(tmp_path, row, reason, message):
    found = reading(small_copy(tmp_path, "0,1 2,Training", "", row, "6,1 2,Training"))
    (skip,) = found.skipped
    assert (skip.reason, skip.severity, skip.count) == (reason, "error", 1)
    assert skip.first == (f"{tmp_path}/fer2013.csv:4: {message}",)
    assert found.columns["sample_id"] == ["fer2013_00000", "fer2013_00002"]


def test_another_header_is_refused_with_what_was_expected(tmp_path):
    write(tmp_path / "fer2013.csv", "emotion,pixels\n0,1 2\n")
    with pytest.raises(
        DataError, match=r"fer2013.csv:1: expected the columns emotion, pixels and Usage, got 'emotion,p"
    ):
        reading(tmp_path)


# --- class folders -----------------------------------------------------------------------------------------------------


def test_class_folders_with_usage_in_their_names_get_the_official_split(tmp_path, ferbench):
    fer2013.fabricate_folders(tmp_path / "archive", prefixes=True)
    ran = ferbench("index", "fer2013", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    (finding,) = ran.json["findings"]
    assert (ran.code, finding["severity"], finding["rule"], finding["count"]) == (0, "note", "merged-test", 3589)
    assert ran.json["counts"]["validation"]["surprise"] == 415
    assert ran.json["counts"]["test"]["surprise"] == 416


def test_class_folders_without_it_are_not_comparable_and_the_report_says_so(tmp_path, ferbench):
    fer2013.fabricate_folders(tmp_path, prefixes=False, train=(1,) * 7)
    ran = ferbench("index", "fer2013", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    train, everything, merged = ran.json["findings"]
    assert train["message"].startswith("train: 7 samples, published are 28,709")
    assert everything["message"].startswith("everything: 7,185 samples, published are 35,887")
    assert (merged["severity"], merged["rule"]) == ("warning", "merged-test")
    assert "its test part is both of them (7,178 pictures)" in merged["message"]
    assert ran.json["counts"]["test"] == {
        "samples": 7178, "angry": 958, "disgust": 111, "fear": 1024, "happy": 1774, "sad": 1247, "surprise": 831,
        "neutral": 1233,
    }  # fmt: skip


def test_three_part_folders_and_numbers_are_read(tmp_path):
    for part in ("Training", "PublicTest", "PrivateTest"):
        touch_all(tmp_path / part / "4", [f"{part}.jpg"])
    found = reading(tmp_path)
    assert (found.columns["split"], found.columns["label"]) == (["train", "validation", "test"], [4, 4, 4])
    assert (found.facts["layout"], found.findings, found.base) == ("three-folders", (), 0)


# --- anything ----------------------------------------------------------------------------------------------------------

FIELD = st.one_of(st.sampled_from(["0", "6", "7", "-1", "1 2", "Training", "PublicTest", '"0"']), st.text(max_size=8))
LINES = st.lists(st.lists(FIELD, min_size=1, max_size=4).map(",".join), max_size=8).map("\n".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), LINES.map(lambda text: f"{HEADER}\n{text}".encode())))
def test_any_csv_is_read_or_refused_in_words(tmp_path, data):
    write(tmp_path / "fer2013.csv", data)
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(found.columns["path"]) + sum(skip.count for skip in found.skipped)


WORD = st.one_of(st.integers(-5, 300).map(str), st.text(max_size=3))


@settings(max_examples=60, deadline=None)
@given(words=st.lists(WORD, min_size=1, max_size=4), first=st.integers(0, 255), sep=st.sampled_from([" ", "  ", "\t"]))
def test_pixels_are_taken_only_when_every_word_is_a_grey_value(words, first, sep):
    pixels = sep.join([*words, *[str(first)] * (48 * 48 - len(words))]).encode()
    found = grey_values(pixels)
    valid = {str(value) for value in range(256)}
    split = [word.decode("utf-8", "replace") for word in pixels.split()]
    if len(split) == 48 * 48 and set(split) <= valid:
        assert found == bytes(int(word) for word in split)
    else:
        assert isinstance(found, str)
