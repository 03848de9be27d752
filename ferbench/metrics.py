"""Scores from one integer confusion matrix; numpy only.

Everything is computed from `Confusion`: rows are the true class, columns the predicted class, plus one count per class of
samples that got no prediction. Two views of it are scored: `detected` looks at predicted samples only, `all` counts every
sample without a prediction as an error of its class. Values are fractions 0..1; they become percent only when printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import PredictionsError

Counts = NDArray[np.int64]
VIEWS = ("detected", "all")


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """What was predicted for what was true, over K classes."""

    matrix: Counts
    """(K, K) rows true, columns predicted."""
    unscored: Counts
    """(K,) samples of each class without a prediction."""

    def __post_init__(self) -> None:
        size = len(self.unscored)
        if self.matrix.shape != (size, size):
            raise PredictionsError(
                f"a confusion matrix of {size} classes must be {size}x{size}, got {self.matrix.shape}"
            )

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.matrix + other.matrix, self.unscored + other.unscored)

    def support(self, view: str) -> Counts:
        """(K,) samples per true class that the view counts."""
        seen = self.matrix.sum(axis=1)
        return seen + self.unscored if view == "all" else seen  # type: ignore[no-any-return]

    def present(self, view: str) -> NDArray[np.bool_]:
        """(K,) which classes occur in the truth."""
        return self.support(view) > 0


def confusion_matrix(targets: NDArray[np.int64], predicted: NDArray[np.int64], *, num_classes: int) -> Confusion:
    """Count (target, predicted) pairs; a predicted value of -1 is a sample without a prediction.

    `targets` (N,) in 0..num_classes-1, `predicted` (N,) in -1..num_classes-1; anything else is a PredictionsError.
    """
    for name, values, lowest in (("target", targets, 0), ("predicted class", predicted, -1)):
        if len(values) and (values.min() < lowest or values.max() >= num_classes):
            bad = values[(values < lowest) | (values >= num_classes)][0]
            raise PredictionsError(f"{name} {bad} is outside {lowest}..{num_classes - 1}")
    if len(targets) != len(predicted):
        raise PredictionsError(f"{len(targets)} targets but {len(predicted)} predictions")
    scored = predicted >= 0
    pairs = targets[scored] * num_classes + predicted[scored]
    matrix = np.bincount(pairs, minlength=num_classes * num_classes).reshape(num_classes, num_classes)
    unscored = np.bincount(targets[~scored], minlength=num_classes)
    return Confusion(matrix.astype(np.int64), unscored.astype(np.int64))


# --- per class ---------------------------------------------------------------------------------------------------------


def recalls(confusion: Confusion, view: str = "detected") -> NDArray[np.float64]:
    """(K,) TP / support; NaN for a class that does not occur in the truth."""
    return _ratio(np.diag(confusion.matrix), confusion.support(view))


def precisions(confusion: Confusion) -> NDArray[np.float64]:
    """(K,) TP / times predicted; NaN for a class that was never predicted."""
    return _ratio(np.diag(confusion.matrix), confusion.matrix.sum(axis=0))


def f1_scores(confusion: Confusion, view: str = "detected") -> NDArray[np.float64]:
    """(K,) 2 TP / (support + times predicted); NaN for a class that neither occurs nor was predicted."""
    return _ratio(2 * np.diag(confusion.matrix), confusion.support(view) + confusion.matrix.sum(axis=0))


def _ratio(numerator: Counts, denominator: Counts) -> NDArray[np.float64]:
    result = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


# --- headline metrics ----------------------------------------------------------------------------------------------------


def war(confusion: Confusion, view: str = "detected") -> float:
    """Weighted average recall = accuracy = correct / samples; NaN without samples."""
    total = int(confusion.support(view).sum())
    return int(np.trace(confusion.matrix)) / total if total else float("nan")


def uar(confusion: Confusion, view: str = "detected") -> float:
    """Unweighted average recall: the mean of `recalls` over the classes that occur in the truth."""
    return _mean(recalls(confusion, view), confusion.present(view))


def macro_f1(confusion: Confusion, view: str = "detected") -> float:
    """The mean of `f1_scores` over the classes that occur in the truth."""
    return _mean(f1_scores(confusion, view), confusion.present(view))


def weighted_f1(confusion: Confusion, view: str = "detected") -> float:
    """`f1_scores` weighted by support."""
    support = confusion.support(view)
    if not support.sum():
        return float("nan")
    return float(np.nansum(f1_scores(confusion, view) * support) / support.sum())


def _mean(values: NDArray[np.float64], where: NDArray[np.bool_]) -> float:
    return float(values[where].mean()) if where.any() else float("nan")


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of `METRICS`."""

    title: str
    function: Callable[[Confusion, str], float]
    definition: str
    absent_class: str
    source: str


METRICS: dict[str, Metric] = {
    "war": Metric(
        "WAR", war, "correct / samples", "adds nothing",
        "jiangxingxun/DFEW libs/model_metrics.py get_WAR (= scikit-learn accuracy_score)",
    ),
    "uar": Metric(
        "UAR", uar, "mean of the per-class recalls", "left out of the mean",
        "jiangxingxun/DFEW libs/model_metrics.py get_UAR (= scikit-learn balanced_accuracy_score)",
    ),
    "accuracy": Metric("accuracy", war, "the same number as WAR", "adds nothing", "static image papers' name for WAR"),
    "macro_f1": Metric(
        "macro F1", macro_f1, "mean of the per-class F1", "left out of the mean",
        "MAFW (Liu et al. 2022) section 5.1; = scikit-learn f1_score(average='macro') over the classes that occur",
    ),
    "weighted_f1": Metric(
        "weighted F1", weighted_f1, "per-class F1 weighted by support", "has weight zero",
        "= scikit-learn f1_score(average='weighted')",
    ),
}  # fmt: skip
"""The headline metrics. A new metric is one function and one row."""
