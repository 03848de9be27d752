"""Features in two dimensions, and how well they keep the classes apart, as numbers that need no eye."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import MissingExtraError, UsageError

Features = NDArray[np.float32]
MOST_DIMENSIONS = 50
"""Features are brought to so many by their principal components before t-SNE, as its authors do (van der Maaten and
Hinton, JMLR 9, 2008)."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """One row of `EMBEDDINGS`."""

    title: str
    function: Callable[[Features, int], NDArray[np.float32]]
    """((N, D) features, seed) -> (N, 2)."""
    source: str


@dataclass(frozen=True, slots=True)
class Separation:
    """How well features keep classes apart. Distances are Euclidean, between standardized features."""

    samples: int
    silhouette: float
    """Mean silhouette coefficient (Rousseeuw 1987), -1..1; NaN for fewer than two classes or samples."""
    neighbour_agreement: float
    """Share of samples whose nearest other sample is of the same class, 0..1; NaN for fewer than two samples."""
    chance: float
    """What `neighbour_agreement` is expected to be when neighbours are drawn at random."""
    class_silhouettes: tuple[float, ...]
    """(K,) mean per class; NaN for a class without samples."""


def embed(features: Features, *, method: str, seed: int) -> NDArray[np.float32]:
    """(N, 2) for (N, D) features; the same seed gives the same picture. Fewer than 4 samples lie on their first two axes.

    Raises UsageError for an unknown method, MissingExtraError when its library is not installed.
    """
    if method not in EMBEDDINGS:
        raise UsageError(f"unknown embedding {method!r}; known: {', '.join(EMBEDDINGS)}")
    if len(features) < 4:
        flat = np.zeros((len(features), 2), np.float32)
        flat[:, : features.shape[1]] = features[:, :2]
        return flat
    return EMBEDDINGS[method].function(standardized(features), seed)


def standardized(features: Features) -> Features:
    """Zero mean and unit deviation per dimension; a dimension that never changes becomes 0."""
    wide = features.astype(np.float64)
    deviation = wide.std(axis=0)
    return np.asarray((wide - wide.mean(axis=0)) / np.where(deviation > 0, deviation, 1), np.float32)


def separation(features: Features, targets: NDArray[np.int64], *, num_classes: int) -> Separation:
    """How well (N, D) features keep the classes (N,) apart."""
    counts = np.bincount(targets, minlength=num_classes)
    number = len(targets)
    chance = float((counts * (counts - 1)).sum() / (number * (number - 1))) if number > 1 else float("nan")
    scaled = standardized(features)
    silhouettes = _silhouettes(scaled, targets)
    per_class = tuple(
        float(silhouettes[targets == label].mean()) if counts[label] else float("nan") for label in range(num_classes)
    )
    overall = float(silhouettes.mean()) if number else float("nan")
    return Separation(number, overall, _agreement(scaled, targets), chance, per_class)


def _silhouettes(scaled: Features, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    from sklearn.metrics import silhouette_samples

    if not 2 <= len(np.unique(targets)) < len(targets):
        return np.full(len(targets), np.nan)
    return np.asarray(silhouette_samples(scaled, targets), np.float64)


def _agreement(scaled: Features, targets: NDArray[np.int64]) -> float:
    from sklearn.neighbors import NearestNeighbors

    if len(targets) < 2:
        return float("nan")
    found = NearestNeighbors(n_neighbors=1).fit(scaled).kneighbors(return_distance=False)
    return float((targets[found[:, 0]] == targets).mean())


def _tsne(scaled: Features, seed: int) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if min(scaled.shape) > MOST_DIMENSIONS:
        scaled = PCA(MOST_DIMENSIONS, svd_solver="randomized", random_state=seed).fit_transform(scaled)
    perplexity = min(30.0, (len(scaled) - 1) / 3)
    # More than one thread would add in another order. Started from the principal components, it keeps large distances.
    start = "pca" if min(scaled.shape) >= 2 else "random"
    tsne = TSNE(2, perplexity=perplexity, init=start, learning_rate="auto", random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(scaled), np.float32)


def _umap(scaled: Features, seed: int) -> NDArray[np.float32]:
    try:
        umap = importlib.import_module("umap")
    except ImportError as error:
        raise MissingExtraError(
            "UMAP needs umap-learn: pip install 'ferbench[umap]', or use --embedding tsne"
        ) from error
    neighbours = min(15, len(scaled) - 1)
    # Few samples leave too few dimensions for the spectral start.
    start = "spectral" if len(scaled) > 15 else "random"
    made = umap.UMAP(n_components=2, n_neighbors=neighbours, init=start, random_state=seed, n_jobs=1)
    return np.asarray(made.fit_transform(scaled), np.float32)


def _pca(scaled: Features, seed: int) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA

    two = PCA(min(2, *scaled.shape), svd_solver="full").fit_transform(scaled)
    return np.asarray(np.pad(two, ((0, 0), (0, 2 - two.shape[1]))), np.float32)


EMBEDDINGS: dict[str, Embedding] = {
    "tsne": Embedding("t-SNE", _tsne, "van der Maaten and Hinton, JMLR 9, 2008"),
    "umap": Embedding("UMAP", _umap, "McInnes, Healy and Melville, 2018, arXiv 1802.03426"),
    "pca": Embedding("principal components", _pca, "Pearson 1901; the only one whose distances mean something"),
}
"""Name -> function. A new one is one row."""
