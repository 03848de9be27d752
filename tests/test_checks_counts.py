"""`check --only counts`: a manifest against the card of its dataset."""

import dataclasses

import numpy as np
import pytest
from check_fixtures import checked, said
from trees import raf_db

from ferbench.cards import read_card
from ferbench.checks.counts import label_shift
from ferbench.jobs.index import index_dataset
from ferbench.labels import LabelSet
from ferbench.protocols import apply_protocol
from ferbench.splitting import SplitOptions, make_splits
from ferbench.validation import ValidationOptions, carve_validation


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    root = tmp_path_factory.mktemp("raf")
    raf_db.fabricate(root)
    return index_dataset("raf-db", root, None, {}).manifest


def relabelled(manifest, change):
    labels = change(np.array(manifest.column("label")))
    return manifest.with_columns(label=[int(label) if 0 <= label < 7 else None for label in labels])


def counts(manifest):
    return said(checked(manifest, only=("counts",)).findings)


def test_the_published_counts_are_fine(indexed):
    assert counts(indexed) == []


def test_a_missing_sample_is_a_wrong_count(indexed):
    mask = np.ones(len(indexed), bool)
    mask[indexed.column("split").index("train")] = False
    assert counts(indexed.where(mask)) == [
        ("error", "class-count", None,
         "train: 12,270 samples, published are 12,271 (counted, EAC's list_patition_label.txt); surprise 1289 of 1290"),
    ]  # fmt: skip


def test_shuffled_classes_are_a_class_order(indexed):
    swapped = relabelled(indexed, lambda labels: np.array([0, 5, 2, 3, 4, 1, 6])[labels])
    rows = counts(swapped)
    assert [row[:2] for row in rows] == [("error", "class-order")] * 2
    assert "'fear' has the 705 of 'anger', 'anger' has the 281 of 'fear'" in rows[0][3]


@pytest.mark.parametrize(
    ("change", "train", "test"),
    [
        (lambda labels: labels + 1,
         "'fear' has the 1,290 of 'surprise'; labels are one too high: a 1-based list read as 0-based",
         "'fear' has the 329 of 'surprise'; labels are one too high: a 1-based list read as 0-based"),
        (lambda labels: labels - 1,
         "'surprise' has the 281 of 'fear'; labels are one too low: a 0-based list read as 1-based",
         "'surprise' has the 74 of 'fear'; labels are one too low: a 0-based list read as 1-based"),
        (lambda labels: (labels + 1) % 7,
         "'fear' has the 1,290 of 'surprise'; labels are one too high: a 1-based list read as 0-based",
         "'fear' has the 329 of 'surprise'; labels are one too high: a 1-based list read as 0-based"),
    ],
)  # fmt: skip
def test_labels_off_by_one_are_a_label_base(indexed, change, train, test):
    rows = counts(relabelled(indexed, change))
    assert [row[:2] for row in rows] == [("error", "label-base")] * 2
    start = "the class counts are the published ones shifted by one class: "
    assert [row[3] for row in rows] == [f"train: {start}{train}", f"test: {start}{test}"]


@pytest.mark.parametrize(
    ("found", "published", "shift"),
    [
        ([0, 5, 6], [5, 6, 7], 1),
        ([6, 7, 0], [5, 6, 7], -1),
        ([5, 6, 7], [5, 6, 7], 0),
        ([9, 5, 5], [5, 5, 5], 0),  # equal counts tell nothing
        ([0, 5], [5, 6], 0),  # nor do two classes
        ([0, 6, 5], [5, 6, 7], 0),
    ],
)
def test_a_shift_is_recognised(found, published, shift):
    assert label_shift(np.array(found), np.array(published)) == shift


def test_splits_of_ones_own_are_not_held_against_the_published_ones(indexed):
    result = checked(make_splits(indexed, SplitOptions("hold-out", group="none")), only=("counts",))
    assert result.findings == ()
    published = apply_protocol(indexed, "official").manifest
    assert counts(published) == []
    carved = carve_validation(published, ValidationOptions("stratified"), seed=0)
    assert counts(carved) == []
    relabelled_test = relabelled(carved, lambda labels: np.array([0, 5, 2, 3, 4, 1, 6])[labels])
    assert [(row[1], row[3].partition(":")[0]) for row in counts(relabelled_test)] == [("class-order", "test")]


def test_without_a_card_it_says_why_nothing_is_compared(indexed):
    unknown = indexed.replace(provenance={})
    result = checked(unknown, skip=("files", "frames", "pictures"))
    assert (result.checked, result.findings) == (("rows", "clips", "leaks"), ())
    assert result.not_checked == {
        "counts": "the manifest does not say which dataset with a card it is of",
        "packs": "its samples lie in no packs",
    }
    other = indexed.replace(labels=LabelSet.of(read_card("raf-db").labels.names[::-1]))
    reason = checked(other, only=("counts",)).not_checked["counts"]
    assert reason == "its classes are not those of the card of raf-db in their order"
    assert dataclasses.asdict(result)["visited"] == 0
