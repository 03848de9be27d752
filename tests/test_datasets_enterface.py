"""eNTERFACE'05: folders that say everything, a subject without sentences, and folds of subjects."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import enterface, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest
from ferbench.protocol import folds_of
from ferbench.protocols import apply_protocol


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("enterface")
    enterface.fabricate(root)
    return root


def reading(root, **options):
    card = read_card("enterface")
    return find_reader(card)(root, card, resolve_options(card, options))


def test_the_official_copy_has_only_subject_6_to_note(copy, tmp_path, ferbench):
    ran = ferbench("index", "enterface", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["rows_read"], ran.json["samples"]) == (0, 1293, 1287)
    (finding,) = ran.json["findings"]
    assert (finding["severity"], finding["rule"], finding["count"]) == ("note", "unsegmented", 6)
    assert list(ran.json["counts"]["all"].values())[1:] == [215, 215, 215, 212, 215, 215]
    result = apply_protocol(read_manifest(tmp_path / "m.parquet"), "official")
    assert result.findings == ()
    folds = list(folds_of(result.manifest))
    assert [len(fold.test) for fold in folds] == [270, 270, 267, 270, 210]
    assert set(folds[0].test.column("subject")) == {"1", "2", "3", "4", "5", "7", "8", "9", "10"}


def test_the_unsegmented_videos_can_be_kept(copy, tmp_path, ferbench):
    ran = ferbench("index", "enterface", copy, "-o", tmp_path / "m.parquet", "-o", "unsegmented=keep", "--json")
    assert (ran.code, ran.json["findings"], ran.json["samples"]) == (0, [], 1293)
    manifest = read_manifest(tmp_path / "m.parquet")
    kept = [sample for sample in manifest.column("sample_id") if sample.endswith("all")]
    assert (len(kept), kept[0]) == (6, "subject_6/anger/sentence_all")
    assert sorted(map(len, (fold.test for fold in folds_of(apply_protocol(manifest, "official").manifest)))) == [
        210, 267, 270, 270, 270
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "sample", "subject"),
    [
        ("subject 11/anger/sentence 1/s12_an_1.avi", "subject_11/anger/sentence_1", "11"),
        ("eNTERFACE/subject_11/anger/sentence_1/s12_an_1.mp4", "subject_11/anger/sentence_1", "11"),
        ("Subject 03/Happiness/Sentence 2/s_3_ha_2.AVI", "subject_3/happiness/sentence_2", "3"),
        ("subject 16/surprise/sentence 3/s16_su_3avi.avi", "subject_16/surprise/sentence_3", "16"),
    ],
)
def test_the_folders_say_everything(tmp_path, path, sample, subject):
    write(tmp_path / path)
    found = reading(tmp_path)
    assert (found.columns["sample_id"], found.columns["subject"], found.columns["path"]) == (
        [sample],
        [subject],
        [path],
    )
    assert (found.findings, found.skipped) == ((), ())


@pytest.mark.parametrize("path", ["subject 6/anger/s6_an.avi", "subject 6/anger.avi", "subject 6/s6_an.avi"])
def test_a_video_of_all_sentences_is_known_wherever_it_lies(tmp_path, path):
    write(tmp_path / path)
    write(tmp_path / "subject 1/anger/sentence 1/s1_an_1.avi")
    assert reading(tmp_path, unsegmented="keep").columns["path"][-1] == path
    (skip,) = reading(tmp_path).skipped
    assert (skip.reason, skip.severity, skip.first) == ("unsegmented", "note", (f"{path}: a video of all sentences",))


def test_what_does_not_fit_is_said(tmp_path):
    for path in ("subject 1/anger/sentence 1/s1_an_1.avi", "subject 1/anger/sentence 1/s1_an_1.mp4", "anger/s1_an_1.avi",
                 "subject 2/calm/sentence 1/x.avi", "subject 3/fear/sentence 1/s3_su_1.avi"):  # fmt: skip
        write(tmp_path / path)
    found = reading(tmp_path)
    assert (found.rows_read, len(found.columns["sample_id"])) == (5, 2)
    assert {skip.reason: (skip.severity, skip.count) for skip in found.skipped} == {
        "bad-name": ("error", 2), "duplicate": ("error", 1)
    }  # fmt: skip
    (finding,) = found.findings
    assert (finding.severity, finding.rule) == ("warning", "label-conflict")
    assert finding.message.endswith("subject 3/fear/sentence 1/s3_su_1.avi")


def test_frame_folders_are_read_where_there_are_no_videos(tmp_path):
    write(tmp_path / "face_aligned/subject_1/anger/sentence_1/s1_an_1/001.jpg")
    found = reading(tmp_path)
    assert (found.columns["path"], found.columns["media"], found.columns["num_frames"]) == (
        ["face_aligned/subject_1/anger/sentence_1/s1_an_1"], ["frames"], [1]
    )  # fmt: skip


def test_a_folder_without_the_dataset_says_what_was_looked_for(tmp_path):
    write(tmp_path / "holiday.avi")
    with pytest.raises(DataError, match=r"looked for subject 1/anger/sentence 1/s1_an_1\.avi; found holiday\.avi"):
        reading(tmp_path)


PARTS = st.sampled_from(
    ["subject 1", "subject_x", "anger", "Sadness", "sentence 2", "sentence", "s1_an_1", "a", "00012"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(PARTS, min_size=1, max_size=4),
    name=st.sampled_from(["s1_an_1.avi", "x.mp4", "s_2_qq_.flv", "1.jpg"]),
)
def test_no_path_makes_the_reader_fall_over(tmp_path, parts, name):
    write(tmp_path.joinpath(*parts) / name)
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(set(found.columns["sample_id"])) + sum(skip.count for skip in found.skipped)
