"""Bootstrap draws of counts: units are drawn with replacement and what each adds to the columns is summed, exactly.

A unit is a sample or a cluster of samples; a column is a cell of a confusion matrix. No sample is touched after it was
counted: units that add the same are exchangeable, so how often each kind is drawn is one multinomial; and kinds that are
too many for that are drawn one by one and summed by a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.metrics import Counts

MOST_DENSE = 1 << 23
"""Entries of the largest table of counts that is made dense: 64 MiB of int64."""
BLOCK = 1 << 22
"""Entries of a block of draws; a block of replicates has as many rows as fit."""
DRAWS_AT_ONCE = 80_000
"""Units that are drawn and counted at once: their histogram stays in the processor's cache."""
KINDS_PER_UNIT = 12
"""One binomial of a multinomial takes about as long as drawing this many units one by one."""
EXACT_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """T kinds of units, and what a unit of each kind adds to each of C columns (compressed rows)."""

    multiplicity: Counts
    """(T,) how many units are of the kind."""
    starts: Counts
    """(T + 1,) the entries of kind t are starts[t] to starts[t + 1]."""
    columns: Counts
    """(entries,) 0..C-1."""
    counts: Counts
    """(entries,) above 0."""
    num_columns: int

    @property
    def num_units(self) -> int:
        """How many units there are, equal ones included."""
        return int(self.multiplicity.sum())

    def __len__(self) -> int:
        return len(self.multiplicity)

    def dense(self, start: int, stop: int) -> NDArray[np.float64]:
        """(stop - start, C) what the kinds from `start` to before `stop` add."""
        table = np.zeros((stop - start, self.num_columns))
        part = slice(int(self.starts[start]), int(self.starts[stop]))
        rows = np.repeat(np.arange(stop - start), np.diff(self.starts[start : stop + 1]))
        table[rows, self.columns[part]] = self.counts[part]
        return table

    def totals(self) -> Counts:
        """(C,) the sum over all units."""
        weights = np.repeat(self.multiplicity, np.diff(self.starts)) * self.counts
        totals = np.zeros(self.num_columns, np.int64)
        np.add.at(totals, self.columns, weights)
        return totals


def sample_units(counts: Counts) -> Units:
    """Each sample is a unit that adds 1 to one column; `counts` (C,) samples per column."""
    columns = np.flatnonzero(counts)
    ones = np.ones(len(columns), np.int64)
    return Units(counts[columns].astype(np.int64), np.arange(len(columns) + 1), columns, ones, len(counts))


def cluster_units(clusters: NDArray[np.integer], columns: NDArray[np.integer], *, num_columns: int) -> Units:
    """Samples of the same cluster are a unit; `clusters` (N,) from 0, `columns` (N,) where each sample is counted."""
    if not len(clusters):
        return sample_units(np.zeros(num_columns, np.int64))
    num_clusters = int(clusters.max()) + 1
    flat = np.asarray(clusters, np.int64) * num_columns + columns
    if num_clusters * num_columns <= MOST_DENSE:
        table = np.bincount(flat, minlength=num_clusters * num_columns)
        places = np.flatnonzero(table)
        counts = table[places]
    else:
        places, counts = np.unique(flat, return_counts=True)
    owners, cells = np.divmod(places, num_columns)
    # Numbers without samples are no clusters.
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return _collapsed(np.append(starts, len(owners)), cells, counts.astype(np.int64), num_columns)


def _collapsed(starts: Counts, columns: Counts, counts: Counts, num_columns: int) -> Units:
    """Units that add the same become one kind. They are compared by two 64-bit sums with random factors: two different
    ones of a million would be taken for equal once in 10^26 calls."""
    factors = (
        np.random.default_rng(0).integers(1 << 63, size=(2, num_columns), dtype=np.int64).astype(np.uint64) * 2 + 1
    )
    keys = np.stack([np.add.reduceat(factor[columns] * counts.astype(np.uint64), starts[:-1]) for factor in factors])
    order = np.lexsort(keys)
    is_new = np.append(True, (np.diff(keys[:, order].astype(np.int64), axis=1) != 0).any(axis=0))
    first = np.flatnonzero(is_new)
    multiplicity = np.diff(np.append(first, len(order)))
    if len(first) * KINDS_PER_UNIT > len(order):
        # Too many kinds for a multinomial: every unit stays its own.
        return Units(np.ones(len(order), np.int64), starts, columns, counts, num_columns)
    kept = order[first]
    lengths = np.diff(starts)[kept]
    entries = (
        np.repeat(starts[kept], lengths) + np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    )
    return Units(multiplicity, np.append(0, np.cumsum(lengths)), columns[entries], counts[entries], num_columns)


def block_rows(units: Sequence[Units], replicates: int) -> int:
    """How many replicates of all of `units` are worth drawing at once, memory considered."""
    widest = max(max(part.num_columns, len(part), 1) for part in units)
    return int(np.clip(BLOCK // (widest * len(units)), 1, replicates))


def draw(units: Units, replicates: int, rng: np.random.Generator) -> Counts:
    """(replicates, C) sums over as many units as there are, drawn with replacement."""
    return _weighted(units, _weights(units, replicates, rng))


def _weights(units: Units, rows: int, rng: np.random.Generator) -> Counts:
    """(rows, T) how often each kind is drawn."""
    total = units.num_units
    if len(units) < total:
        return rng.multinomial(total, units.multiplicity / total, size=rows)
    weights = np.zeros((rows, total), np.int64)
    step = max(1, DRAWS_AT_ONCE // max(total, 1))
    offsets = np.arange(step)[:, None] * total
    for start in range(0, rows if total else 0, step):
        part = weights[start : start + step]
        draws = rng.integers(0, total, size=part.shape) + offsets[: len(part)]
        part[...] = np.bincount(draws.ravel(), minlength=part.size).reshape(part.shape)
    return weights


def _weighted(units: Units, weights: Counts) -> Counts:
    """(rows, C) the sums; exact, because every partial sum is an integer that the product's floats can hold."""
    if len(units.counts) == len(units) and (units.counts == 1).all() and len(np.unique(units.columns)) == len(units):
        sums = np.zeros((len(weights), units.num_columns), np.int64)
        sums[:, units.columns] = weights
        return sums
    largest = units.num_units * int(units.counts.max(initial=0))
    kind = np.float32 if largest < EXACT_IN_FLOAT32 else np.float64
    step = max(1, BLOCK // units.num_columns)
    total = np.zeros((len(weights), units.num_columns), kind)
    for start in range(0, len(units), step):
        stop = min(start + step, len(units))
        total += weights[:, start:stop].astype(kind) @ units.dense(start, stop).astype(kind)
    return total.astype(np.int64)
