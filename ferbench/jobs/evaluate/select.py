"""Which samples are scored, each once, with the name of the fold it is tested in."""

from __future__ import annotations

from dataclasses import dataclass

from ferbench.errors import ProtocolError
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.manifest import Manifest, Sample
from ferbench.protocol import scored_in


@dataclass(frozen=True, slots=True)
class Selected:
    """The samples to score."""

    samples: tuple[Sample, ...]
    folds: tuple[str, ...]
    """Name of each sample's fold."""
    unlabelled: int
    """Samples of the parts asked for that have no label and cannot be scored."""


def select_samples(manifest: Manifest, options: EvaluateOptions) -> Selected:
    """The labelled samples of the test parts asked for, in the manifest's order.

    Folds, else a fixed split, else the whole manifest under the fold name `all`. Raises UsageError for a fold or a split
    that the manifest does not have, ProtocolError when there is nothing to score.
    """
    names = scored_in(manifest, split=options.split, fold=options.fold)
    tested = [(sample, name) for sample, name in zip(manifest.samples(), names, strict=True) if name is not None]
    tested = tested[: options.limit]
    labelled = [(sample, name) for sample, name in tested if sample.label is not None]
    if not labelled:
        raise ProtocolError(f"manifest {manifest.name!r} has no labelled samples to score")
    samples, folds = zip(*labelled, strict=True)
    return Selected(samples, folds, len(tested) - len(labelled))
