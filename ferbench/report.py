"""Report: per fold, mean and deviation over folds, pooled. Three named numbers, never one unnamed.

- per fold: the metric of that fold's confusion matrix;
- mean of folds: the arithmetic mean of the per-fold values, with the sample standard deviation (n - 1);
- pooled: the metric of the sum of the folds' confusion matrices.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ferbench.errors import PredictionsError
from ferbench.labels import LabelSet
from ferbench.metrics import METRICS, VIEWS, Confusion, confusion_matrix, f1_scores, precisions, recalls
from ferbench.predictions import Predictions


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One confusion matrix and the metrics of it; `values[view][metric]` in 0..1, NaN where undefined."""

    name: str
    confusion: Confusion
    values: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything `score` and `evaluate` print."""

    labels: LabelSet
    folds: tuple[Score, ...]
    pooled: Score
    failures: tuple[tuple[str, str], ...]
    """(sample_id, `reason: message`) of every sample without a prediction, by sample_id."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

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
                }
                for name, row in METRICS.items()
            },
            "provenance": dict(self.provenance),
        }


def build_report(predictions: Predictions) -> Report:
    """Score predictions fold by fold. Raises PredictionsError when there is nothing to score."""
    if not len(predictions):
        raise PredictionsError("there are no predictions to score")
    predicted = predictions.predicted
    names = np.array(predictions.folds, dtype=object)
    folds = []
    for name in sorted(set(predictions.folds), key=_natural):
        here = names == name
        folds.append(
            _score(
                name, confusion_matrix(predictions.targets[here], predicted[here], num_classes=len(predictions.labels))
            )
        )
    pooled = folds[0].confusion
    for fold in folds[1:]:
        pooled = pooled + fold.confusion
    failures = sorted(
        (sample_id, error or "no-prediction: the logits are not numbers")
        for sample_id, label, error in zip(predictions.sample_ids, predicted, predictions.errors, strict=True)
        if label < 0
    )
    return Report(predictions.labels, tuple(folds), _score("pooled", pooled), tuple(failures), predictions.provenance)


def _score(name: str, confusion: Confusion) -> Score:
    values = {view: {metric: row.function(confusion, view) for metric, row in METRICS.items()} for view in VIEWS}
    return Score(name, confusion, values)


def _score_dict(score: Score) -> dict[str, Any]:
    return {
        "name": score.name,
        "num_samples": int(score.confusion.support("all").sum()),
        "num_scored": int(score.confusion.matrix.sum()),
        **{view: {name: _plain(value) for name, value in score.values[view].items()} for view in VIEWS},
        "confusion": score.confusion.matrix.tolist(),
        "unscored": score.confusion.unscored.tolist(),
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _natural(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)
