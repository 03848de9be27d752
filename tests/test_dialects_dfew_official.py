"""The dfew-official dialect: DFEW's own CSVs, 1-based, and copies that are not."""

import pytest
from dialect_lists import SEVEN, exported, fuzz_texts, manifest, manifests, read_or_refused, round_trip, rows_in
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import write

from ferbench.dialects import ImportOptions
from ferbench.dialects.dfew_official import read_files
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import write_manifest

LABELS = ",".join(SEVEN)
CLIP = st.integers(1, 99999).map("{:05d}".format)


def two(**columns):
    return manifest(
        ["Clip/clip_224x224/00002", "Clip/clip_224x224/16372"], **{"fold": [1, 2], "label": [0, 6], **columns}
    )


@pytest.mark.parametrize(
    ("variant", "name", "content"),
    [
        ("", "EmoLabel_DataSplit/{}(single-labeled)/set_1.csv", b"video_name,label\n2,1\n"),
        ("padded", "EmoLabel_DataSplit/{}(single-labeled)/set_1.csv", b"video_name,label\n00002,1\n"),
        ("baseline", "label/single_{}set_1.csv", b"video_name,label\n2,1\n"),
    ],
)
def test_the_lists_have_the_releases_names_header_and_base(variant, name, content):
    files = exported(two(), "dfew-official", variant=variant)
    assert len(files) == 4
    assert files[name.format("test")] == content
    assert files[name.format("train")] == b"video_name,label\n16372,7\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ["x/2", "x/00003"]}, "'2' is not such a name"),
        ({"path": ["x/angry", "x/00003"]}, "sample 'sample-0': the dfew-official dialect names clips by a number"),
        ({"path": ["x/00003", "y/00004"]}, "looks for every clip in one folder"),
        ({"start_frame": [3, None]}, "this sample is a frame range"),
        ({"fold": None, "split": ["train", "test"]}, "has no folds, and the dfew-official dialect is files of folds"),
        ({"validation_folds": [[], [1]]}, "has a validation part, and DFEW's files have none"),
        ({"label": [None, 1]}, "needs a label"),
    ],
)
def test_what_the_grammar_cannot_hold_is_refused(change, message):
    if not message:
        assert (
            b"\n3,1\n" in exported(two(**change), "dfew-official")["EmoLabel_DataSplit/test(single-labeled)/set_1.csv"]
        )
        return
    with pytest.raises(ManifestError) as refused:
        exported(two(**change), "dfew-official")
    assert message in refused.value.message


def test_videos_are_listed_by_their_numbers():
    files = exported(two(path=["original/00003.mp4", "original/00004.mp4"], media="video"), "dfew-official")
    assert files["EmoLabel_DataSplit/test(single-labeled)/set_1.csv"] == b"video_name,label\n3,1\n"


def test_a_prefix_means_nothing_here(tmp_path):
    with pytest.raises(
        UsageError, match="--prefix means nothing to the dfew-official dialect: its names are clip numbers"
    ):
        exported(two(), "dfew-official", prefix="/x")
    with pytest.raises(UsageError, match="--prefix means nothing"):
        read_files(tmp_path, ImportOptions(labels=LABELS, prefix="/x"))


@pytest.mark.parametrize(
    "name",
    [
        "EmoLabel_DataSplit/{}(single-labeled)/set_{}.csv",
        "EmoLabel_DataSplit/{}(single_labeled)/set_{}.csv",
        "{}/set_{}.csv",
        "label/single_{}set_{}.csv",
        "DFEW/EmoLabel_DataSplit/{0}(single-labeled)/{0}_set_{1}.csv",
        "{}_set_{}.csv",
    ],
)
def test_copies_are_read_under_any_of_their_names(name, tmp_path):
    for fold, (train, test) in enumerate([("7,7\n9,2\n", "00001,1"), ("1,1\n", "7,7\r\n9,2")], start=1):
        write(tmp_path / name.format("train", fold), f"video_name,label\n{train}")
        write(tmp_path / name.format("test", fold), f"\ufeffvideo_name,label\r\n{test}\r\n\r\n")
    back = read_files(tmp_path, ImportOptions(dataset="dfew"))
    assert sorted(zip(back.column("path"), back.column("fold"), back.column("label"), strict=True)) == [
        ("00001", 1, 0), ("00007", 2, 6), ("00009", 2, 1),
    ]  # fmt: skip
    assert back.provenance["label_base"] == 1


def test_a_copy_that_starts_at_0_is_read_as_it_is_and_noted(tmp_path):
    write(tmp_path / "train_set_1.csv", "video_name,label\n00001,1\n")
    write(tmp_path / "test_set_1.csv", "video_name,label\n00002,0\n")
    back = read_files(tmp_path, ImportOptions(dataset="dfew"))
    assert dict(zip(back.column("path"), back.column("label"), strict=True)) == {"00001": 1, "00002": 0}
    assert back.provenance["notes"] == [f"{tmp_path}: labels are 0-based, the official files are 1-based"]


def test_clips_are_videos_where_the_root_holds_them(tmp_path):
    write(tmp_path / "lists/single_testset_1.csv", "video_name,label\n2,7\n")
    write(tmp_path / "original/00002.mp4")
    back = read_files(tmp_path / "lists", ImportOptions(dataset="dfew", root=tmp_path / "original"))
    assert (back.column("path"), back.column("media"), back.column("sample_id")) == (
        ["00002.mp4"],
        ["video"],
        ["00002"],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1\n", "test_set_1.csv:1: the first line is the header video_name,label; found '1,1'"),
        ("video_name,label\n1,1,1\n", "test_set_1.csv:2: expected 'video_name,label', got 3 fields"),
        ("video_name,label\nx,1\n", "test_set_1.csv:2: video_name must be a clip number, got 'x'"),
        ("video_name,label\n1,happy\n", "test_set_1.csv:2: label must be a whole number, got 'happy'"),
        ("video_name,label\n1,7\n2,8\n", "test_set_1.csv:3: label 8 is not in 1..7"),
        ("video_name,label\n1,0\n2,7\n", "test_set_1.csv:2: label 0 is not in 1..7"),
        ("video_name,label\n1,7\n00001,7\n", "test_set_1.csv:3: '00001' is listed a second time in test of fold 1"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_place(text, message, tmp_path):
    write(tmp_path / "test_set_1.csv", text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions(labels=LABELS))
    assert message in refused.value.message


@settings(max_examples=60, deadline=None)
@given(manifests(paths=CLIP, folds=True), st.sampled_from(["release", "padded", "baseline"]))
def test_a_round_trip_loses_nothing(source, variant):
    # With a 7 the numbers say that they begin at 1; without one the official base is taken, which is right as well.
    source = source.with_columns(path=[f"clips/{path}" for path in source.column("path")])
    round_trip(source, "dfew-official", labels=LABELS, variant=variant, frames=False,
               name_of=lambda path: path.removeprefix("clips/"))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("video_name,label\n00001,7", "2,1", "16372,3"))
def test_any_file_is_read_row_by_row_or_refused(content):
    read = read_or_refused(content, "test_set_1.csv", "dfew-official", labels=LABELS)
    assert read is None or len(read) <= rows_in(content, header=1)


def test_the_commands_write_and_read_the_lists(tmp_path, ferbench):
    source = manifest([f"clips/{number:05d}" for number in range(1, 41)], dataset="dfew", fold=[1, 2, 3, 4] * 10)
    write_manifest(source, tmp_path / "m.parquet")
    ran = ferbench("export", tmp_path / "m.parquet", "--dialect", "dfew-official", "-o", tmp_path / "o", "--json")
    assert (ran.code, len(ran.json["files"])) == (0, 8), ran.err
    ran = ferbench("import", tmp_path / "o", "--dialect", "dfew-official", "--labels", LABELS,
                   "-o", tmp_path / "back.parquet", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["counts"] == {name: 6 if place < 5 else 5 for place, name in enumerate(SEVEN)}
