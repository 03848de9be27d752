"""Metrics of a confusion matrix; numpy only. Values are fractions; they become percent only when printed.

Every function takes a `Confusion` of any leading axes and returns a float when there are none, else float64 (...).
In the view `all` a sample without a prediction is an error of its class, as if it had been predicted as a class that no
sample has; that extra class is never averaged over.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferbench.metrics.confusion import Confusion

Value: TypeAlias = Any
"""float for a single confusion matrix, float64 (...) for one with leading axes (...)."""

ABAW_F1_WEIGHT, ABAW_ACCURACY_WEIGHT = 0.67, 0.33


# --- per class ---------------------------------------------------------------------------------------------------------


def recalls(confusion: Confusion, view: str = "detected") -> NDArray[np.float64]:
    """(..., K) TP / support; NaN for a class that does not occur in the truth."""
    return _ratio(confusion.hits, confusion.support(view))


def precisions(confusion: Confusion) -> NDArray[np.float64]:
    """(..., K) TP / times predicted; NaN for a class that was never predicted."""
    return _ratio(confusion.hits, confusion.guessed)


def f1_scores(confusion: Confusion, view: str = "detected") -> NDArray[np.float64]:
    """(..., K) 2 TP / (support + times predicted); NaN for a class that neither occurs nor was predicted."""
    return _ratio(2 * confusion.hits, confusion.support(view) + confusion.guessed)


# --- headline metrics ----------------------------------------------------------------------------------------------------


def war(confusion: Confusion, view: str = "detected") -> Value:
    """Weighted average recall = accuracy = correct / samples; NaN without samples."""
    return _value(_ratio(confusion.hits.sum(axis=-1), confusion.support(view).sum(axis=-1)))


def uar(confusion: Confusion, view: str = "detected") -> Value:
    """Unweighted average recall: the mean of `recalls` over the classes that occur in the truth."""
    return _mean(recalls(confusion, view), confusion.present(view))


def macro_precision(confusion: Confusion, view: str = "detected") -> Value:
    """The mean of `precisions` over the classes that occur in the truth; 0 for one of them that was never predicted."""
    return _mean(np.nan_to_num(precisions(confusion)), confusion.present(view))


def macro_f1(confusion: Confusion, view: str = "detected") -> Value:
    """The mean of `f1_scores` over the classes that occur in the truth."""
    return _mean(f1_scores(confusion, view), confusion.present(view))


def weighted_f1(confusion: Confusion, view: str = "detected") -> Value:
    """`f1_scores` weighted by support; NaN without samples."""
    support = confusion.support(view)
    weighted = np.nan_to_num(f1_scores(confusion, view)) * support
    return _value(_ratio(weighted.sum(axis=-1), support.sum(axis=-1)))


def abaw_f1(confusion: Confusion, view: str = "detected") -> Value:
    """The mean of `f1_scores` over all K classes, 0 for one that neither occurs nor was predicted; NaN without samples."""
    mean = np.nan_to_num(f1_scores(confusion, view)).mean(axis=-1)
    return _value(np.where(confusion.support(view).sum(axis=-1) > 0, mean, np.nan))


def abaw2021(confusion: Confusion, view: str = "detected") -> Value:
    """0.67 macro F1 + 0.33 accuracy, the F1 over the classes that occur in the truth or in the predictions.

    That is scikit-learn's f1_score(average="macro") without `labels`, which xinqi-fan/ABAW2021
    utils/evaluation_metric.py EXPR_metric calls: a class that is predicted and does not occur counts as F1 0.
    """
    either = confusion.present(view) | (confusion.guessed > 0)
    score = _mean(f1_scores(confusion, view), either)
    return ABAW_F1_WEIGHT * score + ABAW_ACCURACY_WEIGHT * war(confusion, view)


def kappa(confusion: Confusion, view: str = "detected") -> Value:
    """Cohen's kappa (1960): (observed - chance agreement) / (1 - chance agreement); NaN where chance agreement is 1."""
    support = confusion.support(view).astype(np.float64)
    total = support.sum(axis=-1)
    chance = (support * confusion.guessed).sum(axis=-1)
    return _value(_ratio(confusion.hits.sum(axis=-1) * total - chance, total * total - chance))


def mcc(confusion: Confusion, view: str = "detected") -> Value:
    """Matthews correlation coefficient of K classes (Gorodkin 2004, R_K).

    0 where the truth or the predictions are of one class only, as scikit-learn has it; NaN without samples.
    """
    support, guessed = confusion.support(view).astype(np.float64), confusion.guessed.astype(np.float64)
    total = support.sum(axis=-1)
    unscored = total - guessed.sum(axis=-1)  # in the view `all`, the samples predicted as no class
    covariance = confusion.hits.sum(axis=-1) * total - (support * guessed).sum(axis=-1)
    of_truth = total * total - (support * support).sum(axis=-1)
    of_guesses = total * total - (guessed * guessed).sum(axis=-1) - unscored * unscored
    # Products of two counts of a million are near 1e12, their product 1e24: the roots are taken first.
    scale = np.sqrt(np.maximum(of_truth, 0)) * np.sqrt(np.maximum(of_guesses, 0))
    result = np.where(total > 0, 0.0, np.nan)
    np.divide(covariance, scale, out=result, where=scale > 0)
    return _value(result)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    result = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def _mean(values: NDArray[np.float64], where: NDArray[np.bool_]) -> Value:
    """The mean over the last axis where `where`; NaN where nothing is."""
    return _value(_ratio(np.where(where, values, 0.0).sum(axis=-1), where.sum(axis=-1)))


def _value(result: NDArray[np.float64]) -> Value:
    return float(result) if result.ndim == 0 else result
