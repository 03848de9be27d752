"""Two runs over the same samples: how much they differ, and whether that could be chance.

Joined by sample_id. All a sample matters through is its true class and what both runs made of it, so the bootstrap draws
those joint cells: both runs are scored on the same replicate, and what they find equally hard does not blur the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.intervals import (
    BootstrapOptions,
    Interval,
    fold_sizes_if_clusters,
    mean_over_folds,
    percentile_interval,
)
from ferbench.metrics import METRICS, VIEWS, Confusion, Counts
from ferbench.predictions import Predictions, clusters_of, find_cluster
from ferbench.resampling import BLOCK, block_rows, cluster_units, draw, sample_units

MOST_NAMED = 3
"""Sample ids that an error message names."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of run a less the same metric of run b, in the unit of the metric."""

    a: float
    b: float
    difference: float
    """a - b; NaN where one of them is undefined."""
    interval: Interval
    p_value: float
    """Two-sided: how often the replicates' difference has the other sign, doubled; at least 2 / (replicates + 1)."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, null where undefined."""
        plain = {name: value if value == value else None for name, value in asdict(self).items() if name != "interval"}
        return {**plain, "interval": self.interval.as_dict()}


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test of whether two runs are right equally often, from the samples where only one is right."""

    only_a: int
    """Samples that a has right and b wrong."""
    only_b: int
    exact: float
    """Two-sided p of the exact binomial test."""
    mid_p: float
    """The same less half of the probability of what was seen: less conservative (Fagerland et al. 2013)."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedComparison:
    """Run a less run b, over the samples of both."""

    num_samples: int
    unit: str
    """`sample`, or the attribute whose values were drawn."""
    num_units: int
    level: float
    replicates: int
    seed: int
    method: str
    pooled: Mapping[str, Mapping[str, Difference]]
    """`pooled[view][metric]`; the view `detected` is over the samples that both runs scored."""
    mean_of_folds: Mapping[str, Mapping[str, Difference]]
    """Empty when the two runs have different folds."""
    mcnemar: Mapping[str, McNemar]
    """By view."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tables = {"pooled": self.pooled, "mean_of_folds": self.mean_of_folds}
        return {
            "num_samples": self.num_samples,
            "unit": self.unit,
            "num_units": self.num_units,
            "level": self.level,
            "replicates": self.replicates,
            "seed": self.seed,
            "method": self.method,
            **{
                name: {view: {metric: cell.as_dict() for metric, cell in row.items()} for view, row in table.items()}
                for name, table in tables.items()
            },
            "mcnemar": {view: asdict(test) for view, test in self.mcnemar.items()},
        }


def compare_paired(
    a: Predictions, b: Predictions, *, options: BootstrapOptions | None = None, cluster: str = "none"
) -> PairedComparison:
    """Compare two runs over the same samples.

    `cluster` is an attribute of `a` whose values are drawn instead of samples; `auto` looks for one, `none` draws samples.
    Raises PredictionsError when the runs do not have the same samples, or not the same true class of one; UsageError for an
    attribute that `a` lacks.
    """
    options = options or BootstrapOptions()
    joint = _joined(a, b)
    unit = find_cluster(a, cluster)
    if unit:
        units = [cluster_units(clusters_of(a, unit), joint.columns, num_columns=joint.num_columns)]
        drawn = f"the clusters of equal {unit}"
    else:
        counts = np.bincount(joint.columns, minlength=joint.num_columns)
        units = [sample_units(np.where(joint.fold_of_column == fold, counts, 0)) for fold in range(joint.num_folds)]
        drawn = "the samples" if joint.num_folds == 1 else "the samples of each fold"
    fold_sizes = fold_sizes_if_clusters(clusters_of(a, unit), joint.folds) if unit else None
    observed = _values(joint, np.sum([part.totals() for part in units], axis=0)[None])
    rng = np.random.default_rng(options.seed)
    rows = min(block_rows(units, options.replicates), max(1, BLOCK // joint.num_cells))
    blocks = []
    for start in range(0, options.replicates, rows):
        draws = [draw(part, min(rows, options.replicates - start), rng) for part in units]
        blocks.append(_values(joint, np.sum(draws, axis=0), fold_sizes))
    tables = [
        {
            view: {
                name: _difference(
                    [float(side[0]) for side in observed[part][view][name]],
                    np.concatenate([np.subtract(*block[part][view][name]) for block in blocks]),
                    options.level,
                )
                for name in METRICS
            }
            for view in VIEWS
        }
        for part in ((0, 1) if joint.same_folds else (0,))
    ]
    return PairedComparison(
        num_samples=len(a),
        unit=unit or "sample",
        num_units=sum(part.num_units for part in units),
        level=options.level,
        replicates=options.replicates,
        seed=options.seed,
        method=f"paired bootstrap: {drawn} drawn with replacement, both runs scored on the same draws; percentiles",
        pooled=tables[0],
        mean_of_folds=tables[1] if joint.same_folds else {},
        mcnemar={view: _mcnemar_of(joint, view) for view in VIEWS},
    )


def mcnemar(only_a: int, only_b: int) -> McNemar:
    """From the samples that only one run has right: under the null each is a fair coin.

    Exact p is 2 P(X <= the smaller count) for X ~ Binomial(only_a + only_b, 1/2), at most 1; mid-p takes off P(X = it).
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"counts cannot be negative: {only_a} and {only_b}")
    total, smaller = only_a + only_b, min(only_a, only_b)
    # ln P(X = i) by the ratio of neighbours: (total - i + 1) / i.
    steps = np.arange(1, smaller + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(total - steps + 1) - np.log(steps))]) - total * np.log(2)
    point, below = float(np.exp(logs[-1])), float(np.exp(logs).sum())
    if only_a == only_b:
        return McNemar(only_a, only_b, 1.0, 1 - point / 2)
    return McNemar(only_a, only_b, min(1.0, 2 * below), min(1.0, 2 * below - point))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the same order, after Holm 1979: at level 5%, those below 0.05 hold together.

    The smallest is multiplied by how many there are, the next by one less, and none is below the one before it.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


# --- joining -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Joint:
    """The joint cells that occur, (fold, true class, class by a, class by b), and the one that each sample is in."""

    cells: Counts
    """(C, 4); a class of K is no prediction."""
    columns: NDArray[np.int64]
    """(N,) 0..C-1."""
    num_classes: int
    num_folds: int
    same_folds: bool

    @property
    def num_columns(self) -> int:
        return len(self.cells)

    @property
    def fold_of_column(self) -> NDArray[np.int64]:
        return self.cells[:, 0]

    @property
    def folds(self) -> NDArray[np.int64]:
        """(N,) the fold of each sample."""
        return self.fold_of_column[self.columns]

    @property
    def num_cells(self) -> int:
        """Of the confusion matrices of one run, all folds."""
        return self.num_folds * self.num_classes * (self.num_classes + 1)


def _joined(a: Predictions, b: Predictions) -> _Joint:
    place = {sample_id: row for row, sample_id in enumerate(b.sample_ids)}
    only_a = [name for name in a.sample_ids if name not in place]
    only_b = sorted(set(b.sample_ids) - set(a.sample_ids)) if len(a) - len(only_a) < len(b) else []
    if only_a or only_b:
        raise PredictionsError(
            f"the runs do not have the same samples: {_named(only_a, 'only in the first')}, "
            f"{_named(only_b, 'only in the second')}; evaluate both on the same manifest and fold"
        )
    if not len(a):
        raise PredictionsError("there are no predictions to compare")
    rows = np.array([place[name] for name in a.sample_ids])
    labels = a.labels.united_with(b.labels)
    to_labels = np.array([*labels.labels_of(b.labels.names), -1])
    targets_b, predicted_b = to_labels[b.targets][rows], to_labels[b.predicted][rows]
    differ = np.flatnonzero(a.targets != targets_b)
    if len(differ):
        row = int(differ[0])
        raise PredictionsError(
            f"sample {a.sample_ids[row]!r} is {labels.names[a.targets[row]]!r} in the first run and "
            f"{labels.names[targets_b[row]]!r} in the second ({len(differ)} samples differ); check the labels of both"
        )
    size = len(labels)
    folds_b = np.array(b.folds, dtype=object)[rows]
    names, fold = np.unique(np.array(a.folds, dtype=str), return_inverse=True)
    outcome_a, outcome_b = (np.where(side < 0, size, side) for side in (a.predicted, predicted_b))
    flat = ((fold * size + a.targets) * (size + 1) + outcome_a) * (size + 1) + outcome_b
    occurring, columns = np.unique(flat, return_inverse=True)
    shape = (len(names), size, size + 1, size + 1)
    cells = np.stack(np.unravel_index(occurring, shape), axis=1).astype(np.int64)
    return _Joint(cells, columns, size, len(names), bool((folds_b == np.array(a.folds, dtype=object)).all()))


def _named(names: Sequence[str], where: str) -> str:
    examples = ", ".join(repr(name) for name in names[:MOST_NAMED])
    return f"{len(names):,} {where}" + (f" ({examples}{', ...' if len(names) > MOST_NAMED else ''})" if names else "")


# --- values --------------------------------------------------------------------------------------------------------------


def _values(
    joint: _Joint, counts: Counts, fold_sizes: Counts | None = None
) -> tuple[dict[str, dict[str, tuple[Any, Any]]], ...]:
    """Of (R, C) counts: pooled and mean of folds, by view and metric, of a and of b, each (R,)."""
    tables: tuple[dict[str, dict[str, tuple[Any, Any]]], ...] = ({}, {})
    functions = {row.function for row in METRICS.values()}
    whole = _side(joint, counts, 2, "all")
    weights = None if fold_sizes is None else whole.support("all").sum(axis=-1) / fold_sizes
    for view in VIEWS:
        sides = [_side(joint, counts, side, view) for side in (2, 3)]
        pooled = [Confusion(side.matrix.sum(axis=1), side.unscored.sum(axis=1)) for side in sides]
        of_pooled = {function: tuple(function(side, view) for side in pooled) for function in functions}
        of_folds = {
            function: tuple(mean_over_folds(function(side, view), weights) for side in sides) for function in functions
        }
        for table, values in zip(tables, (of_pooled, of_folds), strict=True):
            table[view] = {name: (values[row.function][0], values[row.function][1]) for name, row in METRICS.items()}
    return tables


def _side(joint: _Joint, counts: Counts, side: int, view: str) -> Confusion:
    """(R, F, K, K) of one run; in the view `detected`, over the samples that both runs scored."""
    size = joint.num_classes
    fold, true, outcome = joint.cells[:, 0], joint.cells[:, 1], joint.cells[:, side]
    used = np.ones(len(joint.cells), bool) if view == "all" else (joint.cells[:, 2:] < size).all(axis=1)
    place = (fold * size + true) * (size + 1) + outcome
    order = np.argsort(place[used], kind="stable")
    targets, starts = np.unique(place[used][order], return_index=True)
    table = np.zeros((len(counts), joint.num_folds * size * (size + 1)), np.int64)
    if len(targets):
        table[:, targets] = np.add.reduceat(counts[:, np.flatnonzero(used)[order]], starts, axis=1)
    cells = table.reshape(len(counts), joint.num_folds, size, size + 1)
    return Confusion(cells[..., :-1], cells[..., -1])


def _difference(sides: Sequence[float], replicates: NDArray[np.float64], level: float) -> Difference:
    defined = replicates[~np.isnan(replicates)]
    p_value = float("nan")
    if len(defined) and sides[0] == sides[0] and sides[1] == sides[1]:
        tail = min((defined <= 0).sum(), (defined >= 0).sum())
        p_value = min(1.0, 2 * (int(tail) + 1) / (len(defined) + 1))
    return Difference(sides[0], sides[1], sides[0] - sides[1], percentile_interval(replicates, level), p_value)


def _mcnemar_of(joint: _Joint, view: str) -> McNemar:
    counts = np.bincount(joint.columns, minlength=joint.num_columns)
    true, of_a, of_b = joint.cells[:, 1:].T
    used = counts * ((of_a < joint.num_classes) & (of_b < joint.num_classes)) if view != "all" else counts
    right_a, right_b = of_a == true, of_b == true
    return mcnemar(int(used[right_a & ~right_b].sum()), int(used[right_b & ~right_a].sum()))
