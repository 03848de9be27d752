"""The mae-dfer dialect: `folder label` and no frame count."""

import pytest
from dialect_lists import (
    SEVEN,
    exported,
    fuzz_texts,
    imported,
    manifest,
    manifests,
    read_or_refused,
    round_trip,
    rows_in,
)
from hypothesis import given, settings
from trees import write

from ferbench.cards import read_card
from ferbench.dialects import ImportOptions
from ferbench.dialects.mae_dfer import read_files
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import write_manifest

LABELS = ",".join(SEVEN)
ROOT = "/mnt/data1/brain/AC/Dataset"


def test_dfew_has_three_lists_a_fold_and_val_is_test():
    source = manifest(["DFEW/Clip/jpg_256/00001", "DFEW/Clip/jpg_256/02522"], dataset="dfew", fold=[1, 2], label=[1, 5])
    files = exported(source, "mae-dfer", prefix=ROOT)
    assert files == {
        "dfew/org/split01/train.csv": b"/mnt/data1/brain/AC/Dataset/DFEW/Clip/jpg_256/02522 5\n",
        "dfew/org/split01/test.csv": b"/mnt/data1/brain/AC/Dataset/DFEW/Clip/jpg_256/00001 1\n",
        "dfew/org/split01/val.csv": b"/mnt/data1/brain/AC/Dataset/DFEW/Clip/jpg_256/00001 1\n",
        "dfew/org/split02/train.csv": b"/mnt/data1/brain/AC/Dataset/DFEW/Clip/jpg_256/00001 1\n",
        "dfew/org/split02/test.csv": b"/mnt/data1/brain/AC/Dataset/DFEW/Clip/jpg_256/02522 5\n",
        "dfew/org/split02/val.csv": b"/mnt/data1/brain/AC/Dataset/DFEW/Clip/jpg_256/02522 5\n",
    }


def test_the_other_sets_have_two_lists_where_the_repository_keeps_them():
    crime = manifest(["Crime/Angry/0063", "Crime/Sad/0001"], dataset="ferv39k", classes=read_card("ferv39k").labels.names,
                     split=["train", "test"], label=[3, 1])  # fmt: skip
    assert exported(crime, "mae-dfer", prefix="/F/2_ClipsforFaceCrop") == {
        "ferv39k/all_scenes/train.csv": b"/F/2_ClipsforFaceCrop/Crime/Angry/0063 3\n",
        "ferv39k/all_scenes/test.csv": b"/F/2_ClipsforFaceCrop/Crime/Sad/0001 1\n",
    }
    mafw = manifest(
        ["00025", "03747"], dataset="mafw", classes=read_card("mafw").labels.names, fold=[1, 2], label=[0, 10]
    )
    assert exported(mafw, "mae-dfer", prefix="/M") == {
        "mafw/single/split01/train.csv": b"/M/03747 10\n",
        "mafw/single/split01/test.csv": b"/M/00025 0\n",
        "mafw/single/split02/train.csv": b"/M/00025 0\n",
        "mafw/single/split02/test.csv": b"/M/03747 10\n",
    }


def test_a_validation_part_is_val_csv_where_the_code_reads_one():
    source = manifest(["x/a", "x/b", "x/c"], dataset="dfew", split=["train", "validation", "test"])
    files = exported(source, "mae-dfer", paths="relative")
    assert files["dfew/org/val.csv"] == b"x/b 1\n"
    mafw = manifest(["x/a", "x/b", "x/c"], split=["train", "validation", "test"]).replace(name="mafw")
    with pytest.raises(ManifestError, match="MAE-DFER selects on the test list of mafw; export without that part"):
        exported(mafw, "mae-dfer", paths="relative")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ["x/a b", "x/c"]}, "sample 'sample-0': the mae-dfer dialect cannot hold white space in a path"),
        ({"path": ['x/a"', "x/c"]}, "cannot hold '\"' in a path"),
        ({"path": ["00025", "x"]}, "pandas reads the path '00025' as the number 25; write --paths absolute"),
        ({"path": ["NA", "x"]}, "pandas reads the path 'NA' as a missing value"),
        ({"path": ["a.mp4", "x"], "media": "video"}, "'a.mp4' is a video; align the manifest"),
        ({"label": [None, 0]}, "needs a label"),
    ],
)
def test_what_pandas_or_the_loader_would_take_otherwise_is_refused(change, message):
    with pytest.raises(ManifestError) as refused:
        exported(manifest(["x/a", "x/b"], **{"split": ["train", "test"], **change}), "mae-dfer", paths="relative")
    assert message in refused.value.message


def test_mafw_has_png_frames_and_the_others_jpg(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "00001.png")
    source = manifest(["a", "b"], fold=[1, 2]).replace(root=tmp_path)
    assert len(exported(source.replace(name="mafw"), "mae-dfer")) == 4
    with pytest.raises(ManifestError, match=r"its loader lists \*.jpg alone"):
        exported(source.replace(name="dfew"), "mae-dfer")


def test_short_count_means_nothing_here():
    with pytest.raises(UsageError, match="--short-count means nothing to the mae-dfer dialect"):
        exported(manifest(["a"], fold=[1]), "mae-dfer", short_count=16)


def test_a_copy_of_the_test_list_is_no_validation_part(tmp_path):
    for folder, val in (("same", "/a/1 0\n"), ("other", "/a/3 0\n")):
        write(tmp_path / folder / "train.csv", "/a/2 1\n")
        write(tmp_path / folder / "test.csv", "/a/1 0\n")
        write(tmp_path / folder / "val.csv", val)
    same, other = (read_files(tmp_path / name, ImportOptions(labels=LABELS)) for name in ("same", "other"))
    assert (same.column("path"), same.column("split")) == (["2", "1"], ["train", "test"])
    assert other.column("split") == ["train", "validation", "test"]
    with pytest.raises(ManifestError, match="lists of several datasets lie together"):
        read_files(tmp_path, ImportOptions(labels=LABELS))


def test_one_set_is_picked_from_all_and_one_fold_is_a_fixed_split(tmp_path):
    write(tmp_path / "data/dfew/org/split01/train.csv", "/a/2 1\n/a/3 1\n")
    write(tmp_path / "data/dfew/org/split01/test.csv", "/a/1 0\n")
    write(tmp_path / "data/mafw/single/split01/test.csv", "/a/1 10\n")
    back = read_files(tmp_path / "data", ImportOptions(dataset="dfew"))
    assert (back.column("path"), back.column("split")) == (["2", "3", "1"], ["train", "train", "test"])
    assert len(read_files(tmp_path / "data/dfew/org/split01", ImportOptions(dataset="dfew"))) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/a/1 20 0\n", "test.csv:1: expected 'folder label', got 3 fields: '/a/1 20 0'"),
        ("/a/1 0\n\n/a/2 7\n", "test.csv:3: label '7' is not in 0..6"),
        ("/a/1 -1\n", "test.csv:1: label '-1' is not in 0..6"),
        ("/a/1 0\n/a/1 0\n", "test.csv:2: '1' is listed a second time in test"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_with_its_place(text, message, tmp_path):
    write(tmp_path / "test.csv", text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions(labels=LABELS))
    assert message in refused.value.message


@settings(max_examples=60, deadline=None)
@given(manifests(validation=True))
def test_a_round_trip_loses_nothing(source):
    round_trip(source, "mae-dfer", labels=LABELS, prefix="/mnt/data", frames=False)


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("/a/b/00001 5", "/a/b/00002 0", "x 6"))
def test_any_file_is_read_line_by_line_or_refused(content):
    read = read_or_refused(content, "test.csv", "mae-dfer", labels=LABELS)
    assert read is None or len(read) == rows_in(content)


def test_the_commands_write_and_read_the_lists(tmp_path, ferbench):
    source = manifest([f"{number:05d}" for number in range(1, 41)], dataset="dfew", fold=[1, 2, 3, 4] * 10)
    write_manifest(source, tmp_path / "m.parquet")
    ran = ferbench(
        "export", tmp_path / "m.parquet", "--dialect", "mae-dfer", "--prefix", "/d", "-o", tmp_path / "o", "--json"
    )
    assert (ran.code, len(ran.json["files"])) == (0, 12), ran.err
    files = {path.relative_to(tmp_path / "o").as_posix(): path.read_bytes() for path in (tmp_path / "o").rglob("*.csv")}
    assert imported(files, "mae-dfer", folder=tmp_path / "p", dataset="dfew", prefix="/d").column(
        "path"
    ) == source.column("path")
    ran = ferbench(
        "import", tmp_path / "o", "--dialect", "mae-dfer", "--labels", LABELS, "-o", tmp_path / "back.parquet", "--json"
    )
    assert (ran.code, ran.json["samples"], ran.json["root"]) == (0, 40, "/d")
