"""Published folds, rebuilt from labels alone; and the validation part carved out of train."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold
from trees import spread

from ferbench.errors import ProtocolError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of, read_manifest, write_manifest
from ferbench.protocol import folds_of
from ferbench.protocols import apply_protocol
from ferbench.protocols.rules import Rows, contiguous_blocks, subject_blocks, subject_modulo
from ferbench.validation import ValidationOptions, carve_validation

DFEW = (2445, 1894, 2669, 2173, 1469, 145, 902)
"""Of the 11,697 clips in the released folds: happy, sad, neutral, angry, surprise, disgust, fear."""
DFEW_FOLDS = {
    1: (489, 379, 534, 435, 294, 29, 181), 2: (489, 379, 534, 435, 294, 29, 181), 3: (489, 379, 534, 435, 294, 29, 180),
    4: (489, 379, 534, 434, 294, 29, 180), 5: (489, 378, 533, 434, 293, 29, 180),
}  # fmt: skip
MAFW = (1390, 639, 625, 1242, 1138, 1470, 1072, 236, 916, 262, 182)
MAFW_FOLDS = {
    1: (278, 128, 125, 249, 228, 294, 215, 48, 184, 53, 37), 2: (278, 128, 125, 249, 228, 294, 215, 47, 183, 53, 37),
    3: (278, 128, 125, 248, 228, 294, 214, 47, 183, 52, 36), 4: (278, 128, 125, 248, 227, 294, 214, 47, 183, 52, 36),
    5: (278, 127, 125, 248, 227, 294, 214, 47, 183, 52, 36),
}  # fmt: skip


def rows_of(labels, ids=None, subjects=None) -> Rows:
    ids = ids if ids is not None else [f"{number:05d}" for number in range(len(labels))]
    return Rows("toy", list(ids), np.array(labels), subjects or [None] * len(labels))


def with_gaps(count: int, last: int) -> list[str]:
    """`count` ascending five-digit ids up to `last`, with holes."""
    rng = np.random.default_rng(1)
    return [f"{number:05d}" for number in np.sort(rng.choice(np.arange(1, last + 1), count, replace=False))]


@pytest.mark.parametrize(
    ("classes", "last", "sizes", "per_class"),
    [
        (DFEW, 16372, [2341, 2341, 2340, 2339, 2336], DFEW_FOLDS),
        (MAFW, 20098, [1839, 1837, 1833, 1832, 1831], MAFW_FOLDS),
    ],
)
def test_the_published_fold_sizes_come_from_a_label_table_with_gaps(classes, last, sizes, per_class):
    labels = np.array(spread(classes))
    numbers = contiguous_blocks(rows_of(labels, with_gaps(len(labels), last)), {"folds": 5})
    assert np.bincount(numbers)[1:].tolist() == sizes
    for fold, counts in per_class.items():
        assert tuple(np.bincount(labels[numbers == fold]).tolist()) == counts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=40, max_size=200), st.integers(2, 6), st.randoms(use_true_random=False))
def test_contiguous_blocks_is_the_unshuffled_stratified_k_fold_when_class_sizes_divide(labels, folds, random):
    # scikit-learn deals the remainders round the classes; where nothing remains, both rules are the same one.
    labels = sorted(labels)
    labels = [label for label in range(4) for _ in range(labels.count(label) // folds * folds)]
    random.shuffle(labels)
    if not labels:
        return
    ours = contiguous_blocks(rows_of(labels), {"folds": folds})
    for number, (_, test) in enumerate(StratifiedKFold(folds).split(labels, labels), start=1):
        assert np.flatnonzero(ours == number).tolist() == test.tolist()


def test_the_row_order_and_the_padding_of_ids_change_no_fold():
    labels, ids = np.array(spread((20, 11, 7))), [str(number) for number in range(5, 43)]
    ours = dict(zip(ids, contiguous_blocks(rows_of(labels, ids), {}), strict=True))
    order = np.random.default_rng(3).permutation(len(ids))
    shuffled = contiguous_blocks(rows_of(labels[order], [ids[row] for row in order]), {})
    assert dict(zip((ids[row] for row in order), shuffled, strict=True)) == ours
    padded = contiguous_blocks(rows_of(labels, [f"{number:0>5}" for number in ids]), {})
    assert padded.tolist() == list(ours.values())


def test_ck_plus_folds_go_by_the_sorted_subjects_index_modulo_ten():
    subjects = [f"S{number:03d}" for number in range(10, 10 + 3 * 118, 3)]
    numbers = subject_modulo(rows_of([0] * 118, subjects=subjects[::-1]), {"folds": 10})
    assert numbers[::-1].tolist() == [index % 10 + 1 for index in range(118)]
    assert np.bincount(numbers)[1:].tolist() == [12] * 8 + [11] * 2


def test_subject_blocks_go_by_the_number_in_the_subjects_name():
    subjects = ["subject 1", "subject 6", "subject 7", "subject_11", "actor 44", "subject 99"]
    numbers = subject_blocks(rows_of([0] * 6, subjects=subjects), {"blocks": [["1-5", "7-10"], ["11-19", "44"]]})
    assert numbers.tolist() == [1, 0, 1, 2, 2, 0]
    with pytest.raises(ProtocolError, match="subject 'anna' has no number"):
        subject_blocks(rows_of([0], subjects=["anna"]), {"blocks": [["1-5"]]})
    with pytest.raises(ProtocolError, match="sample '00001': it has no subject"):
        subject_blocks(rows_of([0, 0], subjects=["1", None]), {"blocks": [["1-5"]]})


def dfew(fold=None) -> Manifest:
    labels = spread(DFEW)
    ids = with_gaps(len(labels), 16372)
    return manifest_of(
        {"sample_id": ids, "path": ids, "media": ["frames"] * len(ids), "label": labels, "fold": fold},
        labels=LabelSet.of(["happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"]), name="dfew",
        root=Path("/data"), provenance={"dataset": "dfew", "facts": {"labels": "folds"}},
    )  # fmt: skip


def test_official_dfew_has_nothing_that_differs_and_says_what_selects():
    result = apply_protocol(dfew(), "official")
    assert result.findings == ()
    assert [len(fold.test) for fold in folds_of(result.manifest)] == [2341, 2341, 2340, 2339, 2336]
    protocol = result.manifest.protocol
    assert (protocol["rule"], protocol["folds"], protocol["selects"]) == ("contiguous-blocks", 5, "none")


def test_lists_that_are_not_the_published_ones_are_found_out():
    published = apply_protocol(dfew(), "official").manifest.column("fold")
    assert apply_protocol(dfew(published), "official").findings == ()
    altered = [5 if row == 7 else fold for row, fold in enumerate(published)]
    result = apply_protocol(dfew(altered), "official")
    (lists,) = [finding for finding in result.findings if finding.rule == "fold-lists"]
    assert lists.message.startswith(
        "1 samples are in another fold in this copy's lists than the published rule puts them"
    )
    assert result.manifest.column("fold") == altered
    rebuilt = apply_protocol(dfew(altered), "official", rebuild=True)
    assert (rebuilt.findings, rebuilt.manifest.column("fold")) == ((), published)


def test_a_manifest_of_no_dataset_has_no_published_protocol():
    with pytest.raises(UsageError, match="does not say which dataset it is of"):
        apply_protocol(dfew().replace(provenance={}), "official")
    with pytest.raises(UsageError, match="dfew has no protocol 'secret'; its protocols: official"):
        apply_protocol(dfew(), "secret")


def toy(num=120, subjects=12, **columns) -> Manifest:
    ids = [f"s{number:04d}" for number in range(num)]
    return manifest_of(
        {
            "sample_id": ids, "path": ids, "media": ["video"] * num, "label": [number % 3 for number in range(num)],
            "subject": [f"p{number % subjects}" for number in range(num)], **columns,
        },
        labels=LabelSet.of(["a", "b", "c"]), name="toy", root=Path("/data"),
    )  # fmt: skip


def test_a_validation_part_by_subject_shares_no_subject_with_train_or_test(tmp_path):
    folded = toy(fold=[number % 12 % 3 + 1 for number in range(120)])
    carved = carve_validation(folded, ValidationOptions("subject", 0.25), seed=0)
    write_manifest(carved, tmp_path / "m.parquet")
    folds = list(folds_of(read_manifest(tmp_path / "m.parquet")))
    assert len(folds) == 3
    for fold in folds:
        people = [set(part.column("subject")) for part in (fold.train, fold.validation, fold.test)]
        assert [len(each) for each in people] == [6, 2, 4]
        assert len(set.union(*people)) == 12
    assert carved.protocol["validation"] == {"by": "subject", "fraction": 0.25, "seed": 0}
    assert carved.protocol["selects"] == "validation"


def test_a_stratified_validation_part_has_the_class_shares_of_train():
    split = ["test" if number < 30 else "train" for number in range(120)]
    carved = carve_validation(toy(split=split), ValidationOptions("stratified", 0.1), seed=3)
    (fold,) = folds_of(carved)
    assert Counter(fold.validation.column("label")) == {0: 3, 1: 3, 2: 3}
    assert (len(fold.train), len(fold.test)) == (81, 30)
    again = carve_validation(toy(split=split), ValidationOptions("stratified", 0.1), seed=3)
    assert again.table.equals(carved.table)


@pytest.mark.parametrize(
    ("manifest", "options", "message"),
    [
        (toy(), ValidationOptions("stratified"), "has no folds and no split"),
        (toy(split=["train", "validation", "test"] * 40), ValidationOptions("stratified"), "has a validation split"),
        (toy(subject=None, split=["train", "test"] * 60), ValidationOptions("subject"), "no values in column 'subject'"),
        (toy(subjects=1, split=["train", "test"] * 60), ValidationOptions("subject"), "carved out of 60 train samples"),
    ],
)  # fmt: skip
def test_what_cannot_be_carved_is_said(manifest, options, message):
    with pytest.raises(ProtocolError, match=message):
        carve_validation(manifest, options, seed=0)


def test_options_outside_their_range_are_usage_errors():
    with pytest.raises(UsageError, match="validation is one of none, subject, stratified"):
        ValidationOptions("people")
    with pytest.raises(UsageError, match="between 0 and 1"):
        ValidationOptions("subject", 1.0)


def test_the_command_carves_and_says_so(tmp_path, ferbench):
    write_manifest(toy(), tmp_path / "m.parquet")
    command = ("make-splits", tmp_path / "m.parquet", "--folds", "3")
    ran = ferbench(*command, "-o", tmp_path / "s", "--validation", "subject", "0.25", "--json")
    assert ran.code == 0, ran.err
    assert [(fold["train"], fold["validation"], fold["test"]) for fold in ran.json["folds"]] == [
        (50, 20, 50), (60, 20, 40), (60, 30, 30),
    ]  # fmt: skip
    assert "selects" in ran.err
    plain = ferbench(*command, "-o", tmp_path / "t")
    assert "nothing is set aside to select a model on" in plain.err.replace("\n", " ")


def test_a_validation_column_of_empty_lists_is_no_validation_part(tmp_path):
    folded = toy(fold=[number % 3 + 1 for number in range(120)], validation_folds=[[] for _ in range(120)])
    assert [len(fold.validation) for fold in folds_of(folded)] == [0, 0, 0]
    assert [len(fold.train) for fold in folds_of(folded)] == [80, 80, 80]
