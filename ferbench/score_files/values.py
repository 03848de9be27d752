"""Logits and probabilities of a file as logits: which of the two they are, and the logarithm taken safely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.rows import ScoreRows

TOLERANCE_PER_CLASS = 0.005
"""How far from 1 a row of probabilities may sum, times the number of classes: what rounding to two digits can do."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""A probability of 0 becomes this, so that its logarithm, -87.3, is a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """(N, K) in the order of the file."""

    logits: NDArray[np.float32]
    """NaN in rows that have no prediction."""
    kind: str
    """What the file's values were taken for."""
    errors: dict[int, str]
    """Row -> `reason: message`."""


def logits_of(rows: ScoreRows, options: ScoreFileOptions) -> Logits:
    """The values as logits. Raises PredictionsError with the line of a row that is no probabilities where it should be."""
    values = rows.values
    assert values is not None
    empty = np.isnan(values).all(axis=1)
    broken = ~empty & ~_usable(values)
    usable = ~empty & ~broken
    kind = options.values if options.values != "auto" else rows.kind
    tolerance = TOLERANCE_PER_CLASS * values.shape[1] + 1e-6
    inside = np.asarray(((values >= -1e-6) & (values <= 1 + 1e-6)).all(axis=1), np.bool_)
    sums = values.sum(axis=1, where=np.isfinite(values))
    fits: NDArray[np.bool_] = np.logical_and(inside, np.abs(sums - 1) <= tolerance)
    if not kind:
        kind = "probabilities" if usable.any() and fits[usable].all() else "logits"
    if kind == "probabilities":
        wrong = np.flatnonzero(usable & ~fits)
        if len(wrong):
            row = int(wrong[0])
            rule = (
                f"sum to {sums[row]:.4g}"
                if inside[row]
                else f"range from {values[row].min():.4g} to {values[row].max():.4g}"
            )
            raise PredictionsError(
                f"{rows.where(row)}: the probabilities {rule}; they must be in 0..1 and sum to 1 in every row "
                "(--values logits takes them as they are)"
            )
        values = np.log(np.maximum(values, SMALLEST))
    with np.errstate(over="ignore"):
        logits = values.astype(np.float32)
    # What float64 holds and float32 does not is no usable number either.
    broken |= usable & ~_usable(logits)
    logits[empty | broken] = np.nan
    errors = {
        int(row): f"missing-prediction: the cells are empty in {rows.where(int(row))}" for row in np.flatnonzero(empty)
    }
    errors |= {
        int(row): f"nan-logits: not every value is a finite number in {rows.where(int(row))}"
        for row in np.flatnonzero(broken)
    }
    return Logits(logits, kind, errors)


def _usable(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) True for rows that have an argmax. The logarithm of 0 is minus infinity, and means a class that never is."""
    return np.asarray((values < np.inf).all(axis=1) & (values > -np.inf).any(axis=1), np.bool_)
