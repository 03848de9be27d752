"""What the outputs say of themselves: one class for everybody, or the very same logits for many samples."""

from __future__ import annotations

import numpy as np

from ferbench.audits.subject import Scored
from ferbench.findings import Finding

_LEAST = 10
"""Scored samples below which nothing is said: a handful of clips may well be of one class."""
_SHARE = 0.05
"""Of the scored samples, those whose logits another sample has too. A copy of a clip in a dataset is one in hundreds."""


def audit_one_class(scored: Scored) -> list[Finding]:
    """One class is predicted for every sample, of several that occur."""
    predictions = scored.predictions
    predicted = predictions.predicted
    seen = predicted >= 0
    if int(seen.sum()) < _LEAST or len(np.unique(predictions.targets[seen])) < 2 or len(np.unique(predicted[seen])) > 1:
        return []
    name = predictions.labels.names[int(predicted[seen][0])]
    message = (
        f"all {int(seen.sum()):,} predictions are {name}, of {len(np.unique(predictions.targets[seen]))} classes that "
        "occur: UAR is that of guessing, whatever WAR is"
    )
    advice = (
        "see whether the weights were loaded, and whether the pixels have the range and size the model was trained with"
    )
    return [Finding("warning", "one-class", message, advice, count=int(seen.sum()))]


def audit_repeated_logits(scored: Scored) -> list[Finding]:
    """Bit for bit the same logits for many samples: a loader that gives the same pixels, or a model that ignores them.

    Hard predictions and saturated probabilities repeat by nature, so rows of one or two distinct values are left out.
    """
    predictions = scored.predictions
    logits = np.ascontiguousarray(predictions.logits[predictions.predicted >= 0])
    if len(logits) < _LEAST or predictions.hard:
        return []
    sorted_rows = np.sort(logits, axis=1)
    telling = (np.diff(sorted_rows, axis=1) != 0).sum(axis=1) >= min(2, logits.shape[1] - 1)
    rows = logits[telling].view(np.dtype((np.void, logits.dtype.itemsize * logits.shape[1]))).reshape(-1)
    _, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    repeated = int(counts[counts > 1].sum())
    if repeated < _LEAST or repeated < _SHARE * len(logits):
        return []
    ids = np.array(predictions.sample_ids, dtype=object)[predictions.predicted >= 0][telling]
    examples = ids[np.flatnonzero(inverse.reshape(-1) == int(counts.argmax()))[:2]]
    message = (
        f"{repeated:,} of {len(logits):,} samples have logits that another sample has too, bit for bit; "
        f"{int(counts.max()):,} have those of {examples[0]} and {examples[1]}"
    )
    advice = "look at the faces of those two: one clip given for many, blank crops, or a model that ignores them"
    return [Finding("warning", "same-logits", message, advice, sample=str(examples[0]), count=repeated)]
