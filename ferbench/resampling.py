"""Bootstrap draws of counts: units are drawn with replacement and what each adds to the columns is summed, exactly.

A unit is a sample or a cluster of samples; a column is a cell of a confusion matrix. No sample is touched after it was
counted: units that add the same are exchangeable, so how often each kind is drawn is one multinomial; and kinds that are
too many for that are drawn one by one and summed by a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.metrics import Counts

MOST_DENSE = 1 << 23
"""Entries of the largest table of counts that is made dense: 64 MiB of int64."""
BLOCK = 1 << 22
"""Entries of a block of draws; a block of replicates has as many rows as fit."""
DRAWS_AT_ONCE = 40_000
"""Units that are drawn and counted at once: their histogram stays in the processor's cache."""
PRODUCT_ROWS = 128
"""Replicates of one matrix product, at most."""
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
    total = units.num_units
    if (units.counts == 1).all() and len(np.unique(units.columns)) == len(units.columns) == len(units):
        # Every kind adds 1 to a column of its own: how often it was drawn is the sum.
        return draw_multinomial(units.totals(), replicates, rng)
    sums = np.zeros((replicates, units.num_columns), np.int64)
    # Every partial sum is an integer that the product's floats can hold, so the sums are exact.
    largest = total * int(units.counts.max(initial=0))
    kind: np.dtype[Any] = np.dtype(np.float32 if largest < EXACT_IN_FLOAT32 else np.float64)
    step = max(1, BLOCK // units.num_columns)
    parts = [slice(first, min(first + step, len(units))) for first in range(0, len(units), step)]
    only = units.dense(0, len(units)).astype(kind) if len(parts) == 1 else None
    rows = int(np.clip(BLOCK // max(len(units), 1), 1, PRODUCT_ROWS))
    for start in range(0, replicates, rows):
        block = sums[start : start + rows]
        weights: NDArray[Any] = _weights(units, len(block), rng).astype(kind, copy=False)
        for part in parts:
            table: NDArray[Any] = units.dense(part.start, part.stop).astype(kind) if only is None else only
            block += (weights[:, part] @ table).astype(np.int64)
    return sums


def _weights(units: Units, rows: int, rng: np.random.Generator) -> NDArray[Any]:
    """(rows, T) how often each kind is drawn."""
    total = units.num_units
    if len(units) < total:
        return rng.multinomial(total, units.multiplicity / total, size=rows)
    weights = np.empty((rows, total), np.float32)
    step = max(1, DRAWS_AT_ONCE // max(total, 1))
    for start in range(0, rows, step):
        part = weights[start : start + step]
        draws = rng.integers(0, total, size=part.shape)
        draws += np.arange(len(part))[:, None] * total
        part[...] = np.bincount(draws.ravel(), minlength=part.size).reshape(part.shape)
    return weights


def draw_multinomial(expected: NDArray[np.number], replicates: int, rng: np.random.Generator) -> Counts:
    """(replicates, C) counts: as many samples as `expected` (C,) adds up to, drawn in its proportions."""
    sums = np.zeros((replicates, len(expected)), np.int64)
    columns = np.flatnonzero(expected)
    if len(columns):
        total = expected.sum()
        sums[:, columns] = rng.multinomial(round(float(total)), expected[columns] / total, size=replicates)
    return sums
