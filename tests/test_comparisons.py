"""Two runs over the same samples: joined by id, drawn together, and tested."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ferbench.comparisons import compare_paired, holm, mcnemar
from ferbench.errors import PredictionsError, UsageError
from ferbench.intervals import BootstrapOptions
from ferbench.labels import LabelSet
from ferbench.metrics import METRICS, VIEWS, confusion_matrix
from ferbench.predictions import Predictions, one_hot_logits

LABELS = LabelSet.of(["neutral", "happy", "sad"])
OPTIONS = BootstrapOptions(replicates=400, seed=3)


def run_of(targets, predicted, *, folds=None, ids=None, labels=LABELS, **attributes) -> Predictions:
    count = len(targets)
    return Predictions(
        sample_ids=tuple(ids or (f"s{number}" for number in range(count))),
        targets=np.array(targets),
        logits=one_hot_logits(np.array(predicted), num_classes=len(labels)),
        folds=tuple(folds or ["all"] * count),
        errors=(None,) * count,
        labels=labels,
        attributes=attributes,
    )


def random_runs(count, seed, *, folds=1, lost=0.1):
    """Two runs of equal quality over the same samples."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, count)
    runs = []
    for _ in range(2):
        predicted = np.where(rng.random(count) < 0.6, targets, rng.integers(0, 3, count))
        predicted[rng.random(count) < lost] = -1
        runs.append(run_of(targets, predicted, folds=[str(number % folds) for number in range(count)]))
    return runs


def test_the_difference_is_that_of_the_two_runs_scored_alone():
    a, b = random_runs(90, 1, folds=3)
    comparison = compare_paired(a, b, options=OPTIONS)
    both = (a.predicted >= 0) & (b.predicted >= 0)
    for view in VIEWS:
        rows = both if view == "detected" else np.ones(90, bool)
        for name, row in METRICS.items():
            whole, by_fold = [], []
            for run in (a, b):
                matrices = [
                    confusion_matrix(run.targets[here], run.predicted[here], num_classes=3)
                    for fold in "012"
                    for here in [rows & (np.array(run.folds) == fold)]
                ]
                whole.append(row.function(matrices[0] + matrices[1] + matrices[2], view))
                by_fold.append(np.mean([row.function(matrix, view) for matrix in matrices]))
            pooled, mean = comparison.pooled[view][name], comparison.mean_of_folds[view][name]
            assert (pooled.a, pooled.b) == pytest.approx(whole)
            assert pooled.difference == pytest.approx(whole[0] - whole[1])
            assert (mean.a, mean.b) == pytest.approx(by_fold)


def test_runs_are_joined_by_id_and_classes_by_name():
    a, b = random_runs(60, 2)
    order = np.random.default_rng(0).permutation(60)
    other = LabelSet.of(["sad", "neutral", "happy"])
    turned = np.array([1, 2, 0])  # neutral, happy, sad in the other order
    predicted = np.where(b.predicted < 0, -1, turned[b.predicted])
    shuffled = run_of(
        turned[b.targets][order],
        predicted[order],
        folds=["0"] * 60,
        ids=[b.sample_ids[row] for row in order],
        labels=other,
    )
    assert compare_paired(a, shuffled, options=OPTIONS).as_dict() == compare_paired(a, b, options=OPTIONS).as_dict()


def test_a_run_does_not_differ_from_itself():
    a, _ = random_runs(50, 3)
    comparison = compare_paired(a, a, options=OPTIONS)
    for view in VIEWS:
        for cell in comparison.pooled[view].values():
            assert (cell.difference, cell.interval.low, cell.interval.high, cell.p_value) == (0.0, 0.0, 0.0, 1.0)
        assert (comparison.mcnemar[view].only_a, comparison.mcnemar[view].exact) == (0, 1.0)


def test_swapping_the_runs_turns_the_difference_round():
    a, b = random_runs(80, 4)
    forth, back = compare_paired(a, b, options=OPTIONS), compare_paired(b, a, options=OPTIONS)
    for name in METRICS:
        assert forth.pooled["all"][name].difference == pytest.approx(-back.pooled["all"][name].difference)
    assert forth.mcnemar["all"].only_a == back.mcnemar["all"].only_b


def test_the_paired_bootstrap_has_the_spread_of_drawing_samples():
    a, b = random_runs(120, 5)
    comparison = compare_paired(a, b, options=BootstrapOptions(replicates=4000, seed=1))
    rng = np.random.default_rng(2)
    right = (a.predicted == a.targets).astype(float) - (b.predicted == b.targets)
    drawn = right[rng.integers(0, 120, (4000, 120))].mean(axis=1)
    interval = comparison.pooled["all"]["war"].interval
    assert [interval.low, interval.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.009)
    tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
    assert comparison.pooled["all"]["war"].p_value == pytest.approx(2 * tail, abs=0.04)


def test_runs_that_are_right_on_the_same_samples_differ_less_surely_than_pairing_shows():
    # b is wrong where a is wrong and on two more: paired, that is never the other way round.
    targets = np.zeros(100, int)
    a = run_of(targets, np.where(np.arange(100) < 60, 0, 1))
    b = run_of(targets, np.where(np.arange(100) < 50, 0, 1))
    cell = compare_paired(a, b, options=OPTIONS).pooled["detected"]["war"]
    assert cell.difference == pytest.approx(0.1)
    assert cell.interval.low > 0
    assert cell.p_value == pytest.approx(2 / 401)


def test_whole_clusters_are_drawn_when_asked():
    # Ten people; each is all right in one run and all wrong in the other.
    targets = np.zeros(200, int)
    people = np.arange(200) // 20
    a = run_of(targets, people % 2, subject=tuple(f"p{person}" for person in people))
    b = run_of(targets, 1 - people % 2)
    by_sample = compare_paired(a, b, options=OPTIONS)
    by_subject = compare_paired(a, b, options=OPTIONS, cluster="auto")
    assert (by_sample.unit, by_sample.num_units) == ("sample", 200)
    assert (by_subject.unit, by_subject.num_units) == ("subject", 10)
    widths = [
        cell.interval.high - cell.interval.low
        for cell in (by_sample.pooled["all"]["war"], by_subject.pooled["all"]["war"])
    ]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(20), rel=0.25)


def test_other_folds_leave_out_the_mean_of_folds():
    a, b = random_runs(30, 6, folds=2)
    comparison = compare_paired(a, replace(b, folds=("all",) * 30), options=OPTIONS)
    assert comparison.mean_of_folds == {}
    assert (
        comparison.pooled["all"]["war"].difference
        == compare_paired(a, b, options=OPTIONS).pooled["all"]["war"].difference
    )


def test_other_samples_are_named():
    a = run_of([0, 1, 2, 0, 1], [0] * 5, ids=["a", "b", "c", "d", "e"])
    b = run_of([0, 1], [0] * 2, ids=["a", "x"])
    message = r"4 only in the first \('b', 'c', 'd', ...\), 1 only in the second \('x'\)"
    with pytest.raises(PredictionsError, match=message):
        compare_paired(a, b)


def test_another_true_class_is_named():
    with pytest.raises(
        PredictionsError, match=r"sample 's1' is 'happy' in the first run and 'sad' in the second \(1 sam"
    ):
        compare_paired(run_of([0, 1], [0, 0]), run_of([0, 2], [0, 0]))


def test_an_unknown_cluster_lists_what_there_is():
    a, b = random_runs(5, 7)
    with pytest.raises(UsageError, match="no column 'person' to group by; they have: fold"):
        compare_paired(a, b, cluster="person")


def test_hand_worked_mcnemar():
    # 1 against 5: 2 (1 + 6) / 64; mid-p takes off 6 / 64.
    test = mcnemar(1, 5)
    assert test.exact == pytest.approx(14 / 64)
    assert test.mid_p == pytest.approx(8 / 64)
    assert (mcnemar(0, 0).exact, mcnemar(0, 0).mid_p) == (1.0, 0.5)
    # Equal counts: 1 less half of P(X = 2) = 6/16.
    assert (mcnemar(2, 2).exact, mcnemar(2, 2).mid_p) == (1.0, pytest.approx(1 - 3 / 16))


@given(st.integers(0, 400), st.integers(0, 400))
def test_exact_mcnemar_is_the_binomial_test(only_a, only_b):
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b).exact == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_a, only_b).mid_p <= mcnemar(only_a, only_b).exact


def test_mcnemar_of_half_a_million_disagreements_is_finite():
    assert mcnemar(250_000, 252_000).exact == pytest.approx(binomtest(250_000, 502_000).pvalue, rel=1e-6)
    assert mcnemar(0, 500_000).exact == 0.0


def test_hand_worked_holm():
    # Sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 -> the last is raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
