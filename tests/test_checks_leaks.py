"""`check --only leaks`: who and what is on both sides of a split or of a fold."""

import numpy as np
import pyarrow as pa
import pytest
from check_fixtures import found, manifest, said

from ferbench.checks.sides import Sides, crossings, joined, rows_of_codes, validation_crossings
from ferbench.recipe import Recipe


def leaks(made, **options):
    return said(found(made, "leaks", **options))


def test_subjects_on_one_side_each_are_fine(tmp_path):
    made = manifest(tmp_path, subject=["a", "a", "b", None, None], split=["train", "train", "test", "train", "test"])
    assert leaks(made) == []
    made = manifest(tmp_path, subject=["a", "a", "b", None, "b"], fold=[1, 1, 2, 2, None])
    assert leaks(made) == []


@pytest.mark.parametrize("column", ["subject", "group"])
def test_a_value_in_train_and_test_is_an_error_with_the_pair(tmp_path, column):
    made = manifest(tmp_path, split=["train", "test", "test", "train"], **{column: ["a", "b", "a", "c"]})
    assert leaks(made) == [("error", f"leak-{column}", "s2", f"{column} 'a' is in train ('s0') and in test ('s2')")]


def test_a_subject_in_two_folds_is_an_error(tmp_path):
    made = manifest(tmp_path, subject=["a", "b", "a", "b"], fold=[1, 2, 3, 2])
    assert leaks(made) == [
        ("error", "leak-subject", "s2", "subject 'a' is in the test part of fold 1 ('s0') and in that of fold 3 ('s2')")
    ]


def test_a_subject_in_train_and_validation_is_a_warning(tmp_path):
    made = manifest(tmp_path, subject=["a", "a", "b"], split=["train", "validation", "test"])
    assert leaks(made) == [("warning", "leak-subject", "s1", "subject 'a' is in train ('s0') and in validation ('s1')")]


def test_a_group_that_the_published_split_has_on_both_sides_is_a_warning(tmp_path):
    made = manifest(tmp_path, group=["film", "film"], split=["train", "test"])
    published = made.replace(protocol={"kind": "published", "name": "official", "rule": "distributed"})
    assert leaks(published)[0][:2] == ("warning", "leak-group")
    own = made.replace(protocol={"kind": "hold-out"})
    assert leaks(own)[0][:2] == ("error", "leak-group")


def test_a_subject_that_trains_and_validates_in_one_fold_is_a_warning(tmp_path):
    made = manifest(tmp_path, subject=["a", "b", "b", "c", "c"], fold=[1, 2, 2, 3, 3])
    lists = pa.array([[], [1], [], [1], [1]], pa.list_(pa.int32()))
    assert leaks(made.with_columns(validation_folds=lists)) == [
        (
            "warning",
            "leak-subject",
            None,
            "1 values of subject train and validate in the same fold, first: 'b' in fold 1",
        )
    ]


def test_a_validation_part_of_whole_subjects_is_fine(tmp_path):
    made = manifest(tmp_path, subject=["a", "b", "b", "c", "c"], fold=[1, 2, 2, 3, 3])
    lists = pa.array([[2, 3], [1], [1], [], []], pa.list_(pa.int32()))
    assert leaks(made.with_columns(validation_folds=lists)) == []


def test_a_sample_that_selects_where_it_is_tested_is_an_error(tmp_path):
    made = manifest(tmp_path, fold=[1, 1, 2])
    lists = pa.array([[1], [1, 2], [1]], pa.list_(pa.int32()))
    assert leaks(made.with_columns(validation_folds=lists)) == [
        ("error", "validation-is-test", None, "2 samples select and are tested in the same fold, first: s0")
    ]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"path": ["t.png", "a.png", "b.png", "b.png", "a.png"]}, "paths"),
        ({"path": ["t.png", "val/a.png", "val/b.png", "test/b.png", "test/a.png"],
          "sha256": [None, "aa", "bb", "bb", "aa"]}, "bytes"),
    ],
)  # fmt: skip
def test_a_validation_part_that_is_the_test_part_is_said_once(tmp_path, columns, what):
    made = manifest(tmp_path, split=["train", "validation", "validation", "test", "test"], **columns)
    assert leaks(made) == [
        ("error", "validation-is-test", None, f"the validation part is the test part: 2 samples with the same {what}")
    ]


def test_a_part_of_the_test_in_validation_is_a_leak_per_file(tmp_path):
    made = manifest(tmp_path, path=["a.png", "b.png", "a.png"], split=["validation", "validation", "test"])
    assert leaks(made) == [
        ("error", "leak-source", "s2", "a.png, the same frames, is in validation ('s0') and in test ('s2')")
    ]


def test_overlapping_ranges_of_one_video_are_an_error_and_others_a_warning(tmp_path):
    made = manifest(
        tmp_path, path=["v.mp4", "v.mp4", "w.mp4", "w.mp4", "w.mp4"], media=["video"] * 5,
        start_frame=[0, 10, 0, 30, 20], end_frame=[10, 20, 31, 40, 25],
        split=["train", "test", "train", "test", "train"],
    )  # fmt: skip
    assert leaks(made) == [
        ("error", "leak-source", "s3", "w.mp4, the same frames, is in train ('s2') and in test ('s3')"),
        ("warning", "leak-source", "s1", "v.mp4, with different frames, is in train ('s0') and in test ('s1')"),
    ]


def test_a_whole_video_overlaps_each_of_its_ranges(tmp_path):
    made = manifest(
        tmp_path, path=["v.mp4", "v.mp4"], media=["video"] * 2, start_frame=[None, 300], end_frame=[None, 310],
        fold=[2, 1],
    )  # fmt: skip
    assert leaks(made) == [
        ("error", "leak-source", "s0",
         "v.mp4, the same frames, is in the test part of fold 1 ('s1') and in that of fold 2 ('s0')"),
    ]  # fmt: skip


def test_the_same_bytes_under_two_names_are_an_error(tmp_path):
    made = manifest(tmp_path, sha256=["aa", "bb", "aa", None, None], split=["train", "train", "test", "train", "test"])
    assert leaks(made) == [
        ("error", "leak-bytes", "s2",
         "the bytes of s2.png are also those of s0.png: they are in train ('s0') and in test ('s2')"),
    ]  # fmt: skip


def test_two_faces_of_one_photograph_are_a_warning(tmp_path):
    made = manifest(tmp_path, path=["a.png", "a.png"], face=[0, 1], split=["train", "test"])
    assert [row[:2] for row in leaks(made)] == [("warning", "leak-source")]


def test_aligned_clips_of_one_video_are_told_apart_by_their_source_ranges(tmp_path):
    made = manifest(
        tmp_path, media=["frames"] * 3, sha256=["aa", "aa", "aa"], split=["train", "test", "train"],
        source=["v.mp4"] * 3, source_start=[0, 10, 15], source_end=[10, 20, 30],
    )  # fmt: skip
    aligned = made.replace(recipe=Recipe.of(reading={}, sampling={}, detection={}, selection={}, crop={}, writing={}))
    assert leaks(aligned) == [
        ("error", "leak-source", "s1", "v.mp4, the same frames, is in train ('s2') and in test ('s1')")
    ]


def test_beyond_the_limit_values_are_counted(tmp_path):
    made = manifest(tmp_path, subject=[*"abcd"] * 2, split=["train"] * 4 + ["test"] * 4)
    rows = leaks(made, per_rule=3)
    assert [row[3] for row in rows][-1] == "and 1 more values of subject"
    assert len(rows) == 4


def test_folds_and_a_split_are_both_looked_at(tmp_path):
    made = manifest(tmp_path, subject=["a", "a"], fold=[1, 2], split=["train", "test"])
    assert [row[1] for row in leaks(made)] == ["leak-subject", "leak-subject"]


def slow_crossings(codes, part):
    sides = {}
    for code, side in zip(codes, part, strict=True):
        if code >= 0 and side >= 0:
            sides.setdefault(code, set()).add(side)
    return sorted(code for code, seen in sides.items() if len(seen) > 1)


def test_crossings_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        codes, part = rng.integers(-1, 30, 80), rng.integers(-1, 4, 80)
        got = crossings(codes, part)
        assert got.codes.tolist() == slow_crossings(codes, part)
        for code, first, last, rows in zip(
            got.codes, got.first, got.last, rows_of_codes(codes, got.codes, part), strict=True
        ):
            sides = part[(codes == code) & (part >= 0)]
            assert codes[first] == codes[last] == code
            assert (part[first], part[last]) == (sides.min(), sides.max())
            assert sorted(rows) == np.flatnonzero((codes == code) & (part >= 0)).tolist()


def test_validation_crossings_are_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    for _ in range(20):
        codes, part = rng.integers(-1, 12, 40), rng.integers(1, 5, 40)
        selects = rng.random((40, 5)) < 0.3
        rows, folds = np.nonzero(selects)
        got = validation_crossings(codes, Sides("fold", part, {}, (rows, folds)))
        want = [
            (code, fold)
            for code in range(12)
            for fold in range(1, 5)
            if ((codes == code) & (part != fold) & selects[:, fold]).any()
            and ((codes == code) & (part != fold) & ~selects[:, fold]).any()
        ]
        assert [(c, f) for c, f in zip(*got, strict=True) if f > 0] == want


def test_codes_are_joined_in_pairs():
    codes = joined(np.array([0, 0, 1, -1, 1]), np.array([0, 7, 0, 0, 0]))
    assert codes[2] == codes[4]
    assert codes[3] == -1
    assert len(set(codes.tolist())) == 4
