"""Metrics, as functions and as rows of tables: definition, source, and what an absent class does."""

from ferbench.metrics.confusion import VIEWS, Confusion, Counts, confusion_matrix
from ferbench.metrics.probabilities import Calibration, calibration, softmax
from ferbench.metrics.scores import (
    abaw2021,
    abaw_f1,
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
from ferbench.metrics.table import (
    DIMENSIONAL_METRICS,
    METRICS,
    PROBABILITY_METRICS,
    DimensionalMetric,
    Metric,
    ProbabilityMetric,
)

__all__ = [
    "DIMENSIONAL_METRICS",
    "METRICS",
    "PROBABILITY_METRICS",
    "VIEWS",
    "Calibration",
    "Confusion",
    "Counts",
    "DimensionalMetric",
    "Metric",
    "ProbabilityMetric",
    "abaw2021",
    "abaw_f1",
    "calibration",
    "confusion_matrix",
    "f1_scores",
    "kappa",
    "macro_f1",
    "macro_precision",
    "mcc",
    "precisions",
    "recalls",
    "softmax",
    "uar",
    "war",
    "weighted_f1",
]
