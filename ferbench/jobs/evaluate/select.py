"""Which samples are scored, each once, with the name of the fold it is tested in."""

from __future__ import annotations

from dataclasses import dataclass

from ferbench.errors import ProtocolError, UsageError
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.manifest import Manifest, Sample
from ferbench.protocol import fold_names


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
    names = _fold_of_each(manifest, options)
    tested = [(sample, name) for sample, name in zip(manifest.samples(), names, strict=True) if name is not None]
    tested = tested[: options.limit]
    labelled = [(sample, name) for sample, name in tested if sample.label is not None]
    if not labelled:
        raise ProtocolError(f"manifest {manifest.name!r} has no labelled samples to score")
    samples, folds = zip(*labelled, strict=True)
    return Selected(samples, folds, len(tested) - len(labelled))


def _fold_of_each(manifest: Manifest, options: EvaluateOptions) -> list[str | None]:
    """Per row: the name of the fold it is scored in, or None."""
    if manifest.has_values("fold"):
        if options.split:
            raise UsageError(f"manifest {manifest.name!r} has folds; --split is for a fixed split, choose a --fold")
        known = fold_names(manifest)
        numbers = manifest.column("fold")
        names = [None if number is None else known.get(number, str(number)) for number in numbers]
        if options.fold and options.fold not in names:
            there = dict.fromkeys(known.get(number, str(number)) for number in sorted(set(numbers) - {None}))
            raise UsageError(f"no fold {options.fold!r}; this manifest has {', '.join(there)}")
        return [name if options.fold in ("", name) else None for name in names]
    if options.fold:
        raise UsageError(f"manifest {manifest.name!r} has no folds; run make-splits on it, or leave --fold out")
    if manifest.has_values("split"):
        wanted = options.split or "test"
        parts = manifest.column("split")
        if wanted not in parts:
            present = sorted({part for part in parts if part is not None})
            raise UsageError(f"no split {wanted!r}; this manifest has {', '.join(present)}")
        return [part if part == wanted else None for part in parts]
    if options.split:
        raise UsageError(f"manifest {manifest.name!r} has no split; leave --split out to score all of it")
    return ["all"] * len(manifest)
