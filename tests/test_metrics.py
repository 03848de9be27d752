"""Metrics against scikit-learn, a hand-worked example and the field's published arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ferbench.errors import PredictionsError
from ferbench.metrics import (
    METRICS,
    PROBABILITY_METRICS,
    VIEWS,
    Confusion,
    abaw2021,
    abaw_f1,
    confusion_matrix,
    f1_scores,
    kappa,
    macro_f1,
    macro_precision,
    mcc,
    precisions,
    recalls,
    uar,
    war,
    weighted_f1,
)
from ferbench.metrics.table import DIMENSIONAL_METRICS, UNITS

HAND = Confusion(np.array([[3, 1, 0], [2, 2, 0], [0, 1, 1]]), np.array([0, 0, 2]))
"""Rows true. Class 2 has two more samples that got no prediction."""


def test_a_hand_worked_matrix_gives_the_hand_worked_numbers():
    assert war(HAND) == 6 / 10
    assert uar(HAND) == pytest.approx((3 / 4 + 2 / 4 + 1 / 2) / 3)
    assert recalls(HAND).tolist() == [0.75, 0.5, 0.5]
    assert precisions(HAND).tolist() == [3 / 5, 2 / 4, 1.0]
    assert f1_scores(HAND).tolist() == pytest.approx([6 / 9, 4 / 8, 2 / 3])
    assert macro_f1(HAND) == pytest.approx((6 / 9 + 4 / 8 + 2 / 3) / 3)
    assert weighted_f1(HAND) == pytest.approx((6 / 9 * 4 + 4 / 8 * 4 + 2 / 3 * 2) / 10)


def test_samples_without_a_prediction_are_errors_of_their_class_in_the_view_of_all():
    assert war(HAND, "all") == 6 / 12
    assert recalls(HAND, "all").tolist() == [0.75, 0.5, 0.25]
    assert uar(HAND, "all") == pytest.approx((0.75 + 0.5 + 0.25) / 3)
    assert f1_scores(HAND, "all")[2] == pytest.approx(2 / (4 + 1))


def drawn(num_classes, count, seed):
    """Targets and predictions from random subsets of the classes: absent from the truth, the predictions, or both."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(rng.choice(num_classes, rng.integers(1, num_classes + 1), replace=False), count)
    predicted = rng.choice(rng.choice(num_classes, rng.integers(1, num_classes + 1), replace=False), count)
    return targets, predicted


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@given(st.integers(2, 11), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_every_metric_equals_scikit_learn_on_random_data_with_absent_classes(num_classes, count, seed):
    targets, predicted = drawn(num_classes, count, seed)
    confusion = confusion_matrix(targets, predicted, num_classes=num_classes)
    labels, present = list(range(num_classes)), sorted(set(targets.tolist()))
    assert confusion.matrix.tolist() == sk.confusion_matrix(targets, predicted, labels=labels).tolist()
    for name, value in by_scikit_learn(targets, predicted, labels, present).items():
        assert METRICS[name].function(confusion, "detected") == pytest.approx(value, abs=1e-12, nan_ok=True), name
    nan = float("nan")
    ours, theirs = (
        precisions(confusion),
        sk.precision_score(targets, predicted, labels=labels, average=None, zero_division=nan),
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(
        recalls(confusion),
        sk.recall_score(targets, predicted, labels=labels, average=None, zero_division=nan),
        atol=1e-12,
    )


def by_scikit_learn(targets, predicted, labels, present):
    """Every metric of METRICS by scikit-learn's own functions: `labels` are all classes, `present` those that occur."""
    accuracy = sk.accuracy_score(targets, predicted)
    expected = {
        "war": accuracy,
        "accuracy": accuracy,
        "uar": sk.recall_score(targets, predicted, labels=present, average="macro", zero_division=0),
        "macro_recall": sk.recall_score(targets, predicted, labels=present, average="macro", zero_division=0),
        "macro_precision": sk.precision_score(targets, predicted, labels=present, average="macro", zero_division=0),
        "macro_f1": sk.f1_score(targets, predicted, labels=present, average="macro", zero_division=0),
        "weighted_f1": sk.f1_score(targets, predicted, labels=labels, average="weighted", zero_division=0),
        "kappa": sk.cohen_kappa_score(targets, predicted),
        "mcc": sk.matthews_corrcoef(targets, predicted),
        # No `labels`: the classes that occur in either, which is what the challenge's own code does.
        "abaw2021": 0.67 * sk.f1_score(targets, predicted, average="macro", zero_division=0) + 0.33 * accuracy,
        "abaw_f1": sk.f1_score(targets, predicted, labels=labels, average="macro", zero_division=0),
    }
    assert set(expected) == set(METRICS)
    return expected


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@given(st.integers(2, 7), st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_view_of_all_equals_scikit_learn_with_a_class_that_no_sample_has(num_classes, count, seed, lost):
    targets, predicted = drawn(num_classes, count, seed)
    scored = np.random.default_rng(seed).random(count) >= lost
    confusion = confusion_matrix(targets, np.where(scored, predicted, -1), num_classes=num_classes)
    extra = np.where(scored, predicted, num_classes)
    labels, present = list(range(num_classes)), sorted(set(targets.tolist()))
    for name, value in by_scikit_learn(targets, extra, labels, present).items():
        if name == "abaw2021":  # `no prediction` is not one of the classes that its F1 is averaged over
            either = sorted(set(targets.tolist()) | set(predicted[scored].tolist()))
            f1 = sk.f1_score(targets, extra, labels=either, average="macro", zero_division=0)
            value = 0.67 * f1 + 0.33 * sk.accuracy_score(targets, extra)
        assert METRICS[name].function(confusion, "all") == pytest.approx(value, abs=1e-12, nan_ok=True), name


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_replicates_on_leading_axes_have_the_values_that_each_has_alone(num_classes, replicates, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 4, (replicates, 2, num_classes, num_classes)) * rng.integers(0, 2, (replicates, 2, 1, 1))
    unscored = rng.integers(0, 3, (replicates, 2, num_classes))
    for name, row in METRICS.items():
        for view in VIEWS:
            together = row.function(Confusion(matrix, unscored), view)
            assert together.shape == (replicates, 2)
            for index in np.ndindex(replicates, 2):
                alone = row.function(Confusion(matrix[index], unscored[index]), view)
                assert isinstance(alone, float)
                assert together[index] == pytest.approx(alone, abs=1e-15, nan_ok=True), (name, view)


def test_the_abaw_2021_score_is_the_published_one_of_its_f1_and_accuracy():
    # xinqi-fan/ABAW2021's README: F1 0.4133, accuracy 0.6216. The leaderboard: 76.33 and 80.69 make 77.77.
    assert round(0.67 * 0.4133 + 0.33 * 0.6216, 4) == 0.4820
    assert round(0.67 * 76.33 + 0.33 * 80.69, 2) == 77.77
    confusion = confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), num_classes=4)
    # F1: 2/3, 1, 0 for the class that was only predicted; the fourth class is nowhere. Accuracy 3/4.
    assert abaw2021(confusion) == pytest.approx(0.67 * (2 / 3 + 1 + 0) / 3 + 0.33 * 0.75)
    assert abaw_f1(confusion) == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    assert macro_f1(confusion) == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_that_is_predicted_but_absent_lowers_only_what_says_so():
    confusion = confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), num_classes=3)
    assert (war(confusion), uar(confusion)) == (0.75, 0.75)
    assert macro_precision(confusion) == 1.0
    # Observed 3/4; chance (2 * 1 + 2 * 2 + 0 * 1) / 16 = 6/16.
    assert kappa(confusion) == pytest.approx((12 / 16 - 6 / 16) / (1 - 6 / 16))
    # (3 * 4 - 6) / sqrt((16 - 8) (16 - 6))
    assert mcc(confusion) == pytest.approx(6 / math.sqrt(8 * 10))


def test_one_class_only_leaves_kappa_undefined_and_mcc_zero():
    confusion = confusion_matrix(np.array([1, 1]), np.array([1, 1]), num_classes=3)
    values = {name: row.function(confusion, "detected") for name, row in METRICS.items()}
    assert math.isnan(values.pop("kappa"))
    assert values.pop("mcc") == 0.0
    assert values.pop("abaw_f1") == pytest.approx(1 / 3)
    assert set(values.values()) == {1.0}


def test_an_empty_fold_has_no_value_of_any_metric():
    empty = confusion_matrix(np.zeros(0, int), np.zeros(0, int), num_classes=3)
    for name, row in METRICS.items():
        for view in VIEWS:
            assert math.isnan(row.function(empty, view)), name
    for name, of_probabilities in PROBABILITY_METRICS.items():
        assert math.isnan(of_probabilities.function(np.zeros((0, 3)), np.zeros(0, int))), name
    for name, dimensional in DIMENSIONAL_METRICS.items():
        assert math.isnan(dimensional.function(np.zeros(0), np.zeros(0))), name


def test_counts_of_a_billion_do_not_overflow():
    confusion = Confusion(np.full((2, 2), 10**9) + np.eye(2, dtype=int) * 2 * 10**9, np.zeros(2, int))
    assert mcc(confusion) == pytest.approx(0.5)
    assert kappa(confusion) == pytest.approx(0.5)


def test_uar_equals_balanced_accuracy_when_a_class_is_absent_from_the_truth():
    targets, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    confusion = confusion_matrix(targets, predicted, num_classes=3)
    assert uar(confusion) == 0.75
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert sk.balanced_accuracy_score(targets, predicted) == 0.75


def test_a_class_never_predicted_has_recall_zero_and_no_precision():
    confusion = confusion_matrix(np.array([0, 1]), np.array([0, 0]), num_classes=2)
    assert recalls(confusion).tolist() == [1.0, 0.0]
    assert precisions(confusion)[0] == 0.5
    assert math.isnan(precisions(confusion)[1])
    assert uar(confusion) == 0.5


def test_without_any_prediction_the_detected_view_is_undefined_and_the_view_of_all_is_zero():
    confusion = confusion_matrix(np.array([0, 1]), np.array([-1, -1]), num_classes=2)
    for name, metric in METRICS.items():
        assert math.isnan(metric.function(confusion, "detected")), name
        assert metric.function(confusion, "all") == 0.0, name


@pytest.mark.parametrize(
    ("recalls_percent", "expected_war", "expected_uar"),
    [
        ([84.05, 62.57, 67.52, 70.03, 56.43, 3.45, 31.78], 65.70, 53.69),  # Former-DFER
        ([75.17, 39.49, 55.11, 62.49, 45.00, 1.38, 20.51], 53.54, 42.74),  # C3D
    ],
)
def test_published_dfew_rows_follow_from_their_per_class_recalls(recalls_percent, expected_war, expected_uar):
    support = np.array([2445, 1894, 2669, 2173, 1469, 145, 902])
    assert round(float((np.array(recalls_percent) * support).sum() / support.sum()), 2) == expected_war
    assert round(float(np.mean(recalls_percent)), 2) == expected_uar
    correct = np.rint(np.array(recalls_percent) / 100 * support).astype(int)
    matrix = np.diag(correct)
    # The errors go to a neighbouring class; WAR and UAR do not depend on which.
    matrix[np.arange(7), (np.arange(7) + 1) % 7] += support - correct
    confusion = Confusion(matrix, np.zeros(7, int))
    assert round(100 * war(confusion), 2) == expected_war
    # The published recalls are means over folds, whole clips are not: one of the 145 disgust clips is 0.1 points of UAR.
    assert 100 * uar(confusion) == pytest.approx(expected_uar, abs=0.02)
    assert war(confusion) == pytest.approx(float((recalls(confusion) * support).sum() / support.sum()))


def test_confusions_add_up_for_pooling():
    doubled = HAND + HAND
    assert doubled.matrix.tolist() == (2 * HAND.matrix).tolist()
    assert doubled.unscored.tolist() == [0, 0, 4]
    assert war(doubled) == war(HAND)


@pytest.mark.parametrize(("targets", "predicted"), [([3], [0]), ([0], [3]), ([-1], [0]), ([0], [-2])])
def test_labels_outside_the_classes_are_refused(targets, predicted):
    with pytest.raises(PredictionsError, match=r"is outside"):
        confusion_matrix(np.array(targets), np.array(predicted), num_classes=3)


def test_every_metric_says_what_it_is():
    for metric in [*METRICS.values(), *PROBABILITY_METRICS.values()]:
        assert metric.definition
        assert metric.absent_class
        assert metric.source
        assert metric.unit in UNITS
    for dimensional in DIMENSIONAL_METRICS.values():
        assert dimensional.definition
        assert dimensional.source
        assert dimensional.unit in UNITS
    assert VIEWS == ("detected", "all")
