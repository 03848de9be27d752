"""Intervals of the headline metrics by bootstrap, over samples and over clusters of samples.

A sample matters to a confusion matrix only through the cell it is counted in. So drawing N samples with replacement is
drawing the cells from one multinomial with the cells' own frequencies: the same distribution, without touching a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.metrics import METRICS, VIEWS, Confusion


@dataclass(frozen=True, slots=True)
class Interval:
    """From low to high, in the unit of its metric; NaN where the metric is undefined."""

    low: float
    high: float


Intervals = Mapping[str, Mapping[str, Interval]]
"""`intervals[view][metric]`."""


@dataclass(frozen=True, slots=True, eq=False)
class IntervalTable:
    """The intervals of one unit of resampling, and how they were made."""

    unit: str
    """`sample`, or the attribute whose values are drawn: `subject`, `source_id`, `group`, `video`."""
    num_units: int
    level: float
    replicates: int
    seed: int
    method: str
    """In words: what was drawn, and how the ends were taken."""
    pooled: Intervals
    mean_of_folds: Intervals

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `{"low": 0.61, "high": 0.66}`, null where undefined."""
        return {
            "unit": self.unit,
            "num_units": self.num_units,
            "level": self.level,
            "replicates": self.replicates,
            "seed": self.seed,
            "method": self.method,
            **{
                name: {
                    view: {metric: _interval_dict(interval) for metric, interval in row.items()}
                    for view, row in table.items()
                }
                for name, table in (("pooled", self.pooled), ("mean_of_folds", self.mean_of_folds))
            },
        }


@dataclass(frozen=True, slots=True)
class BootstrapOptions:
    """How intervals are made."""

    replicates: int = 2000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 1:
            raise ValueError(f"replicates must be at least 1, got {self.replicates}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be between 0 and 1, got {self.level}")


def sample_intervals(folds: Sequence[Confusion], options: BootstrapOptions) -> IntervalTable:
    """Intervals over samples: the samples of each fold are drawn with replacement, as many as it has."""
    rng = np.random.default_rng(options.seed)
    drawn = []
    for fold in folds:
        cells = _cells(fold)
        total = int(cells.sum())
        draws = rng.multinomial(total, cells.ravel() / max(total, 1), size=options.replicates)
        drawn.append(_confusion(draws.reshape(options.replicates, *cells.shape)))
    num_units = sum(int(_cells(fold).sum()) for fold in folds)
    return _table("sample", num_units, drawn, options, "samples of each fold drawn with replacement")


def cluster_intervals(
    unit: str,
    contributions: NDArray[np.int64],
    options: BootstrapOptions,
) -> IntervalTable:
    """Intervals over clusters; `contributions` (U, F, K, K + 1) are each cluster's counts, the last column unscored."""
    rng = np.random.default_rng(options.seed)
    count, num_folds, size, width = contributions.shape
    flat = contributions.reshape(count, -1).astype(np.float64)
    draws = np.concatenate([
        rng.multinomial(count, np.full(count, 1 / count), size=rows) @ flat for rows in _chunks(options.replicates, count)
    ])  # fmt: skip
    cells = np.rint(draws).astype(np.int64).reshape(options.replicates, num_folds, size, width)
    drawn = [_confusion(cells[:, fold]) for fold in range(num_folds)]
    return _table(unit, count, drawn, options, f"{unit}s drawn with replacement")


def _chunks(replicates: int, units: int) -> Iterator[int]:
    most = max(1, 4_000_000 // max(units, 1))
    for start in range(0, replicates, most):
        yield min(most, replicates - start)


def _cells(confusion: Confusion) -> NDArray[np.int64]:
    return np.concatenate([confusion.matrix, confusion.unscored[..., None]], axis=-1)


def _confusion(cells: NDArray[np.int64]) -> Confusion:
    return Confusion(cells[..., :-1], cells[..., -1])


def _table(
    unit: str, num_units: int, drawn: Sequence[Confusion], options: BootstrapOptions, what: str
) -> IntervalTable:
    pooled = drawn[0]
    for fold in drawn[1:]:
        pooled = pooled + fold
    of_pooled: dict[str, dict[str, Interval]] = {}
    of_mean: dict[str, dict[str, Interval]] = {}
    for view in VIEWS:
        of_pooled[view], of_mean[view] = {}, {}
        for name, row in METRICS.items():
            of_pooled[view][name] = _percentile(row.function(pooled, view), options.level)
            values = np.stack([row.function(fold, view) for fold in drawn])
            seen = ~np.isnan(values)
            sums = np.where(seen, values, 0).sum(axis=0)
            means = np.divide(sums, seen.sum(axis=0), out=np.full(sums.shape, np.nan), where=seen.any(axis=0))
            of_mean[view][name] = _percentile(means, options.level)
    return IntervalTable(
        unit, num_units, options.level, options.replicates, options.seed,
        f"bootstrap: {what}, percentile ends", of_pooled, of_mean,
    )  # fmt: skip


def _percentile(values: NDArray[np.float64], level: float) -> Interval:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _interval_dict(interval: Interval) -> dict[str, float] | None:
    return None if np.isnan(interval.low) else {"low": interval.low, "high": interval.high}
