"""The metrics as rows: title, function, definition, what an absent class does, source. A new metric is one of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.metrics import dimensional, probabilities, scores
from ferbench.metrics.confusion import Confusion

UNITS = ("percent", "plain")
"""`percent`: a fraction that is printed times 100, two decimals. `plain`: printed as it is, three decimals."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of `METRICS`."""

    title: str
    function: Callable[[Confusion, str], Any]
    """(confusion, view) -> float, or float64 (...) for a confusion with leading axes (...)."""
    definition: str
    absent_class: str
    """What a class that no sample has does to the value."""
    source: str
    unit: str = "percent"
    lowest: float = 0.0
    """The lowest value it can have; the highest is 1."""


@dataclass(frozen=True, slots=True)
class ProbabilityMetric:
    """One row of `PROBABILITY_METRICS`."""

    title: str
    function: Callable[[NDArray[np.floating], NDArray[np.int64]], float]
    """(logits (N, K), targets (N,)) -> float."""
    definition: str
    absent_class: str
    source: str
    unit: str = "percent"


@dataclass(frozen=True, slots=True)
class DimensionalMetric:
    """One row of `DIMENSIONAL_METRICS`."""

    title: str
    function: Callable[[NDArray[np.floating], NDArray[np.floating]], float]
    """(target (N,), predicted (N,)) -> float."""
    definition: str
    source: str
    unit: str = "plain"


METRICS: dict[str, Metric] = {
    "war": Metric(
        "WAR", scores.war, "correct / samples", "adds nothing",
        "jiangxingxun/DFEW libs/model_metrics.py get_WAR (= scikit-learn accuracy_score)",
    ),
    "uar": Metric(
        "UAR", scores.uar, "mean of the per-class recalls", "left out of the mean",
        "jiangxingxun/DFEW libs/model_metrics.py get_UAR (= scikit-learn balanced_accuracy_score)",
    ),
    "accuracy": Metric(
        "accuracy", scores.war, "the same number as WAR", "adds nothing", "static image papers' name for WAR"
    ),
    "macro_f1": Metric(
        "macro F1", scores.macro_f1, "mean of the per-class F1", "left out of the mean",
        "MAFW (Liu et al. 2022) section 5.1; = scikit-learn f1_score(average='macro') over the classes that occur",
    ),
    "weighted_f1": Metric(
        "weighted F1", scores.weighted_f1, "per-class F1 weighted by support", "has weight zero",
        "= scikit-learn f1_score(average='weighted')",
    ),
    "macro_precision": Metric(
        "macro precision", scores.macro_precision,
        "mean of the per-class precisions; a class that occurs and is never predicted counts as 0",
        "left out of the mean",
        "= scikit-learn precision_score(average='macro', zero_division=0) over the classes that occur",
    ),
    "macro_recall": Metric(
        "macro recall", scores.uar, "the same number as UAR", "left out of the mean",
        "scikit-learn's name for UAR: recall_score(average='macro') over the classes that occur",
    ),
    "kappa": Metric(
        "Cohen's kappa", scores.kappa,
        "(observed - chance agreement) / (1 - chance agreement), chance from the counts of truth and predictions",
        "adds nothing; undefined when truth and predictions are all of one class",
        "Cohen 1960; = scikit-learn cohen_kappa_score", "plain", -1.0,
    ),
    "mcc": Metric(
        "MCC", scores.mcc, "correlation of truth and predictions over K classes",
        "adds nothing; 0 when truth or predictions are all of one class",
        "Gorodkin 2004; = scikit-learn matthews_corrcoef", "plain", -1.0,
    ),
    "abaw2021": Metric(
        "ABAW 2021 score", scores.abaw2021,
        "0.67 macro F1 + 0.33 accuracy, the F1 over classes that occur or are predicted",
        "left out of the F1, unless it was predicted: then its F1 is 0",
        "ABAW 2020 and 2021 expression challenges; xinqi-fan/ABAW2021 utils/evaluation_metric.py EXPR_metric",
    ),
    "abaw_f1": Metric(
        "ABAW F1", scores.abaw_f1, "mean of the per-class F1 over all classes of the label set",
        "its F1 is 0, and it is in the mean",
        "ABAW expression challenges since 2022 (Kollias 2022); = scikit-learn f1_score(labels=all, average='macro')",
    ),
}  # fmt: skip
"""The headline metrics, from the confusion matrix. A new one is one function and one row."""

PROBABILITY_METRICS: dict[str, ProbabilityMetric] = {
    "top2": ProbabilityMetric(
        "top-2 accuracy", probabilities.top2, "samples whose class is among the two highest logits / samples",
        "adds nothing", "= scikit-learn top_k_accuracy_score(k=2); of equal logits the lower class is taken first",
    ),
    "ece": ProbabilityMetric(
        "ECE", probabilities.ece,
        "mean of |accuracy - confidence| over 15 equal-width bins of confidence, weighted by their samples",
        "adds nothing", "Guo et al. 2017, On Calibration of Modern Neural Networks",
    ),
    "nll": ProbabilityMetric(
        "NLL", probabilities.nll, "mean of -ln p(true class)", "adds nothing", "= scikit-learn log_loss", "plain",
    ),
    "brier": ProbabilityMetric(
        "Brier score", probabilities.brier, "mean over samples of the sum over classes of (p - truth)^2, 0 to 2",
        "adds its p^2", "Brier 1950", "plain",
    ),
}  # fmt: skip
"""Over the scored samples, from softmax(logits)."""

DIMENSIONAL_METRICS: dict[str, DimensionalMetric] = {
    "ccc": DimensionalMetric(
        "CCC", dimensional.ccc, "2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2), variances of the population",
        "Lin 1989; the valence and arousal score of the ABAW challenges",
    ),
    "rmse": DimensionalMetric(
        "RMSE", dimensional.rmse, "root of the mean squared difference", "AffectNet (Mollahosseini et al. 2017)"
    ),
    "pearson": DimensionalMetric(
        "Pearson's r", dimensional.pearson, "covariance / product of the standard deviations", "Pearson 1895"
    ),
}  # fmt: skip
"""For valence and arousal."""
