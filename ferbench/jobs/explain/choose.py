"""Which samples are explained, and what the model's outputs are to the manifest's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import ProtocolError
from ferbench.jobs.explain.options import ExplainOptions
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample
from ferbench.predictions import Predictions
from ferbench.protocol import scored_in


@dataclass(frozen=True, slots=True)
class Chosen:
    """The labelled samples of the test parts asked for, in the manifest's order."""

    samples: tuple[Sample, ...]
    folds: tuple[str, ...]
    """Name of each sample's fold."""

    @property
    def by_id(self) -> dict[str, Sample]:
        """sample_id -> sample."""
        return {sample.sample_id: sample for sample in self.samples}


def choose_samples(manifest: Manifest, options: ExplainOptions) -> Chosen:
    """As `evaluate` chooses them. ProtocolError when none has a label, UsageError for a fold or split that is not there."""
    names = scored_in(manifest, split=options.split, fold=options.fold)
    tested = [(sample, name) for sample, name in zip(manifest.samples(), names, strict=True) if name is not None]
    labelled = [(sample, name) for sample, name in tested[: options.limit] if sample.label is not None]
    if not labelled:
        raise ProtocolError(
            f"manifest {manifest.name!r} has no labelled samples to explain; a folder of faces needs a folder per class"
        )
    samples, folds = zip(*labelled, strict=True)
    return Chosen(samples, folds)


def candidates(samples: Sequence[Sample], *, seed: int) -> dict[int, list[Sample]]:
    """Label -> its usable samples in a random order, which depends on the seed and on the class's own samples only."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.label is not None and sample.status != "failed":
            found.setdefault(sample.label, []).append(sample)
    return {
        label: [found[label][place] for place in np.random.default_rng([seed, label]).permutation(len(found[label]))]
        for label in sorted(found)
    }


def drawn(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most `most` of `range(count)`, ascending, each as likely as another."""
    if count <= most:
        return np.arange(count)
    return np.sort(rng.choice(count, most, replace=False))


def predictions_of(
    chosen: Chosen, logits: Mapping[str, NDArray[np.float32]], errors: Mapping[str, str], labels: LabelSet
) -> Predictions:
    """The (K,) logits by sample_id as Predictions, in the order of the samples."""
    blank = np.full(len(labels), np.nan, np.float32)
    return Predictions(
        sample_ids=tuple(sample.sample_id for sample in chosen.samples),
        targets=np.array([sample.label for sample in chosen.samples], np.int64),
        logits=np.stack([logits.get(sample.sample_id, blank) for sample in chosen.samples]),
        folds=chosen.folds,
        errors=tuple(errors.get(sample.sample_id) for sample in chosen.samples),
        labels=labels,
    )
