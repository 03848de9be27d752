"""The class order: planted permutations are named, and nothing is said of weak, guessing or truly confused models."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from ferbench.audits.orders import known_orders
from ferbench.audits.permutation import audit_class_order, best_order, cycles, log_sign_test
from ferbench.audits.subject import Scored
from ferbench.labels import LabelSet
from ferbench.predictions import Predictions

DFEW = ("happy", "sad", "neutral", "anger", "surprise", "disgust", "fear")
DFEW_FOLD = (489, 379, 534, 435, 294, 29, 181)
DFEW_ALL = (2445, 1894, 2669, 2173, 1469, 145, 902)
FORMER_DFER = (84.05, 62.57, 67.52, 70.03, 56.43, 3.45, 31.78)
C3D = (75.17, 39.49, 55.11, 62.49, 45.00, 1.38, 20.51)


def scored(matrix, names=DFEW, *, classes=()):
    """Predictions with that confusion matrix; `classes` is what the model says its outputs are."""
    matrix = np.asarray(matrix)
    targets = np.repeat(np.arange(len(matrix)), matrix.sum(axis=1))
    predicted = np.concatenate([np.repeat(np.arange(len(matrix)), row) for row in matrix])
    logits = np.zeros((len(targets), len(matrix)), np.float32)
    logits[np.arange(len(targets)), predicted] = 1
    count = len(targets)
    provenance = {"input_spec": {"classes": list(classes)}} if classes else {}
    return Scored(
        Predictions(
            tuple(map(str, range(count))),
            targets,
            logits,
            ("all",) * count,
            (None,) * count,
            LabelSet.of(names),
            provenance,
        )
    )


def published(recalls, counts):
    """A matrix with these recalls in percent; what is wrong goes where the frequent classes are."""
    matrix = np.zeros((len(counts), len(counts)), np.int64)
    for row, (recall, count) in enumerate(zip(recalls, counts, strict=True)):
        matrix[row, row] = round(recall * count / 100)
        others = [column for column in range(len(counts)) if column != row]
        share = np.array([counts[column] for column in others]) / sum(counts[column] for column in others)
        wrong = np.floor(share * (count - matrix[row, row])).astype(int)
        matrix[row, others] = wrong
        matrix[row, others[int(wrong.argmax())]] += count - matrix[row].sum()
    return matrix


def renamed(matrix, outputs, meant):
    """The matrix when outputs called `outputs` mean `meant`: columns move."""
    moved = np.zeros_like(matrix)
    for called, is_ in zip(outputs, meant, strict=True):
        moved[:, DFEW.index(called)] = matrix[:, DFEW.index(is_)]
    return moved


TRAINED = published(FORMER_DFER, DFEW_FOLD)


def the_finding(found):
    (finding,) = found
    assert finding.severity == "error"
    return finding


def test_two_swapped_classes_are_named_with_the_numbers():
    swapped = renamed(TRAINED, ("happy", "neutral"), ("neutral", "happy"))
    for column in range(7):
        if DFEW[column] not in ("happy", "neutral"):
            swapped[:, column] = TRAINED[:, column]
    finding = the_finding(audit_class_order(scored(swapped)))
    assert finding.rule == "class-order"
    assert "happy and neutral are swapped" in finding.message
    assert f"true happy: {TRAINED[0, 0]} of 489 predicted as neutral, {TRAINED[0, 2]} as happy" in finding.message
    right = (100 * np.mean(np.diag(TRAINED) / TRAINED.sum(axis=1)), 100 * np.trace(TRAINED) / TRAINED.sum())
    wrong = (100 * np.mean(np.diag(swapped) / swapped.sum(axis=1)), 100 * np.trace(swapped) / swapped.sum())
    assert (
        f"UAR {right[0]:.1f} instead of {wrong[0]:.1f} and WAR {right[1]:.1f} instead of {wrong[1]:.1f}"
        in finding.message
    )
    assert finding.advice == (
        "if it is the model: --input classes=neutral,sad,happy,anger,surprise,disgust,fear; if it is the label file, its "
        "order is neutral,sad,happy,anger,surprise,disgust,fear"
    )


@pytest.mark.parametrize(
    ("order", "story"),
    [
        (tuple(sorted(DFEW)), "in alphabetical order, as torchvision's ImageFolder sorts folders"),
        (
            ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"),
            "in the order of affectnet-7, raf-db as ma-net has it",
        ),
        (("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral"), "in the order of raf-db"),
        (DFEW[::-1], "in reversed order"),
    ],
)
def test_a_known_order_is_called_by_its_name(order, story):
    # The model's outputs are in `order`, and were taken for those of DFEW.
    finding = the_finding(audit_class_order(scored(renamed(TRAINED, DFEW, order))))
    assert finding.rule == "class-order"
    assert f"the model's outputs are {story}: {', '.join(order)}" in finding.message
    assert f"--input classes={','.join(order)}" in finding.advice


def test_the_order_of_the_labels_is_told_from_that_of_the_outputs():
    # Here the integers of the label file are alphabetical, and were taken for DFEW's.
    files = sorted(DFEW)
    rows = np.zeros_like(TRAINED)
    for number, name in enumerate(files):
        rows[number] = TRAINED[DFEW.index(name)]
    finding = the_finding(audit_class_order(scored(rows)))
    assert (
        f"the labels count in alphabetical order, as torchvision's ImageFolder sorts folders: {', '.join(files)}"
        in (finding.message)
    )
    assert finding.advice.endswith(f"if it is the label file, its order is {','.join(files)}")
    # The other reading: a model whose first output, called happy, means what the files call number 0.
    of_model = finding.advice.split("classes=")[1].split(";")[0].split(",")
    assert of_model == [DFEW[files.index(name)] for name in DFEW]


def test_a_models_own_order_is_looked_at_in_its_own_words():
    # It says it is alphabetical, and is in truth reversed alphabetical; the manifest has DFEW's order.
    says, means = sorted(DFEW), sorted(DFEW)[::-1]
    finding = the_finding(audit_class_order(scored(renamed(TRAINED, says, means), classes=says)))
    assert (
        "the model's outputs are in reversed order: surprise, sad, neutral, happy, fear, disgust, anger"
        in finding.message
    )


@pytest.mark.parametrize(("by", "words"), [(1, "one place too high"), (-1, "one place too low")])
def test_labels_off_by_one_are_the_label_base(by, words):
    finding = the_finding(audit_class_order(scored(np.roll(TRAINED, by, axis=1))))
    assert finding.rule == "label-base"
    assert words in finding.message
    assert "starts at 0 or at 1" in finding.advice


def test_labels_off_by_one_are_seen_when_a_class_is_lost():
    # 1-based labels of seven classes under a label set of eight: nothing is class 0, every prediction is one too low.
    matrix = np.zeros((8, 8), np.int64)
    matrix[1:, :7] = TRAINED
    finding = the_finding(audit_class_order(scored(matrix, ("contempt", *DFEW))))
    assert finding.rule == "label-base"
    assert finding.message.endswith("no sample is contempt")
    # Clipped at the top instead: the last two classes became one.
    clipped = np.zeros((7, 7), np.int64)
    clipped[1:] = TRAINED[:6]
    clipped[6] += TRAINED[6]
    assert the_finding(audit_class_order(scored(clipped))).rule == "label-base"


@pytest.mark.parametrize("size", [8, 11, 43])
def test_a_swap_among_many_classes_is_found(size):
    names = [f"class{number}" for number in range(size)]
    matrix = np.full((size, size), 1) + 60 * np.eye(size, dtype=int)
    matrix[:, [2, 5]] = matrix[:, [5, 2]]
    assert "class2 and class5 are swapped" in the_finding(audit_class_order(scored(matrix, names))).message


def test_two_swaps_and_a_cycle_are_all_named():
    matrix = np.full((9, 9), 2) + 60 * np.eye(9, dtype=int)
    columns = [1, 0, 3, 2, 5, 6, 4, 7, 8]
    finding = the_finding(audit_class_order(scored(matrix[:, columns], [f"c{number}" for number in range(9)])))
    assert "c0 and c1 are swapped; c2 and c3 are swapped; c4 is taken for c6 is taken for c5 is taken for c4" in (
        finding.message
    )


# --- no false alarm ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [DFEW_ALL, DFEW_FOLD, (10, 8, 11, 9, 6, 2, 4)])
@pytest.mark.parametrize("recalls", [FORMER_DFER, C3D])
def test_published_rows_have_no_finding(recalls, counts):
    assert audit_class_order(scored(published(recalls, counts))) == []


def test_the_published_rows_are_those_of_the_papers():
    # The reconstruction above has the papers' WAR and UAR, so that the test is about a real model.
    for recalls, war, uar in ((FORMER_DFER, 65.70, 53.69), (C3D, 53.54, 42.74)):
        matrix = published(recalls, DFEW_ALL)
        assert 100 * np.trace(matrix) / matrix.sum() == pytest.approx(war, abs=0.01)
        assert 100 * np.mean(np.diag(matrix) / matrix.sum(axis=1)) == pytest.approx(uar, abs=0.02)


def test_classes_that_are_truly_confused_have_no_finding():
    # Fear is called surprise more often than fear, and disgust anything but: as in every system on DFEW.
    matrix = TRAINED.copy()
    matrix[6] = [5, 20, 20, 15, 70, 0, 51]
    matrix[5] = [2, 6, 9, 10, 1, 1, 0]
    assert audit_class_order(scored(matrix)) == []
    both_ways = np.array([[400, 600], [600, 400]])  # beyond any doubt, and not by 15 points on average over own hits x3
    three = np.pad(both_ways, (0, 1))
    three[2, 2] = 1000
    assert audit_class_order(scored(three, ("sad", "neutral", "happy"))) == []


def guessing(rng, counts):
    """A model whose predictions do not depend on the class, with any preference."""
    preference = rng.dirichlet(np.full(len(counts), rng.choice([0.05, 0.3, 1, 10])))
    return np.array([rng.multinomial(count, preference) for count in counts])


def weak(rng, counts, *, shift):
    """A nearest-mean classifier of Gaussian classes in few dimensions: means known from 3 to 1,000 samples, any prior."""
    size, dims = len(counts), int(rng.integers(2, 12))
    means = rng.normal(size=(size, dims)) * rng.uniform(0, 2)
    known = (
        means
        + rng.normal(size=(size, dims)) / math.sqrt(rng.choice([3, 20, 1000]))
        + shift * rng.normal(size=(1, dims))
    )
    prior = np.log((np.array(counts) + 1) / (sum(counts) + size)) * rng.choice([0, 1, 1.5])
    matrix = np.zeros((size, size), np.int64)
    for row, count in enumerate(counts):
        points = means[row] + rng.normal(size=(count, dims))
        logits = prior - ((points[:, None] - known) ** 2).sum(axis=2) / 2
        matrix[row] = np.bincount(logits.argmax(axis=1), minlength=size)
    return matrix


def trained(rng, counts):
    """Any recalls of a trained model, weaker for rare classes; mistakes go to similar and to frequent classes."""
    prior = np.array(counts) / sum(counts)
    towards = prior ** rng.uniform(0, 1.5) * rng.dirichlet(np.full(len(counts), rng.uniform(0.2, 2)), size=len(counts))
    np.fill_diagonal(towards, 0)
    towards /= np.maximum(towards.sum(axis=1, keepdims=True), 1e-12)
    recall = rng.beta(5, 3, size=len(counts)) * np.clip(prior * len(counts), 0.05, 1) ** rng.uniform(0, 1)
    rates = np.diag(recall) + (1 - recall)[:, None] * towards
    return np.array([rng.multinomial(count, row / row.sum()) for count, row in zip(counts, rates, strict=True)])


@pytest.mark.parametrize(
    ("kind", "make"),
    [("trained", trained), ("guessing", guessing), ("weak", lambda rng, counts: weak(rng, counts, shift=0)),
     ("weak, on other data", lambda rng, counts: weak(rng, counts, shift=1))],
)  # fmt: skip
@pytest.mark.parametrize("counts", [DFEW_FOLD, (5,) * 7, (30,) * 7, (300,) * 7, (2, 3, 1, 5, 2, 0, 4), (100, 60, 20)])
def test_no_false_alarm_in_simulated_models(kind, make, counts):
    rng = np.random.default_rng(5)
    names = DFEW[: len(counts)]
    alarms = [audit_class_order(scored(make(rng, counts), names)) for _ in range(60)]
    assert [alarm for alarm in alarms if alarm] == []


@pytest.mark.parametrize(
    "matrix", [np.zeros((7, 7), int), np.diag([3] * 7), [[0, 40, 0], [0, 60, 0], [0, 9, 0]], [[12]]]
)
def test_empty_tiny_perfect_and_constant_matrices_have_no_finding(matrix):
    assert audit_class_order(scored(matrix, DFEW[: len(matrix)])) == []


def test_a_class_that_occurs_and_one_that_does_not_are_not_swapped_on_the_strength_of_one():
    # Every disgust is called contempt, which no sample is: confusion, as far as anyone can tell.
    matrix = np.pad(TRAINED * 0 + np.diag(DFEW_FOLD), (0, 1))
    matrix[5] = [0, 0, 0, 0, 0, 1, 0, 28]
    assert audit_class_order(scored(matrix, (*DFEW, "contempt"))) == []


def test_a_small_gain_is_no_finding_however_sure_it_is():
    # Two classes that are hardly ever recognised, each called the other in 9 of 100 cases and itself in 1, of 43.
    matrix = 3000 * np.eye(43, dtype=int) + 20
    for row, other in ((0, 1), (1, 0)):
        matrix[row] = 70
        matrix[row, [row, other]] = 30, 270
    names = [f"class{number}" for number in range(43)]
    assert audit_class_order(scored(matrix, names)) == []
    matrix[[0, 1], [1, 0]] = 2500
    assert "class0 and class1 are swapped" in the_finding(audit_class_order(scored(matrix, names))).message


def test_an_order_that_helps_half_of_its_classes_is_no_finding():
    # The best order is one cycle of four, and two of the four are better off as they are.
    matrix = np.array([[0, 270, 0, 30], [0, 0, 270, 30], [0, 93, 105, 102], [99, 99, 0, 102]])
    assert best_order(matrix).tolist() == [1, 2, 3, 0]
    assert audit_class_order(scored(matrix, ("c0", "c1", "c2", "c3"))) == []


# --- the parts ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_is_the_binomial_test(more, fewer):
    expected = binomtest(more, more + fewer, 0.5, alternative="greater").pvalue if more + fewer else 1.0
    assert log_sign_test(more, fewer) == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)


def test_the_sign_test_does_not_underflow():
    assert log_sign_test(100_000, 10) == pytest.approx(-69_315 + 10 * math.log(100_000) - math.lgamma(11), rel=1e-3)


@given(st.permutations(list(range(6))))
@settings(max_examples=30)
def test_the_best_order_undoes_any_renaming(order):
    matrix = np.full((6, 6), 1) + 9 * np.eye(6, dtype=int)
    columns = best_order(matrix[:, order])
    assert [order[column] for column in columns] == list(range(6))
    assert sorted(place for cycle in cycles(columns) for place in cycle) == [
        place for place in range(6) if columns[place] != place
    ]


@pytest.mark.parametrize("row", [[1, 1, 1, 1], [1, 2, 3, 4], [5, 2, 3, 0]])
def test_the_present_order_wins_a_tie(row):
    assert best_order(np.array([row] * 4)).tolist() == [0, 1, 2, 3]


def test_known_orders_are_permutations_and_each_is_there_once():
    orders = known_orders(LabelSet.of(DFEW))
    columns = [tuple(order.columns.tolist()) for order in orders]
    assert len(set(columns)) == len(columns)
    assert all(sorted(each) == list(range(7)) for each in columns)
    assert tuple(range(7)) not in columns
