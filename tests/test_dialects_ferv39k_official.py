"""The ferv39k-official dialect: `scene/Emotion/clip EmotionName`."""

import pytest
from dialect_lists import exported, fuzz_texts, manifest, manifests, read_or_refused, round_trip, rows_in
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import write

from ferbench.dialects import ImportOptions
from ferbench.dialects.ferv39k_official import WORDS, read_files
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import write_manifest

WORD = st.text("abcXYZ0189é-._", min_size=1, max_size=6)


def two(**columns):
    paths = ["2_ClipsforFaceCrop/Action/Sad/0010", "2_ClipsforFaceCrop/Crime/Angry/0063"]
    return manifest(paths, classes=WORDS.words, **{"split": ["train", "test"], "label": [1, 3], **columns})


@pytest.mark.parametrize(
    ("variant", "train", "test"),
    [
        ("", "4_setups/All_scenes/train_All.csv", "4_setups/All_scenes/test_All.csv"),
        ("flat", "train_All.csv", "test_All.csv"),
    ],
)
def test_the_lists_have_names_for_classes_and_no_header(variant, train, test):
    assert exported(two(), "ferv39k-official", variant=variant) == {
        train: b"Action/Sad/0010 Sad\n",
        test: b"Crime/Angry/0063 Angry\n",
    }


def test_classes_are_spelled_as_the_release_spells_them():
    source = two().replace(labels=type(two().labels).of(["happiness", "sadness", "neutral", "anger"]))
    assert exported(source, "ferv39k-official", variant="flat")["test_All.csv"] == b"Crime/Angry/0063 Angry\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ["Sad/0010", "Sad/0011"]}, "names clips by 3 folders, and the path is 'Sad/0010'"),
        ({"path": ["a/Daily Life/Sad/1", "a/x/Sad/2"]}, "cannot hold white space in a path: 'Daily Life/Sad/1'"),
        ({"path": ["a/x/Sad/1", "b/x/Sad/2"]}, "looks for every clip in one folder"),
        ({"path": ["a/x/Sad/1", "x/Sad/1"]}, "looks for every clip in one folder"),
        (
            {"classes": ["happy", "contempt"], "label": [0, 1]},
            "sample 'sample-1': the ferv39k-official dialect has no class",
        ),
        ({"split": ["train", "validation"]}, "has a validation part, and FERV39k's files have none"),
        ({"split": None, "fold": [1, 2]}, "has folds, and the ferv39k-official dialect is one fixed split"),
        ({"media": "video"}, "is a video"),
    ],
)
def test_what_the_grammar_cannot_hold_is_refused(change, message):
    paths = change.pop("path", ["a/x/Sad/1", "a/x/Sad/2"])
    with pytest.raises(ManifestError) as refused:
        exported(manifest(paths, **{"classes": WORDS.words, "split": ["train", "test"], **change}), "ferv39k-official")
    assert message in refused.value.message


def test_options_for_numbers_and_paths_mean_nothing_here():
    for options in ({"prefix": "/x"}, {"labels": "manifest"}, {"short_count": 16}):
        with pytest.raises(UsageError, match="means nothing to the ferv39k-official dialect"):
            exported(two(), "ferv39k-official", **options)


def test_the_first_row_is_a_clip_and_line_ends_do_not_matter(tmp_path):
    write(tmp_path / "4_setups/All_scenes/train_All.csv", b"\xef\xbb\xbfAction/Sad/0010 Sad\r\nAction/Sad/0011 Sad")
    write(tmp_path / "4_setups/All_scenes/test_All.csv", "")
    back = read_files(tmp_path, ImportOptions(dataset="ferv39k", root=tmp_path / "crops"))
    assert back.column("path") == ["Action/Sad/0010", "Action/Sad/0011"]
    assert [back.labels.names[label] for label in back.column("label")] == ["sad", "sad"]
    assert back.root == tmp_path / "crops"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Action/Sad/0010\n", "test_All.csv:1: expected 'scene/Emotion/clip EmotionName', got 'Action/Sad/0010'"),
        ("Sad/0010 Sad\n", "test_All.csv:1: expected 'scene/Emotion/clip EmotionName'"),
        ("Action//0010 Sad\n", "test_All.csv:1: expected 'scene/Emotion/clip EmotionName'"),
        ("Action/Sad/0010 Sad\nAction/Sad/0011 5\n", "test_All.csv:2: unknown class '5'; known: happy"),
        (
            "Action/Sad/0010 Sad\nAction/Sad/0010 Sad\n",
            "test_All.csv:2: 'Action/Sad/0010' is listed a second time in test",
        ),
    ],
)
def test_a_line_that_does_not_fit_is_refused_with_its_place(text, message, tmp_path):
    write(tmp_path / "test_All.csv", text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions())
    assert message in refused.value.message


@settings(max_examples=60, deadline=None)
@given(
    manifests(
        paths=st.tuples(WORD, WORD, WORD).filter(lambda names: all(name.strip(".") for name in names)).map("/".join),
        folds=False,
        classes=WORDS.words,
    )
)
def test_a_round_trip_loses_nothing(source):
    source = source.with_columns(path=[f"crops/{path}" for path in source.column("path")])
    round_trip(source, "ferv39k-official", frames=False, name_of=lambda path: path.removeprefix("crops/"))


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("Action/Sad/0010 Sad", "Crime/Angry/0063 Angry", "War/Fear/1 Fear"))
def test_any_file_is_read_line_by_line_or_refused(content):
    read = read_or_refused(content, "test_All.csv", "ferv39k-official")
    assert read is None or len(read) == rows_in(content)


def test_the_commands_write_and_read_the_lists(tmp_path, ferbench):
    write_manifest(two(), tmp_path / "m.parquet")
    ran = ferbench("export", tmp_path / "m.parquet", "--dialect", "ferv39k-official", "-o", tmp_path / "o", "--json")
    assert ran.code == 0, ran.err
    ran = ferbench("import", tmp_path / "o", "--dialect", "ferv39k-official", "-o", tmp_path / "back.parquet", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["samples"], ran.json["counts"]["sad"], ran.json["counts"]["angry"]) == (2, 1, 1)
