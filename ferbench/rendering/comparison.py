"""A comparison as it is printed: runs by datasets, published rows apart, every caveat a footnote.

Values are fractions 0..1 (or plain numbers, as the metric's unit says); they become percent only when written. The formats
are in `comparison_terminal`, `comparison_markdown`, `comparison_latex` and `comparison_csv`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ferbench.intervals import Interval
from ferbench.metrics import METRICS, PROBABILITY_METRICS
from ferbench.rendering.wording import VIEW_NAMES

UNDEFINED = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of one dataset."""

    group: int
    """Index into `Comparison.groups`."""
    metric: str

    @property
    def title(self) -> str:
        """The metric's name; its arrow when less is better."""
        return metric_title(self.metric)


@dataclass(frozen=True, slots=True)
class GroupHead:
    """One dataset under one protocol."""

    dataset: str
    protocol: str
    statistic: str
    """`mean_of_folds` or `pooled`."""
    num_folds: int
    view: str
    num_samples: int
    metrics: tuple[str, ...]
    intervals_over: tuple[str, ...] = ()
    """What was drawn for the intervals: `sample`, `subject`, …; empty where none were made."""
    marks: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """All of it in a line: protocol, statistic, view, samples, what the intervals are over."""
        over = VIEW_NAMES[self.view]
        parts = [self.protocol, self.how, f"{over}, n = {self.num_samples:,}"]
        if self.intervals_over:
            parts.append(f"intervals over {' and '.join(f'{unit}s' for unit in self.intervals_over)}")
        return "; ".join(parts)

    @property
    def how(self) -> str:
        """`mean of 5 folds ± sd`, `pooled over 5 folds`, `one test part`."""
        if self.num_folds < 2:
            return "one test part"
        if self.statistic == "pooled":
            return f"pooled over {self.num_folds} folds"
        return f"mean of {self.num_folds} folds ± sd"


@dataclass(frozen=True, slots=True)
class Cell:
    """One number."""

    value: float
    """NaN where undefined."""
    text: str
    """The value as it is printed; a published one in its source's digits."""
    deviation: str = ""
    """Sample standard deviation over folds, as printed."""
    interval: Interval | None = None
    best: bool = False
    second: bool = False
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A run's or a published method's cells; a column that it has no number for is absent."""

    label: str
    cells: Mapping[Column, Cell]
    published: bool = False
    marks: tuple[str, ...] = ()
    short: str = ""
    """The label without venue and year, for where there is little room."""


@dataclass(frozen=True, slots=True)
class LongRow:
    """One number of the CSV and the JSON: every view, statistic and fold, not only those of the table."""

    run: str
    dataset: str
    protocol: str
    metric: str
    view: str
    statistic: str
    """`mean_of_folds`, `sd_of_folds`, `pooled`, `fold NAME`, or `published`."""
    value: float
    low: float
    high: float
    n: int | None
    """Samples that the value is over."""
    source: str
    """The predictions file, or where a published figure was read."""


@dataclass(frozen=True, slots=True)
class PairedRow:
    """Two runs on the same samples of one dataset; or why they cannot be compared."""

    dataset: str
    protocol: str
    metric: str
    first: str
    second: str
    difference: float = float("nan")
    """First minus second."""
    interval: Interval | None = None
    p_value: float = float("nan")
    """Of the bootstrap, for no difference in this metric."""
    p_holm: float = float("nan")
    mcnemar: float = float("nan")
    """McNemar's p, for no difference in how many are right."""
    mcnemar_holm: float = float("nan")
    num_samples: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything `compare` prints."""

    groups: tuple[GroupHead, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """The runs, then the published methods."""
    notes: Mapping[str, str]
    """Mark -> sentence."""
    paired: tuple[PairedRow, ...] = ()
    paired_note: str = ""
    long: tuple[LongRow, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> tuple[Row, ...]:
        """The rows that are no published ones."""
        return tuple(row for row in self.rows if not row.published)

    @property
    def published(self) -> tuple[Row, ...]:
        """The rows of others."""
        return tuple(row for row in self.rows if row.published)

    @property
    def provenance_lines(self) -> tuple[str, ...]:
        """Where the numbers come from, as lines of a comment."""
        facts = self.provenance
        lines = [f"ferbench {facts.get('ferbench', '')} compare, seed {facts.get('seed', '')}"]
        lines += [f"command: {facts['command']}"] if facts.get("command") else []
        for run in facts.get("runs", ()):
            recipe = f", recipe {run['recipe_id']}" if run.get("recipe_id") else ""
            lines.append(f"{run['label']} on {run['dataset']}: {run['path']}, sha256 {run['sha256'][:16]}{recipe}")
        return tuple(lines)

    def head_of(self, column: Column) -> GroupHead:
        """The dataset of a column."""
        return self.groups[column.group]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: fractions 0..1, null where undefined."""
        return {
            "groups": [
                {
                    "dataset": head.dataset, "protocol": head.protocol, "statistic": head.statistic, "how": head.how,
                    "view": head.view, "num_samples": head.num_samples, "metrics": list(head.metrics),
                    "intervals_over": list(head.intervals_over), "notes": list(head.marks),
                }
                for head in self.groups
            ],
            "rows": [
                {
                    "label": row.label, "published": row.published, "notes": list(row.marks),
                    "cells": [
                        {"group": column.group, "metric": column.metric, **_cell_dict(cell)}
                        for column, cell in row.cells.items()
                    ],
                }
                for row in self.rows
            ],
            "notes": dict(self.notes),
            "paired": [_paired_dict(row) for row in self.paired],
            "paired_note": self.paired_note,
            "long": [
                {name: _plain(getattr(row, name)) for name in LongRow.__slots__} for row in self.long
            ],
            "provenance": dict(self.provenance),
        }  # fmt: skip


def legend(comparison: Comparison, *, best: str, second: str, reference: str) -> tuple[str, ...]:
    """What the signs of a table mean, as sentences; only of those that are in it."""
    runs = [cell for row in comparison.runs for cell in row.cells.values()]
    plain_ones = dict.fromkeys(metric_title(c.metric) for c in comparison.columns if unit_of(c.metric) == "plain")
    lines = [f"Percent{', but not ' + ', '.join(plain_ones) if plain_ones else ''}"]
    if any(cell.deviation for cell in runs):
        lines.append("± is the sample standard deviation over folds")
    if any(cell.interval for cell in runs):
        level, replicates = comparison.provenance.get("level", 0.95), comparison.provenance.get("replicates", 0)
        lines.append(f"brackets are {100 * level:g} % bootstrap intervals of {replicates:,} replicates")
    if any(cell.best for cell in runs):
        also = f", {second} the second best" if any(cell.second for cell in runs) else ""
        lines.append(f"{best} is the best run of a column{also}; runs over other samples are not ranked")
    if comparison.published:
        highest = any(cell.best for row in comparison.published for cell in row.cells.values())
        told = f", {reference} is the highest that compares" if highest else ""
        lines.append(f"published figures are others' and are not ranked with the runs{told}")
    return tuple(f"{line[0].upper()}{line[1:]}." for line in lines)


LOWER_IS_BETTER = {"ece", "nll", "brier"}


def unit_of(metric: str) -> str:
    """`percent` or `plain`."""
    row = METRICS.get(metric) or PROBABILITY_METRICS[metric]
    return row.unit


def metric_title(metric: str) -> str:
    """The metric's name, with an arrow down where less is better."""
    row = METRICS.get(metric) or PROBABILITY_METRICS[metric]
    return f"{row.title} ↓" if metric in LOWER_IS_BETTER else row.title


def figure(value: float, metric: str) -> str:
    """A value as it is written: `63.41` for a fraction, `0.512` for a plain number, an en dash where undefined."""
    if math.isnan(value):
        return UNDEFINED
    return f"{100 * value:.2f}" if unit_of(metric) == "percent" else f"{value:.3f}"


def signed(value: float, metric: str) -> str:
    """A difference as it is written, its sign always there: `+1.20`, `−0.35`."""
    text = figure(abs(value), metric)
    if text == UNDEFINED:
        return text
    return f"{'−' if value < 0 else '+'}{text}"


def p_text(value: float) -> str:
    """A p-value: three decimals, `<0.001` below them, an en dash where there is none."""
    if math.isnan(value):
        return UNDEFINED
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def chunks(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns of each dataset together, in order."""
    return [[column for column in columns if column.group == group] for group in sorted({c.group for c in columns})]


def _cell_dict(cell: Cell) -> dict[str, Any]:
    interval = cell.interval
    return {
        "value": _plain(cell.value), "text": cell.text, "sd": cell.deviation or None,
        "low": _plain(interval.low) if interval else None, "high": _plain(interval.high) if interval else None,
        "best": cell.best, "second": cell.second, "notes": list(cell.marks),
    }  # fmt: skip


def _paired_dict(row: PairedRow) -> dict[str, Any]:
    interval = row.interval
    return {
        "dataset": row.dataset, "protocol": row.protocol, "metric": row.metric, "first": row.first, "second": row.second,
        "difference": _plain(row.difference), "low": _plain(interval.low) if interval else None,
        "high": _plain(interval.high) if interval else None, "p_value": _plain(row.p_value),
        "p_holm": _plain(row.p_holm), "mcnemar": _plain(row.mcnemar), "mcnemar_holm": _plain(row.mcnemar_holm),
        "num_samples": row.num_samples, "refused": row.refused or None,
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
