"""The ck-list dialect: Emotion-FAN's folds of CK+ in one file."""

import pytest
from dialect_lists import exported, fuzz_texts, imported, manifest, manifests, read_or_refused, round_trip, rows_in
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import ck_plus, write

from ferbench.dialects import ImportOptions
from ferbench.dialects.ck_list import HEADER, read_files
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import write_manifest

FILE = "CK+_10-fold_sample_IDascendorder_step10.txt"
TWO = "CK+_2-fold_sample_IDascendorder_step2.txt"
NAME = st.tuples(st.text("S0123456789é", min_size=1, max_size=5), st.text("0123456789-", min_size=1, max_size=4)).map(
    "/".join
)


def four(**columns):
    paths = ["images/S130/007", "images/S005/001", "images/S010/002", "images/S011/001"]
    return manifest(
        paths, classes=["anger", "sadness", "happy"], **{"fold": [1, 1, 1, 2], "label": [0, 2, 0, 1], **columns}
    )


def test_a_fold_has_a_header_and_its_sequences_by_class_and_name():
    text = exported(four(), "ck-list")[TWO].decode()
    assert text == (
        "1-fold 3 Angry 2 Happy 1\nS010/002 Angry\nS130/007 Angry\nS005/001 Happy\n"
        "2-fold 1 Sad 1\nS011/001 Sad\n"
    )  # fmt: skip


def test_ten_folds_have_the_published_name():
    paths = [f"S{number:03d}/001" for number in range(10)]
    assert list(exported(manifest(paths, classes=HEADER, fold=list(range(1, 11))), "ck-list")) == [FILE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["neutral", "sad", "happy"]}, "sample 'sample-0': the ck-list dialect has no class 'neutral'"),
        ({"media": "image"}, "is an image; leave stills out, or export imagefolder"),
        ({"path": ["S1", "S2", "S3", "S4"]}, "names clips by 2 folders, and the path is 'S1'"),
        ({"path": ["a/S1/1", "b/S1/2", "a/S1/3", "a/S1/4"]}, "looks for every clip in one folder"),
        ({"path": ["S 1/1", "S1/2", "S1/3", "S1/4"]}, "cannot hold white space in a path"),
        ({"fold": None, "split": "test"}, "has no folds, and the ck-list dialect is a file of folds"),
        ({"fold": [1, 1, 3, 3]}, "has the folds 1, 3; the ck-list dialect numbers them from 1 without gaps"),
        ({"validation_folds": [[2], [], [], []]}, "has a validation part"),
    ],
)
def test_what_the_grammar_cannot_hold_is_refused(change, message):
    paths = change.pop("path", ["S1/1", "S2/1", "S3/1", "S4/1"])
    filled = {"classes": ["anger", "sadness", "happy"], "fold": [1, 1, 2, 2], "label": [0, 2, 0, 1], **change}
    with pytest.raises(ManifestError) as refused:
        exported(manifest(paths, **filled), "ck-list")
    assert message in refused.value.message


def test_options_for_numbers_and_paths_mean_nothing_here():
    for options in ({"prefix": "/x"}, {"labels": "manifest"}, {"short_count": 16}):
        with pytest.raises(UsageError, match="means nothing to the ck-list dialect"):
            exported(four(), "ck-list", **options)


def test_reading_gives_folds_subjects_and_the_cards_order(tmp_path):
    back = imported(exported(four(), "ck-list"), "ck-list", folder=tmp_path, dataset="ck-plus")
    assert back.column("path") == ["S010/002", "S130/007", "S005/001", "S011/001"]
    assert (back.column("subject"), back.column("fold")) == (["S010", "S130", "S005", "S011"], [1, 1, 1, 2])
    assert [back.labels.names[label] for label in back.column("label")] == ["anger", "anger", "happy", "sadness"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S130/007 Angry\n", ".txt:1: a sequence before the first header"),
        (
            "1-fold 1 Angry 1\nS130/007\n",
            ".txt:2: expected 'subject/sequence Class' or a header of a fold, got 'S130/007'",
        ),
        ("1-fold 1 Angry 1\nS130/007 Neutral\n", ".txt:2: expected 'subject/sequence Class'"),
        ("1-fold 1 Angry 1\nS130/007 angry\n", ".txt:2: expected 'subject/sequence Class'"),
        ("2-fold 1 Angry 1\nS130/007 Angry\n", ".txt:1: expected the header of fold 1, got '2-fold 1 Angry 1'"),
        ("1-fold 2 Angry 2\nS130/007 Angry\n", ".txt:1: the header says 2 Angry, and 1 follow"),
        ("1-fold 2 Angry 1\nS130/007 Angry\n", ".txt:1: the header says 2 sequences, and 1 follow"),
        ("1-fold 1 Angry 1 Angry 1\nS130/007 Angry\n", ".txt:1: a header counts each of Angry, Sad"),
        ("1-fold 1 Calm 1\nS130/007 Angry\n", "once at most, got 'Calm'"),
        ("1-fold 2 Angry 2\nS1/1 Angry\nS1/1 Angry\n", ".txt:3: 'S1/1' is listed a second time in test of fold 1"),
        (
            "1-fold 1 Angry 1\nS1/1 Angry\n2-fold 1 Angry 1\nS1/1 Angry\n",
            ".txt:4: 'S1/1' is tested in fold 1 and in fold 2",
        ),
    ],
)
def test_a_line_that_does_not_fit_is_refused_with_its_place(text, message, tmp_path):
    write(tmp_path / FILE, text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions())
    assert message in refused.value.message


def test_line_ends_and_blank_lines_do_not_matter(tmp_path):
    write(
        tmp_path / "any name.txt",
        b"\xef\xbb\xbf1-fold 1 Angry 1\r\n\r\nS1/1 Angry\r\n2-fold 0\r\n3-fold 1 Sad 1\r\nS2/1 Sad",
    )
    back = read_files(tmp_path / "any name.txt", ImportOptions())
    assert (back.column("path"), back.column("fold")) == (["S1/1", "S2/1"], [1, 3])
    with pytest.raises(ManifestError, match=r"no fold file is here; it is CK\+_10-fold"):
        read_files(tmp_path, ImportOptions())


@settings(max_examples=60, deadline=None)
@given(manifests(paths=NAME, folds=True, classes=HEADER))
def test_a_round_trip_loses_nothing(source):
    source = source.with_columns(path=[f"images/{path}" for path in source.column("path")])
    round_trip(source, "ck-list", frames=False, name_of=lambda path: path.removeprefix("images/"))


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("1-fold 2 Angry 1 Happy 1\nS1/1 Angry\nS2/1 Happy", "2-fold 1 Sad 1\nS3/1 Sad", "3-fold 0"))
def test_any_file_is_read_line_by_line_or_refused(content):
    read = read_or_refused(content, FILE, "ck-list")
    assert read is None or len(read) == rows_in(content) - content.count(b"-fold")


def test_the_commands_write_and_read_the_list(tmp_path, ferbench):
    write_manifest(four(), tmp_path / "m.parquet")
    ran = ferbench("export", tmp_path / "m.parquet", "--dialect", "ck-list", "-o", tmp_path / "o", "--json")
    assert (ran.code, len(ran.json["files"])) == (0, 1), ran.err
    ran = ferbench("import", tmp_path / "o", "--dialect", "ck-list", "-o", tmp_path / "back.parquet", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["samples"], ran.json["counts"]["anger"]) == (4, 2)


def test_the_official_copy_and_protocol_give_the_published_headers(tmp_path, ferbench):
    ck_plus.fabricate(tmp_path / "ck")
    assert ferbench("index", "ck-plus", tmp_path / "ck", "-o", tmp_path / "m.parquet").code == 0
    ran = ferbench("make-splits", tmp_path / "m.parquet", "--protocol", "official", "-o", tmp_path / "splits")
    assert ran.code == 0, ran.err
    ran = ferbench("export", tmp_path / "splits/manifest.parquet", "--dialect", "ck-list", "-o", tmp_path / "o")
    assert ran.code == 0, ran.err
    headers = [line for line in (tmp_path / "o" / FILE).read_text().splitlines() if "-fold" in line]
    assert headers[0] == "1-fold 33 Angry 2 Sad 4 Disgust 7 Surprise 8 Fear 4 Contempt 1 Happy 7"
    assert [int(line.split(" ")[1]) for line in headers] == [33, 39, 40, 35, 30, 37, 29, 29, 33, 22]
