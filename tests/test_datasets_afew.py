"""AFEW: class folders of videos and of faces, the organisers' counts and other people's lists."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import afew, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest
from ferbench.protocols import apply_protocol


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("afew")
    afew.fabricate(root)
    return root


def reading(root, **options):
    card = read_card("afew")
    return find_reader(card)(root, card, resolve_options(card, options))


def test_the_organisers_copy_has_nothing_to_complain_about(copy, tmp_path, ferbench):
    ran = ferbench("index", "afew", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"], ran.json["rows_read"]) == (0, [], 773 + 383 + 653)
    counts = ran.json["counts"]
    assert list(counts["train"].values()) == [773, 133, 74, 81, 150, 144, 117, 74]
    assert list(counts["validation"].values()) == [383, 64, 40, 46, 63, 63, 61, 46]
    manifest = read_manifest(tmp_path / "m.parquet")
    first = next(sample for sample in manifest.samples() if sample.split == "train")
    assert (first.sample_id, first.path) == ("train/angry/000000100", "train_afew/Angry/000000100.avi")
    assert sum(label is None for label in manifest.column("label")) == 653


def test_the_validation_part_is_what_papers_score(copy, tmp_path, ferbench):
    ferbench("index", "afew", copy, "-o", tmp_path / "m.parquet")
    result = apply_protocol(read_manifest(tmp_path / "m.parquet"), "official")
    table = result.manifest.table
    scored = [
        split
        for split, label in zip(table["split"].to_pylist(), table["label"].to_pylist(), strict=True)
        if label is not None
    ]
    assert (scored.count("train"), scored.count("test")) == (773, 383)


def test_former_dfers_faces_have_its_own_counts(tmp_path, ferbench):
    afew.fabricate_faces(tmp_path)
    ran = ferbench("index", "afew", tmp_path, "-o", tmp_path / "m.parquet", "-o", "list=former-dfer", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert {part: count["samples"] for part, count in ran.json["counts"].items()} == {"train": 773, "validation": 381}
    manifest = read_manifest(tmp_path / "m.parquet")
    assert set(manifest.column("num_frames")) == {20}
    assert manifest.column("path")[0] == "AFEW_Face/train/Angry/0_5_000000100"
    ran = ferbench("index", "afew", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 4
    assert [finding["message"].partition("; ")[2] for finding in ran.json["findings"]] == [
        "angry 135 of 133, neutral 142 of 144",
        "angry 63 of 64, happy 62 of 63, neutral 64 of 63, surprise 45 of 46",
    ]


def test_the_card_holds_emotion_fans_totals():
    totals = {count.part: count.total for count in read_card("afew").counts if count.when == {"list": "emotion-fan"}}
    assert totals == {"train": 771, "validation": 381}


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train_afew/Angry/000633000.avi", "train"),
        ("AFEW/Val_AFEW/Happiness/000633000.mp4", "validation"),
        ("AFEW_train/angry/x.avi", "train"),
        ("AFEW/validation/Sad/1.avi", "validation"),
        ("Train/Fear/a/../1.avi", "train"),
    ],
)
def test_splits_are_found_under_every_name(tmp_path, path, split):
    write(tmp_path / path.replace("a/../", ""))
    found = reading(tmp_path)
    assert (found.columns["split"], found.skipped) == ([split], ())


def test_aligned_faces_take_the_class_of_the_video_of_the_same_name(tmp_path):
    for clip, name in (("000633000", "Angry"), ("000634000", "Sad")):
        write(tmp_path / f"train_afew/{name}/{clip}.avi")
    for clip in ("000633000", "000634000", "000699000"):
        write(tmp_path / f"Train_Aligned_Faces/{clip}/1.jpg")
    found = reading(tmp_path, media="faces")
    assert found.columns["sample_id"] == ["train/angry/000633000", "train/sad/000634000"]
    assert found.columns["path"][0] == "Train_Aligned_Faces/000633000"
    assert (found.rows_read, found.columns["num_frames"]) == (3, [1, 1])
    (skip,) = found.skipped
    assert (skip.reason, skip.first) == (
        "no-label", ("Train_Aligned_Faces/000699000: in no class folder, and no video of that name is",)
    )  # fmt: skip


def test_a_video_without_faces_is_a_failed_row(tmp_path, ferbench):
    for clip, name in (("000633000", "Angry"), ("000634000", "Sad")):
        write(tmp_path / f"train_afew/{name}/{clip}.avi")
    write(tmp_path / "Train_Aligned_Faces/000633000/1.jpg")
    ran = ferbench("index", "afew", tmp_path, "-o", tmp_path / "m.parquet", "-o", "media=faces", "--json")
    (missing,) = [finding for finding in ran.json["findings"] if finding["rule"] == "missing-file"]
    assert missing["message"].endswith(": Train_Aligned_Faces/000634000")
    failed = list(read_manifest(tmp_path / "m.parquet").samples())[1]
    assert (failed.sample_id, failed.status, failed.error, failed.num_frames) == (
        "train/sad/000634000", "failed", "no-file: Train_Aligned_Faces/000634000", None
    )  # fmt: skip


def test_faces_unpacked_in_the_split_folder_are_found(tmp_path):
    write(tmp_path / "val_afew/Sad/000634000.avi")
    write(tmp_path / "val_afew/AlignedFaces_LBPTOP_Points_Val/Faces/000634000/000634000-001.jpg")
    found = reading(tmp_path, media="faces")
    assert (found.columns["split"], found.columns["sample_id"]) == (["validation"], ["validation/sad/000634000"])
    assert reading(tmp_path).columns["media"] == ["video"]


def test_what_does_not_fit_is_skipped_and_said(tmp_path):
    for path in ("train_afew/Angry/1.avi", "train_afew/2.avi", "train_afew/Contempt/3.avi", "4.avi",
                 "copy/train_afew/Angry/1.avi"):  # fmt: skip
        write(tmp_path / path)
    found = reading(tmp_path)
    assert (found.rows_read, found.columns["path"]) == (5, ["copy/train_afew/Angry/1.avi"])
    assert {skip.reason: skip.count for skip in found.skipped} == {"bad-name": 1, "no-label": 2, "duplicate": 1}


@pytest.mark.parametrize("media", ["auto", "video", "faces"])
def test_a_folder_without_the_dataset_says_what_was_looked_for(tmp_path, media):
    write(tmp_path / "holiday.avi")
    with pytest.raises(DataError, match=f"looked for train_afew/Angry/ and val_afew/Angry/ with {media} clips"):
        reading(tmp_path, media=media)


PARTS = st.sampled_from(["train_afew", "Val", "test", "Angry", "Contempt", "Faces", "000633000", "0_5_01", "x"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, min_size=1, max_size=4), name=st.sampled_from(["1.avi", "000633000.mp4", "1.jpg"]),
       media=st.sampled_from(["auto", "faces"]))  # fmt: skip
def test_no_path_makes_the_reader_fall_over(tmp_path, parts, name, media):
    write(tmp_path.joinpath(*parts) / name)
    try:
        found = reading(tmp_path, media=media)
    except FerbenchError:
        return
    assert found.rows_read == len(set(found.columns["sample_id"])) + sum(skip.count for skip in found.skipped)
