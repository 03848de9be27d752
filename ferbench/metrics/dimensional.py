"""Metrics of valence and arousal: real numbers, one prediction per sample; numpy only.

`target` and `predicted` are (N,) floats in the same unit, without NaN. Every function returns NaN for N = 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ccc(target: NDArray[np.floating], predicted: NDArray[np.floating]) -> float:
    """Concordance correlation coefficient (Lin 1989): 2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2).

    Variances are of the population (divided by N), as in the Aff-Wild2 challenges. NaN where both are the same constant.
    """
    x, y = _pair(target, predicted)
    if not len(x):
        return float("nan")
    scale = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * _covariance(x, y) / scale) if scale > 0 else float("nan")


def rmse(target: NDArray[np.floating], predicted: NDArray[np.floating]) -> float:
    """Root of the mean squared difference, in the unit of the target."""
    x, y = _pair(target, predicted)
    return float(np.sqrt(((x - y) ** 2).mean())) if len(x) else float("nan")


def pearson(target: NDArray[np.floating], predicted: NDArray[np.floating]) -> float:
    """Pearson's correlation, -1 to 1; NaN where either is constant."""
    x, y = _pair(target, predicted)
    if not len(x):
        return float("nan")
    scale = x.std() * y.std()
    return float(_covariance(x, y) / scale) if scale > 0 else float("nan")


def _pair(
    target: NDArray[np.floating], predicted: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(target, np.float64), np.asarray(predicted, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"targets of shape {x.shape} and predictions of shape {y.shape}; both must be (N,)")
    return x, y


def _covariance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(((x - x.mean()) * (y - y.mean())).mean())
