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
    VIEWS,
    Confusion,
    confusion_matrix,
    f1_scores,
    macro_f1,
    precisions,
    recalls,
    uar,
    war,
    weighted_f1,
)  # fmt: skip

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


@given(st.integers(2, 11), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_every_metric_equals_scikit_learn_on_random_data_with_absent_classes(num_classes, count, seed):
    rng = np.random.default_rng(seed)
    # Drawn from random subsets, so that classes are absent from the truth, from the predictions, or both.
    targets = rng.choice(rng.choice(num_classes, rng.integers(1, num_classes + 1), replace=False), count)
    predicted = rng.choice(rng.choice(num_classes, rng.integers(1, num_classes + 1), replace=False), count)
    confusion = confusion_matrix(targets, predicted, num_classes=num_classes)
    labels, present = list(range(num_classes)), sorted(set(targets.tolist()))
    assert confusion.matrix.tolist() == sk.confusion_matrix(targets, predicted, labels=labels).tolist()
    expected = {
        "war": sk.accuracy_score(targets, predicted),
        "accuracy": sk.accuracy_score(targets, predicted),
        "uar": sk.recall_score(targets, predicted, labels=present, average="macro", zero_division=0),
        "macro_f1": sk.f1_score(targets, predicted, labels=present, average="macro", zero_division=0),
        "weighted_f1": sk.f1_score(targets, predicted, labels=labels, average="weighted", zero_division=0),
    }
    assert set(expected) == set(METRICS)
    for name, value in expected.items():
        assert METRICS[name].function(confusion, "detected") == pytest.approx(value, abs=1e-12), name
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
    for metric in METRICS.values():
        assert metric.definition
        assert metric.absent_class
        assert metric.source
    assert VIEWS == ("detected", "all")
