"""CK+: sequences, their one number, the pictures people take of them; and CK+48, its re-pack."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import ck_plus, ck_plus_48, touch_all, write

from ferbench.cards import read_card
from ferbench.datasets.ck_plus import read
from ferbench.errors import FerbenchError
from ferbench.manifest import read_manifest


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("ck")
    ck_plus.fabricate(root)
    return root


def small(root, text=b"   3.0000000e+00\n", *, subject="S005", frames=5, emotion=True):
    """One sequence."""
    stems = [f"{subject}_001_{number:08d}" for number in range(1, frames + 1)]
    touch_all(root / f"cohn-kanade-images/{subject}/001", [f"{stem}.png" for stem in stems])
    (root / f"Emotion/{subject}/001").mkdir(parents=True, exist_ok=True)
    if emotion:
        write(root / f"Emotion/{subject}/001/{stems[-1]}_emotion.txt", text)
    return root


def fold_of(manifest):
    """Emotion-FAN's folds: subjects in ascending order, the index modulo ten."""
    subjects = sorted(set(manifest.column("subject")))
    return [subjects.index(subject) % 10 for subject in manifest.column("subject")]


def test_the_official_copy_has_327_labelled_sequences_and_nothing_but_the_unlabelled_ones_to_say(
    copy, tmp_path, ferbench
):
    ran = ferbench("index", "ck-plus", copy, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 0
    assert [(found["rule"], found["severity"], found["count"]) for found in ran.json["findings"]] == [
        ("no-label", "note", 266)
    ]
    assert (ran.json["rows_read"], ran.json["samples"]) == (593, 327)
    assert ran.json["counts"]["all"] == {
        "samples": 327, "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happy": 69, "sadness": 28, "surprise": 83,
    }  # fmt: skip
    manifest = read_manifest(tmp_path / "m.parquet")
    assert len(set(manifest.column("subject"))) == 118
    first = next(manifest.samples())
    assert (first.sample_id, first.path, first.media) == ("S005_001", "cohn-kanade-images/S005/001", "frames")
    assert (first.num_frames, first.subject, first.group) == (4, "S005", None)


def test_the_subjects_modulo_ten_are_the_published_folds(copy, tmp_path, ferbench):
    ferbench("index", "ck-plus", copy, "-o", tmp_path / "m.parquet", "--json")
    manifest = read_manifest(tmp_path / "m.parquet")
    sizes = Counter(fold_of(manifest))
    assert [sizes[fold] for fold in range(10)] == [33, 39, 40, 35, 30, 37, 29, 29, 33, 22]
    counts = {count.where["fold"]: count for count in read_card("ck-plus").counts if "fold" in count.where}
    assert [counts[fold].total for fold in range(1, 11)] == [sizes[fold] for fold in range(10)]
    first = Counter(label for label, fold in zip(manifest.column("label"), fold_of(manifest), strict=True) if fold == 0)
    assert tuple(first[label] for label in range(7)) == counts[1].per_class == (2, 1, 7, 4, 7, 4, 8)


def test_the_last_three_frames_are_981_pictures_that_know_their_sequence(copy, tmp_path, ferbench):
    ran = ferbench("index", "ck-plus", copy, "-o", tmp_path / "m.parquet", "-o", "frames=last-3", "--json")
    assert ran.code == 0
    assert list(ran.json["counts"]["all"].values()) == [981, 135, 54, 177, 75, 207, 84, 249]
    samples = list(read_manifest(tmp_path / "m.parquet").samples())[:3]
    assert [sample.sample_id for sample in samples] == ["S005_001_00000002", "S005_001_00000003", "S005_001_00000004"]
    assert samples[0].path == "cohn-kanade-images/S005/001/S005_001_00000002.png"
    assert {(sample.media, sample.group, sample.subject) for sample in samples} == {("image", "S005_001", "S005")}


def test_with_neutral_the_first_frames_join_them(copy, tmp_path, ferbench):
    ran = ferbench("index", "ck-plus-8", copy, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 0
    assert list(ran.json["counts"]["all"].values()) == [1308, 327, 135, 54, 177, 75, 207, 84, 249]
    manifest = read_manifest(tmp_path / "m.parquet")
    assert (manifest.labels.names[0], manifest.provenance["label_base"]) == ("neutral", 0)
    first = next(manifest.samples())
    assert (first.sample_id, first.label) == ("S005_001_00000001", 0)


def test_zips_may_nest_and_a_copy_without_labels_is_refused(tmp_path, ferbench):
    small(tmp_path / "a")
    (tmp_path / "a/extended").mkdir()
    (tmp_path / "a/cohn-kanade-images").rename(tmp_path / "a/extended/cohn-kanade-images")
    (tmp_path / "a/Emotion_labels").mkdir()
    (tmp_path / "a/Emotion").rename(tmp_path / "a/Emotion_labels/Emotion")
    reading = read(tmp_path / "a", read_card("ck-plus"), {"frames": "sequence"})
    assert reading.layout == "pictures in extended/cohn-kanade-images, labels in Emotion_labels/Emotion"
    touch_all(tmp_path / "b/cohn-kanade-images/S005/001", ["S005_001_00000001.png"])
    ran = ferbench("index", "ck-plus", tmp_path / "b", "-o", tmp_path / "m.parquet")
    assert ran.code == 4
    assert "Emotion/S005/001" in ran.err


@pytest.mark.parametrize(
    ("break_", "rule", "message"),
    [
        (lambda root: small(root, b"happy", subject="S010"), "bad-row",
         "S010_001_00000005_emotion.txt:1: expected one number, got 'happy'"),
        (lambda root: small(root, b"9.0", subject="S010"), "label-range", "emotion.txt:1: label 9 is not in 1..7"),
        (lambda root: small(root, b"2.5", subject="S010"), "bad-row", "expected one number, got '2.5'"),
        (lambda root: small(root, b"\xff\xff", subject="S010"), "bad-row", "not a text file"),
        (lambda root: write(root / "Emotion/S005/001/copy_emotion.txt", "3"), "bad-row",
         "expected one emotion file, found S005_001_00000005_emotion.txt, copy_emotion.txt"),
        (lambda root: write(root / "Emotion/S011/002/S011_002_00000001_emotion.txt", "3"), "no-frames",
         "labelled, but no picture is in cohn-kanade-images/S011/002"),
        (lambda root: small(root, subject="S010", frames=2), "too-few-frames", "S010/001: 2 frames, and last-3 takes 3"),
        (lambda root: (root / "cohn-kanade-images/S005/001/S005_001_00000005.png").unlink(), "peak-frame",
         "S005/001 ends with S005_001_00000004.png, S005_001_00000005_emotion.txt labels s005_001_00000005"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_file(tmp_path, break_, rule, message):
    root = small(tmp_path)
    small(root, b"7", subject="S020")
    break_(root)
    reading = read(root, read_card("ck-plus"), {"frames": "last-3"})
    found = {finding.rule: finding for finding in (*reading.findings, *(skip.as_finding() for skip in reading.skipped))}
    assert message in found[rule].message


def test_labels_from_zero_are_noticed_and_read_as_they_are(tmp_path):
    small(tmp_path, b"0")
    small(tmp_path, b"6", subject="S010")
    reading = read(tmp_path, read_card("ck-plus"), {"frames": "sequence"})
    assert [finding.rule for finding in reading.findings] == ["label-base"]
    assert ([reading.labels.names[label] for label in reading.columns["label"]], reading.base) == (
        ["anger", "surprise"],
        0,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.binary(max_size=30) | st.from_regex(rb"\s*-?[0-9]{1,3}(\.[0-9]*)?(e[+-]?[0-9]{1,3})?\s*", fullmatch=True)
)
def test_any_emotion_file_is_a_sample_or_a_counted_row(tmp_path, text):
    root = small(tmp_path, text)
    small(root, b"7.0", subject="S010")
    try:
        reading = read(root, read_card("ck-plus"), {"frames": "sequence"})
    except FerbenchError:
        return
    assert reading.rows_read == 2


# --- CK+48 ------------------------------------------------------------------------------------------------------------


def test_the_names_of_ck_plus_48_say_subject_and_sequence_so_that_its_folds_are_those_of_ck_plus(tmp_path, ferbench):
    ck_plus_48.fabricate(tmp_path / "copy")
    ran = ferbench("index", "ck-plus-48", tmp_path / "copy", "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert list(ran.json["counts"]["all"].values()) == [981, 135, 54, 177, 75, 207, 84, 249]
    manifest = read_manifest(tmp_path / "m.parquet")
    sizes = Counter(fold_of(manifest))
    assert [sizes[fold] for fold in range(10)] == [3 * size for size in ck_plus.FOLDS]
    sample = next(manifest.samples())
    assert sample.path == f"CK+48/{sample.sample_id}.png"
    assert sample.sample_id == f"anger/{sample.group}_{sample.path[-12:-4]}"
    assert sample.group == f"{sample.subject}_001"


def test_a_name_that_says_no_subject_is_kept_and_told(tmp_path):
    from ferbench.datasets.class_folders import read as read_folders

    touch_all(tmp_path / "happy", ["S010_004_00000017.png", "scan.png"])
    reading = read_folders(tmp_path, read_card("ck-plus-48"), {})
    assert reading.columns["subject"] == ["S010", None]
    assert (
        "1 files are not named as usual, so that their group and subject is unknown: happy/scan.png"
        in reading.findings[0].message
    )
