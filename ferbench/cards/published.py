"""Published results: what papers report on a dataset, with where each figure comes from and why it may not compare.

A figure is kept as the text that its source prints, in percent: `63.4` and `63.40` are different claims. It is a reference
beside a run's own numbers, never one of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ferbench.metrics import METRICS

STATISTICS = ("", "mean-of-folds", "pooled")
"""How folds became one figure; empty where there is one test part, or where the source does not say."""
SELECTIONS = ("", "test", "validation", "last")
"""The part that the epoch was chosen on, or the last epoch; empty where the source does not say."""
OTHER_METRICS = ("abaw2021", "macro_auc")
"""Metrics that papers print and `METRICS` may lack."""
SAME_NUMBER = {"war": "accuracy", "accuracy": "war", "uar": "macro_recall", "macro_recall": "uar"}
"""Two names of one number: a paper's accuracy fills a column of WAR."""
_KEYS = {
    "method", "venue", "year", "metrics", "protocol", "folds", "samples", "statistic", "selection", "per-fold",
    "per-class", "source", "note", "unranked",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One method's figures on one dataset, as printed."""

    method: str
    metrics: Mapping[str, str]
    """Metric -> percent, in the source's own digits."""
    source: str
    """Where the figure was read: a repository's page, a paper, a survey's table."""
    venue: str = ""
    year: int | None = None
    protocol: str = "official"
    """Name of the card's protocol that it claims to follow; empty for another one, or where the source does not say."""
    folds: int | None = None
    samples: int | None = None
    """Test samples, where the source says."""
    statistic: str = ""
    selection: str = ""
    per_fold: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Metric -> percent per fold, as printed."""
    per_class: tuple[str, ...] = ()
    """Recall per class in the card's order, percent, as printed."""
    note: str = ""
    unranked: str = ""
    """Why the figure is not ranked among the others: sound is used, other data, nobody has verified it."""

    @classmethod
    def of(cls, entry: Mapping[str, Any], *, num_classes: int, protocols: tuple[str, ...]) -> PublishedResult:
        """From a card's `[[published]]`; ValueError names the method and the rule for what cannot be."""
        method = str(entry["method"])
        unknown = set(entry) - _KEYS
        if unknown:
            known = ", ".join(sorted(_KEYS))
            raise ValueError(f"published {method!r}: unknown key {sorted(unknown)[0]!r}; known: {known}")
        result = cls(
            method=method,
            metrics=dict(entry["metrics"]),
            source=str(entry["source"]),
            venue=entry.get("venue", ""),
            year=entry.get("year"),
            protocol=entry.get("protocol", "official"),
            folds=entry.get("folds"),
            samples=entry.get("samples"),
            statistic=entry.get("statistic", ""),
            selection=entry.get("selection", ""),
            per_fold={metric: tuple(values) for metric, values in entry.get("per-fold", {}).items()},
            per_class=tuple(entry.get("per-class", ())),
            note=entry.get("note", ""),
            unranked=entry.get("unranked", ""),
        )
        problem = result._problem(num_classes, protocols)
        if problem:
            raise ValueError(f"published {method!r}: {problem}")
        return result

    def _problem(self, num_classes: int, protocols: tuple[str, ...]) -> str:
        known = {*METRICS, *OTHER_METRICS, *SAME_NUMBER}
        for metric in (*self.metrics, *self.per_fold):
            if metric not in known:
                return f"no metric {metric!r}; known: {', '.join(sorted(known))}"
        figures = [*self.metrics.values(), *self.per_class, *(text for row in self.per_fold.values() for text in row)]
        for figure in figures:
            if not isinstance(figure, str) or not _is_percent(figure):
                return f'{figure!r} must be a percentage as text, in the digits of the source: "63.40"'
        if not self.metrics:
            return "metrics is empty"
        if self.protocol and self.protocol not in protocols:
            return f"no protocol {self.protocol!r} in this card; its protocols: {', '.join(protocols)}"
        if self.statistic not in STATISTICS:
            return f"statistic must be one of {', '.join(STATISTICS[1:])}, got {self.statistic!r}"
        if self.selection not in SELECTIONS:
            return f"selection must be one of {', '.join(SELECTIONS[1:])}, got {self.selection!r}"
        if self.per_class and len(self.per_class) != num_classes:
            return f"per-class must have {num_classes} numbers, got {len(self.per_class)}"
        wrong = [metric for metric, row in self.per_fold.items() if len(row) != self.folds]
        return f"per-fold {wrong[0]} has {len(self.per_fold[wrong[0]])} numbers for {self.folds} folds" if wrong else ""

    @property
    def label(self) -> str:
        """`MAE-DFER (ACM MM 2023)`."""
        where = " ".join(str(part) for part in (self.venue, self.year) if part)
        return f"{self.method} ({where})" if where else self.method

    def figure(self, metric: str) -> str | None:
        """The figure of a metric as printed, under either of its names; None where the source gives none."""
        return self.metrics.get(metric, self.metrics.get(SAME_NUMBER.get(metric, "")))

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the printed folds, in percent; None where they are not printed."""
        row = self.per_fold.get(metric, self.per_fold.get(SAME_NUMBER.get(metric, ""), ()))
        return statistics.stdev(float(text) for text in row) if len(row) > 1 else None

    @property
    def protocol_note(self) -> str:
        """How the figure was made, as far as the source says: `5 folds, mean of folds, epoch chosen on the test part`."""
        chosen = {
            "test": "epoch chosen on the test part",
            "validation": "epoch chosen on a validation part",
            "last": "last epoch",
        }
        parts = [
            {"official": "", "": "not this card's protocol, or not stated"}.get(
                self.protocol, f"protocol {self.protocol}"
            ),
            f"{self.folds} folds" if self.folds else "",
            self.statistic.replace("-", " "),
            chosen.get(self.selection, ""),
            f"{self.samples:,} test samples" if self.samples else "",
        ]
        return ", ".join(part for part in parts if part)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; figures stay text."""
        return {
            "method": self.method, "venue": self.venue, "year": self.year, "metrics": dict(self.metrics),
            "protocol": self.protocol, "folds": self.folds, "samples": self.samples, "statistic": self.statistic,
            "selection": self.selection, "per_fold": {metric: list(row) for metric, row in self.per_fold.items()},
            "per_class": list(self.per_class), "source": self.source, "note": self.note, "unranked": self.unranked,
        }  # fmt: skip


def identity_of(per_class: tuple[str, ...], support: tuple[int, ...]) -> tuple[float, float]:
    """(WAR, UAR) in percent that printed per-class recalls give with the classes' test samples.

    WAR = sum of recall times support / sum of support, UAR = the mean recall: a printed headline that is further off than
    rounding is of another run, or of other samples.
    """
    recalls = [float(text) for text in per_class]
    war = math.fsum(recall * count for recall, count in zip(recalls, support, strict=True)) / sum(support)
    return war, statistics.fmean(recalls)


def _is_percent(text: str) -> bool:
    try:
        return 0 <= float(text) <= 100
    except ValueError:
        return False
