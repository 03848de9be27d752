"""RAVDESS: seven fields in a name, two modalities in a zip, and folds of actors."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import ravdess, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest
from ferbench.protocol import folds_of
from ferbench.protocols import apply_protocol


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("ravdess")
    ravdess.fabricate(root)
    return root


def reading(root, **options):
    card = read_card("ravdess")
    return find_reader(card)(root, card, resolve_options(card, options))


@pytest.mark.parametrize(
    ("options", "samples", "skipped"),
    [
        ((), 1440, {"other-modality": 1440 + 1012, "other-channel": 1012}),
        (("-o", "modality=02"), 1440, {"other-modality": 1440 + 1012, "other-channel": 1012}),
        (("-o", "channel=song"), 1012, {"other-modality": 1440 + 1012, "other-channel": 1440}),
        (("-o", "channel=both"), 2452, {"other-modality": 1440 + 1012}),
    ],
)
def test_the_official_copy_has_only_the_other_recordings_to_note(copy, tmp_path, ferbench, options, samples, skipped):
    ran = ferbench("index", "ravdess", copy, "-o", tmp_path / "m.parquet", *options, "--json")
    assert (ran.code, ran.json["rows_read"], ran.json["samples"]) == (0, 2 * 2452, samples)
    assert {finding["rule"]: finding["count"] for finding in ran.json["findings"]} == skipped
    assert {finding["severity"] for finding in ran.json["findings"]} == {"note"}


def test_speech_has_its_published_counts_and_its_folds_hold_four_actors_each(copy, tmp_path, ferbench):
    ran = ferbench("index", "ravdess", copy, "-o", tmp_path / "m.parquet", "--json")
    assert list(ran.json["counts"]["all"].values()) == [1440, 96, 192, 192, 192, 192, 192, 192, 192]
    result = apply_protocol(read_manifest(tmp_path / "m.parquet"), "official")
    assert result.findings == ()
    parts = list(folds_of(result.manifest))
    assert [len(fold.test) for fold in parts] == [240] * 6
    assert set(parts[1].test.column("subject")) == {"05", "06", "07", "08"}


def test_a_name_says_everything(tmp_path):
    write(tmp_path / "Actor_12/01-01-06-02-02-01-12.mp4")
    found = reading(tmp_path)
    assert {name: values[0] for name, values in found.columns.items()} == {
        "sample_id": "01-01-06-02-02-01-12", "path": "Actor_12/01-01-06-02-02-01-12.mp4", "media": "video", "label": 5,
        "subject": "12", "channel": "speech", "intensity": "strong", "statement": 2, "repetition": 1,
    }  # fmt: skip
    assert found.labels.names[5] == "fearful"


def test_a_recording_in_two_zips_is_read_once(tmp_path):
    for folder in ("Actor_01", "Video_Speech_Actor_01/Actor_01"):
        write(tmp_path / folder / "01-01-01-01-01-01-01.mp4")
    found = reading(tmp_path)
    assert found.columns["path"] == ["Actor_01/01-01-01-01-01-01-01.mp4"]
    (skip,) = found.skipped
    assert (skip.reason, skip.severity, skip.count) == ("duplicate", "note", 1)
    assert skip.first[0].endswith("the same recording as Actor_01/01-01-01-01-01-01-01.mp4")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("01-01-09-01-01-01-01", "emotion 09 is not one of 01, 02, 03, 04, 05, 06, 07, 08"),
        ("04-01-01-01-01-01-01", "modality 04 is not one of 01, 02, 03"),
        ("01-03-01-01-01-01-01", "channel 03 is not one of 01, 02"),
        ("01-01-01-03-01-01-01", "intensity 03 is not one of 01, 02"),
        ("01-01-01-01-01-01-25", "actor 25 is not in 01..24"),
        ("01-01-01-01-01-01", "expected seven two-digit fields"),
        ("my holiday", "expected seven two-digit fields"),
    ],
)
def test_a_name_that_does_not_fit_is_skipped_and_said(tmp_path, name, message):
    write(tmp_path / "01-01-01-01-01-01-01.mp4")
    write(tmp_path / f"{name}.mp4")
    found = reading(tmp_path)
    assert (found.rows_read, len(found.columns["sample_id"])) == (2, 1)
    (skip,) = found.skipped
    assert (skip.reason, skip.severity) == ("bad-name", "error")
    assert message in skip.first[0]


def test_frame_folders_are_read_where_there_are_no_videos(tmp_path):
    write(tmp_path / "face_aligned/Actor_01/02-01-03-01-01-01-01/1.jpg")
    found = reading(tmp_path, modality="02")
    assert (found.columns["path"], found.columns["media"], found.columns["num_frames"]) == (
        ["face_aligned/Actor_01/02-01-03-01-01-01-01"], ["frames"], [1]
    )  # fmt: skip


def test_a_folder_without_the_dataset_says_what_was_looked_for(tmp_path):
    write(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"looked for Actor_01/01-01-01-01-01-01-01\.mp4; found a\.mp4"):
        reading(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.lists(st.integers(0, 30), min_size=6, max_size=8), suffix=st.sampled_from([".mp4", ".MOV", ".wav", ""])
)
def test_no_name_makes_the_reader_fall_over(tmp_path, fields, suffix):
    write(tmp_path / ("-".join(f"{field:02d}" for field in fields) + suffix))
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(set(found.columns["sample_id"])) + sum(skip.count for skip in found.skipped)
