"""Folds: every labelled sample is tested once, classes are spread, and no group is on both sides."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferbench.errors import ProtocolError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.protocol import assert_no_leak, crossing_groups, folds_of
from ferbench.splitting import SplitOptions, make_splits


def toy(labels, subjects=None, **columns) -> Manifest:
    ids = [f"s{number:04d}" for number in range(len(labels))]
    return manifest_of(
        {"sample_id": ids, "path": ids, "media": ["video"] * len(ids), "label": labels, "subject": subjects, **columns},
        labels=LabelSet.of(["a", "b", "c"]), name="toy", root=Path("/data"),
    )  # fmt: skip


def test_k_fold_tests_each_sample_once_and_keeps_the_class_shares():
    labels = [0] * 50 + [1] * 30 + [2] * 10
    folds = list(folds_of(make_splits(toy(labels), SplitOptions(folds=5))))
    assert [fold.name for fold in folds] == ["1", "2", "3", "4", "5"]
    tested = [sample_id for fold in folds for sample_id in fold.test.column("sample_id")]
    assert sorted(tested) == [f"s{number:04d}" for number in range(90)]
    for fold in folds:
        assert Counter(fold.test.column("label")) == {0: 10, 1: 6, 2: 2}
        assert set(fold.train.column("sample_id")).isdisjoint(fold.test.column("sample_id"))
        assert len(fold.train) + len(fold.test) == 90


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(5, 12))
def test_no_subject_is_ever_trained_on_and_tested_on(seed, num_folds, num_subjects):
    rng = np.random.default_rng(seed)
    count = 20 * num_subjects
    subjects = [
        f"p{number}" for number in [*range(num_subjects), *rng.integers(num_subjects, size=count - num_subjects)]
    ]
    split = make_splits(
        toy(rng.integers(3, size=count).tolist(), subjects), SplitOptions(folds=num_folds, seed=seed % 1000)
    )
    folds = list(folds_of(split))
    assert len(folds) == num_folds
    for fold in folds:
        assert len(fold.test)
        assert set(fold.train.column("subject")).isdisjoint(fold.test.column("subject"))


def test_the_folds_do_not_depend_on_the_order_of_the_rows():
    labels, subjects = [0, 1, 2] * 20, [f"p{number % 10}" for number in range(60)]
    split = make_splits(toy(labels, subjects), SplitOptions(folds=3, seed=4))
    shuffled = toy(labels, subjects)
    shuffled = shuffled.replace(table=shuffled.table.take(np.random.default_rng(0).permutation(60)))
    again = make_splits(shuffled, SplitOptions(folds=3, seed=4))
    assert dict(zip(split.column("sample_id"), split.column("fold"), strict=True)) == dict(
        zip(again.column("sample_id"), again.column("fold"), strict=True)
    )


def test_the_seed_decides_the_folds():
    manifest = toy([0, 1, 2] * 20)
    first = make_splits(manifest, SplitOptions(seed=1)).column("fold")
    assert first == make_splits(manifest, SplitOptions(seed=1)).column("fold")
    assert first != make_splits(manifest, SplitOptions(seed=2)).column("fold")


def test_leave_one_group_out_makes_a_fold_per_subject_named_after_it():
    split = make_splits(toy([0, 1] * 6, ["zoe", "anna", "bob"] * 4), SplitOptions(kind="leave-one-group-out"))
    folds = list(folds_of(split))
    assert [fold.name for fold in folds] == ["anna", "bob", "zoe"]
    assert [set(fold.test.column("subject")) for fold in folds] == [{"anna"}, {"bob"}, {"zoe"}]


def test_hold_out_takes_the_asked_share_of_each_class():
    split = make_splits(toy([0] * 50 + [1] * 30 + [2] * 20), SplitOptions(kind="hold-out", test_fraction=0.3))
    (fold,) = folds_of(split)
    assert Counter(fold.test.column("label")) == {0: 15, 1: 9, 2: 6}
    assert len(fold.train) == 70


def test_a_grouped_hold_out_takes_whole_subjects_near_the_asked_share():
    labels, subjects = [0, 1, 2] * 40, [f"p{number // 6}" for number in range(120)]
    (fold,) = folds_of(make_splits(toy(labels, subjects), SplitOptions(kind="hold-out", test_fraction=0.25)))
    assert len(fold.test) == 30
    assert set(fold.train.column("subject")).isdisjoint(fold.test.column("subject"))


def test_subjects_cannot_be_ignored_by_accident():
    manifest = toy([0, 1] * 10, ["anna", "bob"] * 10)
    with pytest.raises(
        ProtocolError, match="puts the same person in train and test; group by subject, or say --allow-leak"
    ):
        make_splits(manifest, SplitOptions(folds=2, group="none"))
    split = make_splits(manifest, SplitOptions(folds=2, group="none", allow_leak=True))
    assert split.protocol["crossing"] == {"subject": 2}


def test_any_column_can_be_the_group():
    split = make_splits(
        toy([0, 1] * 12, scene=[f"m{number // 4}" for number in range(24)]), SplitOptions(folds=3, group="scene")
    )
    assert crossing_groups(split, "scene") == []
    assert split.protocol["group"] == "scene"


def test_a_leak_that_is_already_in_a_manifest_is_named():
    manifest = toy([0, 1, 0, 1], ["anna", "anna", "bob", "bob"]).with_columns(fold=[1, 2, 1, 1])
    with pytest.raises(
        ProtocolError, match=r"1 values of 'subject' are on both sides of a split, first: 'anna'"
    ) as caught:
        assert_no_leak(manifest, "subject")
    assert caught.value.reason == "leak"


def test_samples_without_a_subject_are_groups_of_their_own():
    split = make_splits(toy([0] * 6, ["anna", "anna", None, None, None, None]), SplitOptions(folds=3))
    assert len(set(split.column("fold")[:2])) == 1
    assert set(split.column("fold")) == {1, 2, 3}


def test_as_many_folds_as_groups_leaves_no_fold_empty():
    # Sizes and classes so uneven that stratification alone would put two people in one fold.
    subjects = ["woman"] * 6 + ["man"] * 3 + ["other"] * 3 + ["nobody"]
    split = make_splits(toy([2, 2, 2, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0], subjects), SplitOptions(folds=4))
    assert set(split.column("fold")) == {1, 2, 3, 4}


def test_unlabelled_samples_are_in_no_fold_and_counted():
    split = make_splits(toy([0, 1, None] * 4), SplitOptions(folds=2))
    assert [fold is None for fold in split.column("fold")] == [False, False, True] * 4
    assert split.protocol["unlabelled"] == 4


@pytest.mark.parametrize(
    ("manifest", "options", "message"),
    [
        (toy([0, 1, 0, 1], ["anna", "bob"] * 2), SplitOptions(folds=3), "3 folds need at least 3 groups, found 2"),
        (toy([0, 1]), SplitOptions(folds=3), "3 folds need at least 3 samples, found 2"),
        (toy([None, None]), SplitOptions(), "no labelled samples"),
        (toy([0, 1]), SplitOptions(kind="leave-one-group-out"), "no subjects to leave out"),
        (toy([0, 1]), SplitOptions(group="scene"), "no values in column 'scene'"),
        (toy([0, 1] * 3, ["anna"] * 6), SplitOptions(kind="leave-one-group-out"), "at least 2 groups, found 1"),
    ],
)
def test_impossible_folds_are_refused_with_the_numbers(manifest, options, message):
    with pytest.raises(ProtocolError, match=message):
        make_splits(manifest, options)


def test_wrong_options_are_usage_errors():
    for arguments in ({"kind": "5-fold"}, {"folds": 1}, {"test_fraction": 1.0}):
        with pytest.raises(UsageError):
            SplitOptions(**arguments)


def test_a_manifest_without_folds_says_what_to_run():
    with pytest.raises(ProtocolError, match="run make-splits"):
        list(folds_of(toy([0, 1])))
