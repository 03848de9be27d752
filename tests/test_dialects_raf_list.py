"""The raf-list dialect: RAF-DB's `list_patition_label.txt`."""

import pytest
from dialect_lists import exported, fuzz_texts, imported, manifest, manifests, read_or_refused, round_trip, rows_in
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import raf_db, write

from ferbench.cards import read_card
from ferbench.dialects import ImportOptions
from ferbench.dialects.raf_list import read_files
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import read_manifest

NAME = "EmoLabel/list_patition_label.txt"
SEVEN = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
LABELS = ",".join(SEVEN)


def pictures(names, **columns):
    return manifest(names, classes=SEVEN, **{"media": "image", **columns})


def two(**columns):
    names = ["basic/Image/aligned/train_00001_aligned.jpg", "basic/Image/aligned/test_0001_aligned.jpg"]
    return pictures(names, **{"split": ["train", "test"], "label": [4, 0], **columns})


def test_the_list_has_names_numbers_from_1_and_no_last_line_end():
    assert exported(two(), "raf-list") == {NAME: b"train_00001.jpg 5\ntest_0001.jpg 1"}
    originals = two(path=["original/train_00001.jpg", "original/test_0001.jpg"])
    assert exported(originals, "raf-list", variant="original") == exported(two(), "raf-list")


def test_the_train_part_is_written_first():
    source = pictures(["test_0001.jpg", "train_00001.jpg"], split=["test", "train"])
    assert exported(source, "raf-list")[NAME] == b"train_00001.jpg 2\ntest_0001.jpg 1"


def test_mfer_finds_its_test_part_under_val(tmp_path):
    files = exported(two(), "raf-list", variant="mfer")
    assert files == {NAME: b"train_00001.jpg 5\nval_0001.jpg 1"}
    back = imported(files, "raf-list", folder=tmp_path, variant="mfer", dataset="raf-db")
    assert back.column("path") == ["Image/aligned/train_00001_aligned.jpg", "Image/aligned/test_0001_aligned.jpg"]
    assert back.column("split") == ["train", "test"]
    copy = pictures(["train_1.jpg", "val_1.jpg"], split=["train", "test"])
    assert exported(copy, "raf-list")[NAME] == b"train_1.jpg 1\nval_1.jpg 2"
    both = pictures(["test_1.jpg", "val_1.jpg"], split=["test", "test"])
    with pytest.raises(ManifestError, match=r"would be written as 'val_1.jpg', and so is 'sample-0'"):
        exported(both, "raf-list", variant="mfer")


def test_names_and_ids_are_those_of_the_official_copy(tmp_path, ferbench):
    raf_db.fabricate(tmp_path / "raf")
    assert ferbench("index", "raf-db", tmp_path / "raf", "-o", tmp_path / "m.parquet").code == 0
    ran = ferbench("export", tmp_path / "m.parquet", "--dialect", "raf-list", "-o", tmp_path / "o", "--json")
    assert ran.code == 0, ran.err
    official = (tmp_path / f"raf/basic/{NAME}").read_text()
    assert (tmp_path / "o" / NAME).read_text() == official.removesuffix("\n")
    ran = ferbench(
        "import", tmp_path / "o", "--dialect", "raf-list", "--dataset", "raf-db", "-o", tmp_path / "b.parquet", "--json"
    )
    assert (ran.code, ran.json["samples"], ran.json["findings"]) == (0, 15339, []), ran.err
    index, back = read_manifest(tmp_path / "m.parquet"), read_manifest(tmp_path / "b.parquet")
    assert back.column("sample_id") == index.column("sample_id")
    assert [f"basic/{path}" for path in back.column("path")] == index.column("path")
    assert back.root == tmp_path / "o"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ["x/a.jpg", "x/test_1.jpg"]}, "by their part, and 'a.jpg' is image in train"),
        (
            {"split": ["test", "test"]},
            "sample 'sample-0': the raf-list dialect names pictures train_00001.jpg or test_0001.jpg",
        ),
        ({"path": ["train_1.png", "test_1.jpg"]}, "'train_1.png' is image in train"),
        ({"path": ["a/train_1.jpg", "b/test_1.jpg"]}, "looks for every clip in one folder"),
        ({"path": ["train_1.jpg", "train_1_aligned.jpg"], "split": "train"}, "would be written as 'train_1.jpg'"),
        ({"media": "frames", "path": ["train_1.jpg", "test_1.jpg"]}, "is frames in train"),
        ({"split": ["train", "validation"]}, "'test_0001_aligned.jpg' is image in validation"),
        ({"split": None, "fold": [1, 2]}, "has folds, and the raf-list dialect is one fixed split"),
        ({"label": [None, 1]}, "needs a label"),
    ],
)
def test_what_the_grammar_cannot_hold_is_refused(change, message):
    with pytest.raises(ManifestError) as refused:
        exported(two(**change), "raf-list")
    assert message in refused.value.message


def test_options_for_paths_mean_nothing_here():
    for options in ({"prefix": "/x"}, {"short_count": 16}):
        with pytest.raises(UsageError, match="means nothing to the raf-list dialect"):
            exported(two(), "raf-list", **options)


def test_pictures_are_found_beside_the_list(tmp_path):
    write(tmp_path / f"basic/{NAME}", b"\xef\xbb\xbftrain_00001.jpg 5\r\n\r\ntest_0001.jpg 7\r\n")
    back = read_files(tmp_path, ImportOptions(dataset="raf-db", variant="original"))
    assert (back.root, back.column("path")) == (
        tmp_path / "basic", ["Image/original/train_00001.jpg", "Image/original/test_0001.jpg"],
    )  # fmt: skip
    assert back.column("sample_id") == ["train_00001", "test_0001"]
    assert [back.labels.names[label] for label in back.column("label")] == ["sadness", "neutral"]


def test_a_list_that_starts_at_0_is_read_as_it_is_and_noted(tmp_path):
    write(tmp_path / "list_patition_label.txt", "train_1.jpg 0\ntest_1.jpg 6\n")
    back = read_files(tmp_path, ImportOptions(dataset="raf-db"))
    assert back.column("label") == [0, 6]
    assert "labels are 0-based, the official files are 1-based" in back.provenance["notes"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_1.jpg\n", "label.txt:1: expected 'train_00001.jpg 5' or 'test_0001.jpg 5', got 'train_1.jpg'"),
        ("train_1.jpg  5\n", "label.txt:1: expected 'train_00001.jpg 5'"),
        ("a.jpg 5\n", "label.txt:1: expected 'train_00001.jpg 5'"),
        ("train_1.jpg 7\ntrain_2.jpg x\n", "label.txt:2: label must be a whole number, got 'x'"),
        ("train_1.jpg 7\ntrain_2.jpg 8\n", "label.txt:2: label 8 is not in 1..7"),
        (
            "train_1.jpg 7\ntrain_1.jpg 7\n",
            "label.txt:2: 'Image/aligned/train_1_aligned.jpg' is listed a second time in train",
        ),
    ],
)
def test_a_line_that_does_not_fit_is_refused_with_its_place(text, message, tmp_path):
    write(tmp_path / NAME, text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions(labels=LABELS))
    assert message in refused.value.message


def test_one_list_must_be_meant(tmp_path):
    with pytest.raises(ManifestError, match="no list is here; it is EmoLabel/list_patition_label"):
        read_files(tmp_path, ImportOptions(labels=LABELS))
    for name in ("basic", "compound"):
        write(tmp_path / name / NAME, "train_1.jpg 7\n")
    with pytest.raises(ManifestError, match="2 lists lie here; name one"):
        read_files(tmp_path, ImportOptions(labels=LABELS))
    assert read_card("raf-db").labels.names == SEVEN


@settings(max_examples=60, deadline=None)
@given(manifests(folds=False, classes=SEVEN), st.sampled_from(["release", "original", "mfer"]))
def test_a_round_trip_loses_nothing(source, variant):
    folder, end = ("original", "") if variant == "original" else ("aligned", "_aligned")
    names = [f"Image/{folder}/{part}_{number:05d}{end}.jpg" for number, part in enumerate(source.column("split"))]
    round_trip(source.with_columns(path=names, media=["image"] * len(names)), "raf-list", labels=LABELS, variant=variant,
               frames=False)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("train_00001.jpg 5", "test_0001.jpg 7", "val_2.jpg 1"))
def test_any_file_is_read_line_by_line_or_refused(content):
    read = read_or_refused(content, NAME, "raf-list", labels=LABELS)
    assert read is None or len(read) == rows_in(content)
