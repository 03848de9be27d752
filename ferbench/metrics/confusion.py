"""Confusion: what was predicted for what was true, counted once; every metric of classes is a function of it.

Rows are the true class, columns the predicted class, plus one count per class of samples that got no prediction. Two views
of it are scored: `detected` looks at predicted samples only, `all` counts every sample without a prediction as an error of
its class. Leading axes are replicates of a bootstrap: all metrics are computed over them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import PredictionsError

Counts = NDArray[np.int64]
VIEWS = ("detected", "all")


@dataclass(frozen=True, eq=False)
class Confusion:
    """What was predicted for what was true, over K classes."""

    matrix: Counts
    """(..., K, K) rows true, columns predicted."""
    unscored: Counts
    """(..., K) samples of each class without a prediction."""

    def __post_init__(self) -> None:
        size = self.unscored.shape[-1]
        if self.matrix.shape != (*self.unscored.shape, size):
            raise PredictionsError(
                f"a confusion matrix of {size} classes must be {size}x{size}, got {self.matrix.shape}"
            )

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.matrix + other.matrix, self.unscored + other.unscored)

    @cached_property
    def hits(self) -> Counts:
        """(..., K) samples of each class that were predicted as it."""
        return np.ascontiguousarray(np.diagonal(self.matrix, axis1=-2, axis2=-1))

    @cached_property
    def guessed(self) -> Counts:
        """(..., K) how often each class was predicted."""
        return self.matrix.sum(axis=-2)  # type: ignore[no-any-return]

    @cached_property
    def _seen(self) -> Counts:
        return self.matrix.sum(axis=-1)  # type: ignore[no-any-return]

    def support(self, view: str) -> Counts:
        """(..., K) samples per true class that the view counts."""
        return self._seen + self.unscored if view == "all" else self._seen

    def present(self, view: str) -> NDArray[np.bool_]:
        """(..., K) which classes occur in the truth."""
        return self.support(view) > 0


def confusion_matrix(targets: NDArray[np.int64], predicted: NDArray[np.int64], *, num_classes: int) -> Confusion:
    """Count (target, predicted) pairs; a predicted value of -1 is a sample without a prediction.

    `targets` (N,) in 0..num_classes-1, `predicted` (N,) in -1..num_classes-1; anything else is a PredictionsError.
    """
    for name, values, lowest in (("target", targets, 0), ("predicted class", predicted, -1)):
        if len(values) and (values.min() < lowest or values.max() >= num_classes):
            bad = values[(values < lowest) | (values >= num_classes)][0]
            raise PredictionsError(f"{name} {bad} is outside {lowest}..{num_classes - 1}")
    if len(targets) != len(predicted):
        raise PredictionsError(f"{len(targets)} targets but {len(predicted)} predictions")
    # A prediction of -1 is counted in the column before the classes.
    pairs = np.asarray(targets, np.int64) * (num_classes + 1) + predicted + 1
    cells = np.bincount(pairs, minlength=num_classes * (num_classes + 1)).reshape(num_classes, num_classes + 1)
    return Confusion(np.ascontiguousarray(cells[:, 1:], np.int64), np.ascontiguousarray(cells[:, 0], np.int64))
