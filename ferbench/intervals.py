"""Intervals of the headline metrics by bootstrap, over samples and over clusters of samples.

A sample matters to a confusion matrix only through the cell it is counted in. So drawing N samples with replacement is
drawing the cells from one multinomial with the cells' own frequencies: the same distribution, without touching a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferbench.metrics import METRICS, VIEWS, Confusion, Counts, uar
from ferbench.resampling import BLOCK, block_rows, cluster_units, draw, draw_multinomial

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """From low to high, in the unit of its metric; NaN where the metric is undefined."""

    low: float
    high: float

    def as_dict(self) -> dict[str, float] | None:
        """Plain values for JSON; None where undefined."""
        return None if np.isnan(self.low) else {"low": self.low, "high": self.high}


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
            "pooled": _plain(self.pooled),
            "mean_of_folds": _plain(self.mean_of_folds),
        }


@dataclass(frozen=True, slots=True)
class BootstrapOptions:
    """How intervals are made."""

    replicates: int = 2000
    level: float = 0.95
    seed: int = 0
    smoothing: float = 1.0
    """Of draws of samples: how many samples each class is thought to have more, see `smoothed`; 0 is none."""

    def __post_init__(self) -> None:
        if self.smoothing < 0:
            raise ValueError(f"smoothing must not be negative, got {self.smoothing}")
        if self.replicates < 1:
            raise ValueError(f"replicates must be at least 1, got {self.replicates}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be between 0 and 1, got {self.level}")


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What came of N samples: all that intervals over clusters need."""

    targets: NDArray[np.integer]
    """(N,) 0..K-1."""
    predicted: NDArray[np.integer]
    """(N,) -1..K-1; -1 is a sample without a prediction."""
    num_classes: int
    folds: NDArray[np.integer]
    """(N,) 0..F-1."""
    num_folds: int

    @property
    def columns(self) -> NDArray[np.int64]:
        """(N,) the place of each sample in (F, K, K + 1) counts, laid out flat; the last column is `no prediction`."""
        cell = np.where(np.asarray(self.predicted) < 0, self.num_classes, self.predicted)
        row = np.asarray(self.folds, np.int64) * self.num_classes + self.targets
        return row * (self.num_classes + 1) + cell

    @property
    def num_columns(self) -> int:
        """F K (K + 1)."""
        return self.num_folds * self.num_classes * (self.num_classes + 1)


def sample_intervals(folds: Sequence[Confusion], options: BootstrapOptions) -> IntervalTable:
    """Intervals over samples: of each fold, as many samples as it has are drawn with replacement.

    With `options.smoothing` the draws are from `smoothed` counts, and the ends are moved back by what that alone does to
    the metric. Without it this is the plain percentile bootstrap.
    """
    observed = np.stack([_cells(fold) for fold in folds])
    source = np.stack([smoothed(fold, options.smoothing) for fold in folds])
    totals = observed.sum(axis=(-1, -2))
    rng = np.random.default_rng(options.seed)

    def draw_cells(rows: int) -> Counts:
        draws = [draw_multinomial(fold.ravel(), rows, rng).reshape(rows, *fold.shape) for fold in source]
        return np.stack(draws, axis=1)

    values = _replicate_values(draw_cells, max(1, BLOCK // source.size), options.replicates)
    what = "the samples" if len(folds) == 1 else "the samples of each fold"
    shifts = _less(_block_values(source[None]), _block_values(observed[None]))
    ends = "percentiles"
    if options.smoothing:
        ends = f"percentiles, smoothed by {options.smoothing:g} more sample of each class and moved back"
    return _table("sample", int(totals.sum()), f"{what} drawn with replacement; {ends}", values, options, shifts)


def smoothed(confusion: Confusion, strength: float) -> Floats:
    """(K, K + 1) expected counts of a draw: as counted, but no class that occurs is quite always, or never, recognised.

    To each row with predictions `strength` samples are added and the row is scaled back to its sum. Of what is added,
    half is right (or the UAR, where that is less), and the rest is spread over the other classes that occur or are
    predicted. A class of 29 samples that is never recognised would otherwise be never recognised in any replicate, and the
    interval too sure of it: benchmarks/interval_coverage.py measures what this mends.
    """
    matrix = confusion.matrix.astype(np.float64)
    rows = matrix.sum(axis=1, keepdims=True)
    known = confusion.present("all") | (confusion.guessed > 0)
    if strength and known.sum() > 1 and rows.any():
        right = min(0.5, uar(confusion))
        added = np.where(known, (1 - right) / (known.sum() - 1), 0.0) * np.ones_like(matrix)
        np.fill_diagonal(added, right)
        matrix = np.where(rows > 0, (matrix + strength * added) * rows / (rows + strength), 0.0)
    return np.concatenate([matrix, confusion.unscored[:, None]], axis=1)


def cluster_intervals(
    unit: str, clusters: NDArray[np.integer], outcomes: Outcomes, options: BootstrapOptions
) -> IntervalTable:
    """Intervals over clusters: as many clusters as there are are drawn with replacement, each with all its samples.

    `clusters` (N,) is the cluster of each sample, from 0. Folds keep the clusters that are theirs, so a replicate may have
    more or fewer of a fold's. Where every fold is one cluster (leave one subject out), the mean of folds is over the folds
    that were drawn, each as often as it was. The ends are at the percentiles of `wider_level`.
    """
    units = cluster_units(clusters, outcomes.columns, num_columns=outcomes.num_columns)
    shape = (outcomes.num_folds, outcomes.num_classes, outcomes.num_classes + 1)
    rng = np.random.default_rng(options.seed)
    fold_sizes = fold_sizes_if_clusters(clusters, outcomes.folds)

    def draw_cells(rows: int) -> Counts:
        return draw(units, rows, rng).reshape(rows, *shape)

    values = _replicate_values(
        draw_cells, block_rows([units], options.replicates), options.replicates, fold_sizes=fold_sizes
    )
    what = f"the clusters of equal {unit} drawn with replacement; percentiles of Student's width"
    return _table(unit, units.num_units, what, values, options, level=wider_level(options.level, units.num_units))


def wider_level(level: float, num_units: int) -> float:
    """The level whose normal quantile is Student's quantile of `level` times sqrt(S / (S - 1)), for S units.

    A bootstrap of few units is too narrow by the divisor of the variance and by its own uncertainty (Hesterberg 2015, What
    Teachers Should Know About the Bootstrap, 4.3): ten subjects need the level 0.983 for 0.95.
    """
    from scipy.special import ndtr, stdtrit

    if num_units < 2:
        return level
    quantile = stdtrit(num_units - 1, (1 + level) / 2) * np.sqrt(num_units / (num_units - 1))
    return float(2 * ndtr(quantile) - 1)


def fold_sizes_if_clusters(clusters: NDArray[np.integer], folds: NDArray[np.integer]) -> Counts | None:
    """(F,) the samples of each fold if every fold is one whole cluster, as when one subject is left out; else None."""
    num_folds = int(folds.max(initial=0)) + 1
    if num_folds == 1:
        return None
    # A table of who is where; sorting a million pairs would take longer than the bootstrap.
    counts = np.bincount(np.asarray(clusters, np.int64) * num_folds + folds)
    seen = np.append(counts, np.zeros(-len(counts) % num_folds, np.int64)).reshape(-1, num_folds) > 0
    if not int(seen.any(axis=1).sum()) == int(seen.sum()) == num_folds == int(seen.any(axis=0).sum()):
        return None
    return np.bincount(folds).astype(np.int64)


# --- values of the metrics over replicates -------------------------------------------------------------------------------


_Tables: TypeAlias = tuple[Mapping[str, Mapping[str, Floats]], ...]
"""`pooled[view][metric]` and `mean_of_folds[view][metric]`, each (replicates,)."""


def _replicate_values(
    draw_cells: Callable[[int], Counts], rows: int, replicates: int, *, fold_sizes: Counts | None = None
) -> _Tables:
    """Every headline metric of every replicate. `draw_cells(r)` gives (r, F, K, K + 1) counts; `fold_sizes` (F,) is the
    samples of each fold, where folds count as often as they were drawn."""
    blocks = []
    for start in range(0, replicates, rows):
        cells = draw_cells(min(rows, replicates - start))
        weights = None if fold_sizes is None else cells.sum(axis=(-1, -2)) / fold_sizes
        blocks.append(_block_values(cells, weights))
    joined = [
        {
            view: {name: np.concatenate([block[part][view][name] for block in blocks]) for name in METRICS}
            for view in VIEWS
        }
        for part in (0, 1)
    ]
    return tuple(joined)


def _block_values(cells: NDArray[Any], weights: Floats | None = None) -> _Tables:
    folds = _confusion(cells)
    pooled = folds if cells.shape[1] == 1 else _confusion(cells.sum(axis=1, keepdims=True))
    of_pooled: dict[str, dict[str, Floats]] = {}
    of_mean: dict[str, dict[str, Floats]] = {}
    for view in VIEWS:
        if view != VIEWS[0] and not folds.unscored.any():
            of_pooled[view], of_mean[view] = of_pooled[VIEWS[0]], of_mean[VIEWS[0]]
            continue
        functions = {row.function for row in METRICS.values()}  # a function with two names is computed once
        values = {function: function(pooled, view)[:, 0] for function in functions}
        means = values
        if cells.shape[1] > 1:
            means = {function: mean_over_folds(function(folds, view), weights) for function in functions}
        of_pooled[view] = {name: values[row.function] for name, row in METRICS.items()}
        of_mean[view] = {name: means[row.function] for name, row in METRICS.items()}
    return of_pooled, of_mean


def mean_over_folds(values: Floats, weights: Floats | None = None) -> Floats:
    """(R,) the mean of (R, F) over the folds where it is defined; NaN where it is nowhere."""
    defined = ~np.isnan(values)
    weight = defined if weights is None else defined * weights
    total = weight.sum(axis=1)
    sums = (np.where(defined, values, 0.0) * weight).sum(axis=1)
    result = np.full(len(values), np.nan)
    np.divide(sums, total, out=result, where=total > 0)
    return result


# --- ends ----------------------------------------------------------------------------------------------------------------


def _less(of_source: _Tables, of_observed: _Tables) -> _Tables:
    """The difference of two tables of single values; 0 where one is undefined."""
    return tuple(
        {
            view: {name: np.nan_to_num(values - seen[view][name]) for name, values in row.items()}
            for view, row in source.items()
        }
        for source, seen in zip(of_source, of_observed, strict=True)
    )


def _table(
    unit: str,
    num_units: int,
    what: str,
    values: _Tables,
    options: BootstrapOptions,
    shifts: _Tables | None = None,
    level: float | None = None,
) -> IntervalTable:
    level = options.level if level is None else level
    tables = []
    for part, table in enumerate(values):
        tables.append({
            view: {
                name: _moved(
                    percentile_interval(replicates, level),
                    0.0 if shifts is None else float(shifts[part][view][name][0]),
                    METRICS[name].lowest,
                )
                for name, replicates in row.items()
            }
            for view, row in table.items()
        })  # fmt: skip
    return IntervalTable(
        unit, num_units, options.level, options.replicates, options.seed, f"bootstrap: {what}", tables[0], tables[1]
    )


def _moved(interval: Interval, shift: float, lowest: float) -> Interval:
    low, high = np.clip([interval.low - shift, interval.high - shift], lowest, 1.0)
    return Interval(float(low), float(high))


def percentile_interval(values: Floats, level: float) -> Interval:
    """The central `level` of the replicates where the metric is defined; NaN where it is in none."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _cells(confusion: Confusion) -> Counts:
    return np.concatenate([confusion.matrix, confusion.unscored[..., None]], axis=-1)


def _confusion(cells: NDArray[Any]) -> Confusion:
    return Confusion(cells[..., :-1], cells[..., -1])


def _plain(table: Intervals) -> dict[str, dict[str, dict[str, float] | None]]:
    return {view: {name: interval.as_dict() for name, interval in row.items()} for view, row in table.items()}
