"""Metrics of the probabilities, softmax(logits), of samples that have a prediction; numpy only.

`logits` is (N, K) with at least one finite value a row; -inf is a class that the model does not know and has probability 0.
`targets` is (N,) in 0..K-1. Every function returns NaN for N = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15
"""Of the expected calibration error, as in Guo et al. 2017."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """B bins of confidence, each open below and closed above: how sure the model was, and how often it was right."""

    edges: NDArray[np.float64]
    """(B + 1,) from 0 to 1."""
    count: NDArray[np.int64]
    """(B,) samples in the bin."""
    confidence: NDArray[np.float64]
    """(B,) their mean confidence; NaN in an empty bin."""
    accuracy: NDArray[np.float64]
    """(B,) the fraction of them that is right; NaN in an empty bin."""


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, K) probabilities that add up to 1 in each row."""
    return np.exp(log_softmax(logits))


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, K) natural logarithms of the probabilities; -inf for a class of logit -inf."""
    values = np.asarray(logits, np.float64)
    shifted = values - values.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def top2(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """The fraction of samples whose class is among the two highest logits; of equal logits the lower class is higher."""
    if not len(targets):
        return float("nan")
    own = logits[np.arange(len(targets)), targets][:, None]
    before = np.arange(logits.shape[1]) < targets[:, None]
    rank = ((logits > own) | ((logits == own) & before)).sum(axis=1)
    return float((rank < 2).mean())


def nll(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """Mean of -ln p(true class), in nats; infinite when a true class has probability 0."""
    if not len(targets):
        return float("nan")
    return float(-log_softmax(logits)[np.arange(len(targets)), targets].mean())


def brier(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """Mean over samples of the sum over classes of (p - truth)^2, 0 to 2, as Brier 1950 defines it."""
    if not len(targets):
        return float("nan")
    difference = softmax(logits)
    difference[np.arange(len(targets)), targets] -= 1
    return float((difference**2).sum(axis=1).mean())


def ece(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """Expected calibration error: |accuracy - mean confidence| of 15 equal-width bins, weighted by their counts."""
    if not len(targets):
        return float("nan")
    bins = calibration(logits, targets)
    gaps = np.nan_to_num(np.abs(bins.accuracy - bins.confidence))
    return float((bins.count * gaps).sum() / bins.count.sum())


def calibration(logits: NDArray[np.floating], targets: NDArray[np.int64], *, num_bins: int = NUM_BINS) -> Calibration:
    """Samples by the probability of their predicted class, in equal-width bins (i / B, (i + 1) / B]."""
    edges = np.linspace(0, 1, num_bins + 1)
    predicted = np.argmax(logits, axis=1) if len(targets) else np.zeros(0, np.int64)
    confidence = softmax(logits)[np.arange(len(targets)), predicted] if len(targets) else np.zeros(0)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    count = np.bincount(place, minlength=num_bins).astype(np.int64)
    sums = [np.bincount(place, weights=values, minlength=num_bins) for values in (confidence, predicted == targets)]
    means = [np.divide(total, count, out=np.full(num_bins, np.nan), where=count > 0) for total in sums]
    return Calibration(edges, count, means[0], means[1])
