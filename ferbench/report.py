"""Report: per fold, mean and deviation over folds, pooled. Three named numbers, never one unnamed.

- per fold: the metric of that fold's confusion matrix;
- mean of folds: the arithmetic mean of the per-fold values, with the sample standard deviation (n - 1);
- pooled: the metric of the sum of the folds' confusion matrices.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.findings import Finding
from ferbench.intervals import BootstrapOptions, IntervalTable, Outcomes, cluster_intervals, sample_intervals
from ferbench.labels import LabelSet
from ferbench.metrics import (
    METRICS,
    PROBABILITY_METRICS,
    VIEWS,
    Calibration,
    Confusion,
    Metric,
    ProbabilityMetric,
    calibration,
    confusion_matrix,
    f1_scores,
    precisions,
    recalls,
    softmax,
)
from ferbench.predictions import Predictions, attribute_of, clusters_of, find_cluster, rows_by_value

FEW_UNITS = 10
"""Intervals over fewer clusters hold the truth less often than they say (benchmarks/interval_coverage.py)."""


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One confusion matrix and the metrics of it; `values[view][metric]` in 0..1, NaN where undefined."""

    name: str
    confusion: Confusion
    values: Mapping[str, Mapping[str, float]]
    probability: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(PROBABILITY_METRICS, float("nan")))
    """`probability[metric]` over scored samples; all NaN when only the predicted classes are known."""


@dataclass(frozen=True, slots=True, eq=False)
class Subgroup:
    """The score of the samples that share one value of an attribute, over all folds."""

    attribute: str
    value: str
    score: Score


@dataclass(frozen=True, slots=True)
class Mistake:
    """A sample that was given another class than its own."""

    sample_id: str
    target: int
    predicted: int
    confidence: float | None
    """softmax(logits) of the predicted class, 0..1; None when only the predicted classes are known."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report has beyond its scores."""

    replicates: int = 2000
    """Of each bootstrap; 0 makes no intervals."""
    level: float = 0.95
    seed: int = 0
    by: tuple[str, ...] = ()
    """Attributes to score subgroups by."""
    cluster: str = "auto"
    """The attribute whose values are drawn for the second table of intervals; `auto` is the first of `CLUSTERS` that the
    predictions have, and `none` or an empty text is none."""
    most_mistakes: int = 24


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything `score` and `evaluate` print."""

    labels: LabelSet
    folds: tuple[Score, ...]
    pooled: Score
    failures: tuple[tuple[str, str], ...]
    """(sample_id, `reason: message`) of every sample without a prediction, by sample_id."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intervals: tuple[IntervalTable, ...] = ()
    """Over samples, then over clusters where there are any; empty when they were turned off."""
    subgroups: tuple[Subgroup, ...] = ()
    calibration: Calibration | None = None
    """None when only the predicted classes are known, or nothing was scored."""
    audits: tuple[Finding, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    """The most confident first."""

    @property
    def num_samples(self) -> int:
        """Samples with a target."""
        return int(self.pooled.confusion.support("all").sum())

    @property
    def num_scored(self) -> int:
        """Samples with a prediction."""
        return int(self.pooled.confusion.matrix.sum())

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Classes no sample has; they are left out of the averages."""
        present = self.pooled.confusion.present("all")
        return tuple(name for name, here in zip(self.labels.names, present, strict=True) if not here)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the averages over scored samples leave out in silence otherwise, as sentences."""
        scored, present = (self.pooled.confusion.present(view) for view in VIEWS)
        unseen = [self.labels.names[label] for label in np.flatnonzero(present & ~scored)]
        lines = []
        if unseen:
            lines.append(
                f"No sample of {', '.join(unseen)} has a prediction: the averages over scored samples are over "
                f"{int(scored.sum())} of {int(present.sum())} classes."
            )
        empty = [fold.name for fold in self.folds if not fold.confusion.matrix.sum()]
        if empty:
            lines.append(
                f"No sample of fold {', '.join(empty)} has a prediction: the mean over scored samples is over "
                f"{len(self.folds) - len(empty)} of {len(self.folds)} folds."
            )
        lines += [
            f"There are only {table.num_units} values of {table.unit}: the intervals over them are too narrow."
            for table in self.intervals
            if table.unit != "sample" and table.num_units < FEW_UNITS
        ]
        return tuple(lines)

    def over_folds(self, metric: str, view: str) -> tuple[float, float]:
        """Mean and sample standard deviation over folds; the deviation is NaN for a single fold."""
        values = [fold.values[view][metric] for fold in self.folds if not math.isnan(fold.values[view][metric])]
        if not values:
            return float("nan"), float("nan")
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else float("nan")

    def per_class(self) -> list[dict[str, Any]]:
        """One plain row per class, from the pooled matrix: support, unscored, predicted, precision, recall, f1."""
        confusion = self.pooled.confusion
        columns = {
            "precision": precisions(confusion), "recall": recalls(confusion), "f1": f1_scores(confusion),
            "recall_all": recalls(confusion, "all"),
        }  # fmt: skip
        return [
            {
                "class": name,
                "support": int(confusion.support("all")[label]),
                "unscored": int(confusion.unscored[label]),
                "predicted": int(confusion.matrix[:, label].sum()),
                **{key: _plain(float(values[label])) for key, values in columns.items()},
            }
            for label, name in enumerate(self.labels.names)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: integers for counts, fractions 0..1 for metrics, null where undefined."""
        rows: dict[str, Metric | ProbabilityMetric] = {**METRICS, **PROBABILITY_METRICS}
        return {
            "classes": list(self.labels.names),
            "absent_classes": list(self.absent_classes),
            "num_samples": self.num_samples,
            "num_scored": self.num_scored,
            "caveats": list(self.caveats),
            "folds": [_score_dict(fold) for fold in self.folds],
            "mean_of_folds": {
                view: {
                    name: {"mean": _plain(mean), "sd": _plain(deviation)}
                    for name in METRICS
                    for mean, deviation in [self.over_folds(name, view)]
                }
                for view in VIEWS
            },
            "pooled": _score_dict(self.pooled),
            "per_class": self.per_class(),
            "failures": [{"sample_id": sample_id, "error": error} for sample_id, error in self.failures],
            "metrics": {
                name: {
                    "title": row.title,
                    "definition": row.definition,
                    "absent_class": row.absent_class,
                    "source": row.source,
                    "unit": row.unit,
                }
                for name, row in rows.items()
            },
            "intervals": [table.as_dict() for table in self.intervals],
            "subgroups": [
                {"attribute": group.attribute, "value": group.value, **_score_dict(group.score)}
                for group in self.subgroups
            ],
            "calibration": None if self.calibration is None else _calibration_dict(self.calibration),
            "audits": [finding.as_dict() for finding in self.audits],
            "mistakes": [
                {
                    "sample_id": mistake.sample_id,
                    "target": self.labels.names[mistake.target],
                    "predicted": self.labels.names[mistake.predicted],
                    "confidence": mistake.confidence,
                }
                for mistake in self.mistakes
            ],
            "provenance": dict(self.provenance),
        }


def build_report(
    predictions: Predictions, *, options: ReportOptions | None = None, audits: Sequence[Finding] = ()
) -> Report:
    """Score predictions fold by fold.

    Raises PredictionsError when there is nothing to score, and UsageError for an attribute that the predictions lack.
    """
    options = options or ReportOptions()
    if not len(predictions):
        raise PredictionsError("there are no predictions to score")
    predicted = predictions.predicted
    scorer = _Scorer(predictions, predicted)
    rows = rows_by_value(predictions.folds)
    folds = tuple(scorer.score(name, rows[name]) for name in sorted(rows, key=_natural))
    failures = sorted(
        (sample_id, error or "no-prediction: the logits are not numbers")
        for sample_id, label, error in zip(predictions.sample_ids, predicted, predictions.errors, strict=True)
        if label < 0
    )
    everything = np.arange(len(predictions))
    scored = np.flatnonzero(predicted >= 0)
    return Report(
        predictions.labels,
        folds,
        scorer.score("pooled", everything),
        tuple(failures),
        predictions.provenance,
        intervals=_intervals(predictions, predicted, folds, options),
        subgroups=tuple(_subgroups(predictions, scorer, options.by)),
        calibration=calibration(predictions.logits[scored], predictions.targets[scored])
        if len(scored) and not predictions.hard else None,
        audits=tuple(audits),
        mistakes=_mistakes(predictions, predicted, options.most_mistakes),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Scorer:
    predictions: Predictions
    predicted: NDArray[np.int64]

    def score(self, name: str, rows: NDArray[np.int64]) -> Score:
        """The score of some rows of the predictions."""
        targets, predicted = self.predictions.targets[rows], self.predicted[rows]
        confusion = confusion_matrix(targets, predicted, num_classes=len(self.predictions.labels))
        values = {view: {metric: row.function(confusion, view) for metric, row in METRICS.items()} for view in VIEWS}
        if self.predictions.hard:
            return Score(name, confusion, values)
        scored = predicted >= 0
        logits = self.predictions.logits[rows[scored]]
        of_probabilities = {
            metric: row.function(logits, targets[scored]) for metric, row in PROBABILITY_METRICS.items()
        }
        return Score(name, confusion, values, of_probabilities)


def _subgroups(predictions: Predictions, scorer: _Scorer, by: Sequence[str]) -> list[Subgroup]:
    found = []
    for attribute in by:
        rows = rows_by_value(attribute_of(predictions, attribute))
        found += [Subgroup(attribute, value, scorer.score(value, rows[value])) for value in sorted(rows, key=_natural)]
    return found


def _intervals(
    predictions: Predictions, predicted: NDArray[np.int64], folds: Sequence[Score], options: ReportOptions
) -> tuple[IntervalTable, ...]:
    if not options.replicates:
        return ()
    bootstrap = BootstrapOptions(options.replicates, options.level, options.seed)
    tables = [sample_intervals([fold.confusion for fold in folds], bootstrap)]
    cluster = find_cluster(predictions, options.cluster)
    if cluster and len(rows_by_value(attribute_of(predictions, cluster))) > 1:
        number_of = {fold.name: number for number, fold in enumerate(folds)}
        fold_of = np.array([number_of[name] for name in predictions.folds])
        outcomes = Outcomes(predictions.targets, predicted, len(predictions.labels), fold_of, len(folds))
        tables.append(cluster_intervals(cluster, clusters_of(predictions, cluster), outcomes, bootstrap))
    return tuple(tables)


def _mistakes(predictions: Predictions, predicted: NDArray[np.int64], most: int) -> tuple[Mistake, ...]:
    """The most confident mistakes first; by sample_id among equals."""
    wrong = np.flatnonzero((predicted >= 0) & (predicted != predictions.targets))
    sure = softmax(predictions.logits[wrong])[np.arange(len(wrong)), predicted[wrong]] if len(wrong) else np.zeros(0)
    confidence = np.zeros(len(wrong)) if predictions.hard else sure
    # Of a million mistakes only those that can be among the first are sorted by id.
    least = np.partition(confidence, -most)[-most] if 0 < most < len(wrong) else 0.0
    candidates = np.flatnonzero(confidence >= least).tolist()
    order = sorted(candidates, key=lambda row: (-confidence[row], predictions.sample_ids[wrong[row]]))[:most]
    return tuple(
        Mistake(
            predictions.sample_ids[wrong[row]], int(predictions.targets[wrong[row]]), int(predicted[wrong[row]]),
            None if predictions.hard else float(sure[row]),
        )
        for row in order
    )  # fmt: skip


def _score_dict(score: Score) -> dict[str, Any]:
    return {
        "name": score.name,
        "num_samples": int(score.confusion.support("all").sum()),
        "num_scored": int(score.confusion.matrix.sum()),
        **{view: {name: _plain(value) for name, value in score.values[view].items()} for view in VIEWS},
        "probability": {name: _plain(value) for name, value in score.probability.items()},
        "confusion": score.confusion.matrix.tolist(),
        "unscored": score.confusion.unscored.tolist(),
    }


def _calibration_dict(bins: Calibration) -> dict[str, Any]:
    return {
        "edges": bins.edges.tolist(),
        "count": bins.count.tolist(),
        "confidence": [_plain(value) for value in bins.confidence.tolist()],
        "accuracy": [_plain(value) for value in bins.accuracy.tolist()],
    }


def _plain(value: float) -> float | None:
    """null in JSON for what is undefined, or infinite, which JSON cannot say."""
    return value if math.isfinite(value) else None


def _natural(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)
