"""Metrics of probabilities and of valence and arousal: by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ferbench.metrics import calibration, softmax
from ferbench.metrics.dimensional import ccc, pearson, rmse
from ferbench.metrics.probabilities import brier, ece, nll, top2

INFINITE = float("inf")


def logits_of(probabilities) -> np.ndarray:
    """Logits whose softmax is given."""
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities, float))


def test_a_softmax_adds_up_to_one_however_large_the_logits():
    assert softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]])).tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_a_class_that_the_model_does_not_know_has_probability_zero():
    logits = np.array([[0.0, -INFINITE, 0.0]])
    assert softmax(logits).tolist() == [[0.5, 0.0, 0.5]]
    assert nll(logits, np.array([0])) == pytest.approx(math.log(2))
    assert nll(logits, np.array([1])) == INFINITE
    assert brier(logits, np.array([1])) == 1.5
    assert top2(logits, np.array([1])) == 0.0
    assert ece(logits, np.array([0])) == 0.5


def test_top_2_looks_at_the_two_highest_and_takes_the_lower_class_of_equals():
    logits = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert top2(logits[:1], np.array([0])) == 1.0
    assert top2(logits, np.array([0, 1, 2, 1, 2])) == 3 / 5


@given(st.integers(3, 9), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_probability_metrics_equal_scikit_learn(num_classes, count, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, num_classes))
    targets = rng.integers(0, num_classes, count)
    labels = list(range(num_classes))
    assert top2(logits, targets) == pytest.approx(sk.top_k_accuracy_score(targets, logits, k=2, labels=labels))
    assert nll(logits, targets) == pytest.approx(sk.log_loss(targets, softmax(logits), labels=labels))
    expected = sk.brier_score_loss(targets, softmax(logits), labels=labels, scale_by_half=False)
    assert brier(logits, targets) == pytest.approx(expected)


@given(st.integers(2, 9), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_the_calibration_error_equals_a_loop_over_bins(num_classes, count, seed):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 3, (count, num_classes)), rng.integers(0, num_classes, count)
    confidence = softmax(logits).max(axis=1)
    right = np.argmax(logits, axis=1) == targets
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert ece(logits, targets) == pytest.approx(expected)


def test_a_hand_worked_calibration():
    # Confidence 0.9 twice, once right; 0.6 twice, both right.
    logits = logits_of([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    targets = np.array([0, 1, 0, 1])
    assert ece(logits, targets) == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6))
    bins = calibration(logits, targets, num_bins=4)
    assert bins.edges.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert bins.count.tolist() == [0, 0, 2, 2]
    assert bins.confidence[2:].tolist() == pytest.approx([0.6, 0.9])
    assert bins.accuracy[2:].tolist() == [1.0, 0.5]
    assert np.isnan(bins.accuracy[:2]).all()
    assert np.isnan(bins.confidence[:2]).all()


def test_a_confidence_on_an_edge_is_in_the_bin_below_it():
    assert calibration(np.array([[0.0, 0.0]]), np.array([0]), num_bins=4).count.tolist() == [0, 1, 0, 0]


def test_certain_predictions_are_in_the_last_bin():
    bins = calibration(np.array([[0.0, -INFINITE]]), np.array([0]))
    assert bins.count.tolist() == [0] * 14 + [1]
    assert ece(np.array([[0.0, -INFINITE]]), np.array([0])) == 0.0


# --- valence and arousal -------------------------------------------------------------------------------------------------


def test_a_hand_worked_concordance():
    # Means 1 and 2, population variances 2/3 and 2/3, covariance 2/3: 2 * 2/3 / (4/3 + 1).
    x, y = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert ccc(x, y) == pytest.approx(4 / 7)
    assert pearson(x, y) == pytest.approx(1.0)
    assert rmse(x, y) == 1.0


def test_concordance_divides_by_n_and_not_by_n_minus_1():
    # With n - 1 it would be 2 / (1 + 1 + 1) = 2/3.
    assert ccc(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) != pytest.approx(2 / 3)


def test_opposite_values_agree_at_minus_one():
    x = np.array([-1.0, 0.0, 1.0])
    assert ccc(x, -x) == pytest.approx(-1.0)
    assert pearson(x, -x) == pytest.approx(-1.0)


def test_a_constant_prediction_agrees_not_at_all_and_has_no_correlation():
    target, constant = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    assert ccc(target, constant) == 0.0
    assert math.isnan(pearson(target, constant))
    assert rmse(target, constant) == pytest.approx(math.sqrt((1.5**2 + 0.5**2) / 2))
    assert math.isnan(ccc(constant, constant))


@given(st.integers(2, 50), st.integers(0, 2**32 - 1))
def test_correlation_and_error_equal_numpy_and_scikit_learn(count, seed):
    x, y = np.random.default_rng(seed).normal(0, 1, (2, count))
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert rmse(x, y) == pytest.approx(sk.root_mean_squared_error(x, y))
    # Lin's other form: correlation times the closeness of means and scales.
    closeness = 2 / (x.std() / y.std() + y.std() / x.std() + (x.mean() - y.mean()) ** 2 / (x.std() * y.std()))
    assert ccc(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1] * closeness)


def test_pairs_of_different_length_are_refused():
    with pytest.raises(ValueError, match="both must be"):
        ccc(np.zeros(2), np.zeros(3))
