"""The s2d dialect: CSV with a header, 0-based, names relative to --data_path."""

import pytest
from dialect_lists import SEVEN, exported, fuzz_texts, manifest, manifests, read_or_refused, round_trip, rows_in
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import write

from ferbench.cards import read_card
from ferbench.dialects import ImportOptions
from ferbench.dialects.s2d import read_files
from ferbench.errors import ManifestError
from ferbench.manifest import write_manifest

LABELS = ",".join(SEVEN)


def test_each_set_has_its_own_names_headers_and_class_order():
    dfew = manifest(
        ["Clip/clip_224x224_16f/00001", "Clip/clip_224x224_16f/02522"], dataset="dfew", fold=[1, 2], label=[1, 5]
    )
    folder = "DFEW/EmoLabel_DataSplit"
    assert exported(dfew, "s2d") == {
        f"{folder}/train(single-labeled)/train_set_1.csv": b"video_name,label\n02522,5\n",
        f"{folder}/test(single-labeled)/test_set_1.csv": b"video_name,label\n00001,1\n",
        f"{folder}/train(single-labeled)/train_set_2.csv": b"video_name,label\n00001,1\n",
        f"{folder}/test(single-labeled)/test_set_2.csv": b"video_name,label\n02522,5\n",
    }
    labels = read_card("ferv39k").labels
    ferv39k = manifest(["crops/Crime/Angry/0063", "crops/Interview/Happy/0118"], dataset="ferv39k", classes=labels.names,
                       split=["train", "test"], label=labels.labels_of(["angry", "happy"]))  # fmt: skip
    assert exported(ferv39k, "s2d") == {
        "FERV39K/Annotation/train.csv": b"path,id\nCrime/Angry/0063,0\n",
        "FERV39K/Annotation/test.csv": b"path,id\nInterview/Happy/0118,3\n",
    }
    labels = read_card("mafw").labels
    mafw = manifest(["frames/00025", "frames/20009"], dataset="mafw", classes=labels.names, fold=[1, 2],
                    label=labels.labels_of(["anxiety", "surprise"]))  # fmt: skip
    assert exported(mafw, "s2d")["MAFW/anno/single/no_caption/set_1/test.csv"] == b"video_name,labels\n00025,1\n"
    assert exported(mafw, "s2d")["MAFW/anno/single/no_caption/set_1/train.csv"] == b"video_name,labels\n20009,10\n"


def test_another_set_is_written_with_whole_paths():
    source = manifest(["a, b/c", "d"], split=["train", "test"])
    assert exported(source, "s2d", prefix="x/") == {
        "TOY/train.csv": b'video_name,label\n"x/a, b/c",0\n',
        "TOY/test.csv": b"video_name,label\nx/d,1\n",
    }


@pytest.mark.parametrize(
    ("dataset", "columns", "message"),
    [
        ("", {"path": ["null", "x"]}, "sample 'sample-0': pandas reads the name 'null' as a missing value"),
        ("dfew", {"path": ["a/1", "b/1"]}, "looks for every clip in one folder, and 'b/1' is not in 'a'"),
        ("dfew", {"path": ["a/1", "a/2"], "fold": None, "split": ["train", "test"]}, "has a fixed split, and S2D's files"),
        ("ferv39k", {"path": ["a/1", "a/2"]}, "names clips by 3 folders, and the path is 'a/1'"),
        ("", {"media": "video"}, "is a video"),
        ("", {"split": ["train", "validation"], "fold": None}, "has a validation part, and S2D has no list for it"),
    ],
)  # fmt: skip
def test_what_the_grammar_cannot_hold_is_refused(dataset, columns, message):
    with pytest.raises(ManifestError) as refused:
        exported(
            manifest(columns.pop("path", ["x/1", "x/2"]), **{"fold": [1, 2], **columns}).replace(name=dataset or "t"),
            "s2d",
        )
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("00001,1\n", "test.csv:1: the first line is the header, video_name,label or path,id or video_name,labels"),
        ("path,id\n00001,1,2\n", "test.csv:2: expected 'name,label', got 3 fields: '00001,1,2'"),
        ("path,id\n00001,7\n", "test.csv:2: label '7' is not in 0..6; the official DFEW files are 1-based"),
        ("path,id\n00001,x\n", "test.csv:2: label 'x' is not in 0..6"),
        ('path,id\n"00001,1\n', "test.csv"),
        ("path,id\na,1\nb,2\na,1\n", "test.csv:4: 'a' is listed a second time in test"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_place(text, message, tmp_path):
    write(tmp_path / "test.csv", text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions(labels=LABELS))
    assert message in refused.value.message


def test_one_set_is_picked_from_all_and_leftovers_are_not_mixed_in(tmp_path):
    folder = tmp_path / "data/MAFW/anno/single/no_caption"
    for fold, (train, test) in enumerate([("2,1", "1,0"), ("1,0", "2,1")], start=1):
        write(folder / f"set_{fold}/train.csv", f"video_name,labels\r\n{train}\r\n")
        write(folder / f"set_{fold}/test.csv", f"video_name,labels\n{test}")
    write(folder / "train.csv", "video_name,labels\n9,9\n")
    write(tmp_path / "data/FERV39K/Annotation/test.csv", "path,id\n1/2/3,0\n")
    back = read_files(tmp_path / "data", ImportOptions(dataset="mafw"))
    assert (back.column("path"), back.column("fold")) == (["2", "1"], [2, 1])
    assert [back.labels.names[label] for label in back.column("label")] == ["anxiety", "anger"]
    assert read_files(tmp_path / "data", ImportOptions(dataset="ferv39k")).column("path") == ["1/2/3"]
    with pytest.raises(ManifestError, match="lists of several datasets lie together"):
        read_files(tmp_path / "data", ImportOptions(labels=LABELS))


@settings(max_examples=60, deadline=None)
@given(manifests())
def test_a_round_trip_loses_nothing(source):
    round_trip(source, "s2d", labels=LABELS, frames=False, prefix="clips")


@settings(max_examples=30, deadline=None)
@given(manifests(paths=st.text("0123456789é-, ", min_size=1, max_size=6).map("x{}".format), folds=True))
def test_a_round_trip_of_dfew_keeps_the_names(source):
    source = source.with_columns(path=[f"clips/{path}" for path in source.column("path")]).replace(name="dfew")
    round_trip(source, "s2d", labels=LABELS, frames=False, name_of=lambda path: path.removeprefix("clips/"))


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("video_name,label\n00001,5", "00002,0", "path,id\n1/2/3,6"))
def test_any_file_is_read_row_by_row_or_refused(content):
    read = read_or_refused(content, "test.csv", "s2d", labels=LABELS)
    # A quoted field may hold line ends, so rows are never more than lines.
    assert read is None or len(read) <= rows_in(content, header=1)


def test_the_commands_write_and_read_the_lists(tmp_path, ferbench):
    source = manifest([f"clips/{number:05d}" for number in range(1, 41)], dataset="dfew", fold=[1, 2, 3, 4] * 10)
    write_manifest(source, tmp_path / "m.parquet")
    ran = ferbench("export", tmp_path / "m.parquet", "--dialect", "s2d", "-o", tmp_path / "o", "--json")
    assert (ran.code, len(ran.json["files"])) == (0, 8), ran.err
    (tmp_path / "clips").mkdir()
    ran = ferbench("import", tmp_path / "o", "--dialect", "s2d", "--labels", LABELS, "--root", tmp_path / "clips",
                   "-o", tmp_path / "back.parquet", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert (ran.json["samples"], ran.json["root"]) == (40, str(tmp_path / "clips"))
