"""Which samples train, which select the epoch, and which are held out and never looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ferbench.errors import ProtocolError, UsageError
from ferbench.manifest import Manifest
from ferbench.media.streaming import pack_of
from ferbench.protocol import Fold, folds_of
from ferbench.training import TrainRecipe
from ferbench.validation import ValidationOptions, carve_validation


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of one training."""

    fold: str
    train: Manifest
    select: Manifest | None
    """What the epoch is chosen on; None where it is the last one."""
    selection: str
    """`validation`, `test` or `last`: stamped into the checkpoint."""
    carved: dict[str, Any]
    """How a validation part was carved here; empty where the manifest brought one."""


def parts_of(manifest: Manifest, recipe: TrainRecipe, *, fold: str, limit: int | None) -> Parts:
    """The parts of the fold `fold` (empty: the only one).

    Where the recipe selects on validation and the manifest has no such part, one is carved out of train: by whole
    subjects where the manifest names them, else by class. Raises UsageError for a fold that is not there, ProtocolError
    where nothing trains, or a validation part cannot be carved.
    """
    wanted, carved = _fold(manifest, fold), {}
    if recipe.select_on == "validation" and wanted.validation is None:
        by_subject = manifest.has_values(recipe.validation_by)
        options = ValidationOptions(
            "subject" if by_subject else "stratified", recipe.validation_share, recipe.validation_by
        )
        manifest = carve_validation(manifest, options, seed=recipe.seed)
        carved = dict(manifest.protocol["validation"])
        wanted = _fold(manifest, fold)
    select = {"validation": wanted.validation, "test": wanted.test, "last": None}[recipe.select_on]
    # With nothing to select on, a validation part that is there trains nothing either: it may choose settings.
    parts = Parts(
        wanted.name, _usable(wanted.train, limit), select and _usable(select, limit), recipe.select_on, carved
    )
    if not len(parts.train):
        raise ProtocolError(f"manifest {manifest.name!r}, fold {wanted.name}: no labelled sample to train on")
    if parts.select is not None and not len(parts.select):
        raise ProtocolError(f"manifest {manifest.name!r}, fold {wanted.name}: no labelled sample to select on")
    return parts


def shard_notices(train: Manifest, recipe: TrainRecipe) -> tuple[str, ...]:
    """A sentence where shuffling by shard would leave batches of few classes, as it does when the source was sorted."""
    if recipe.shuffle != "shards":
        return ()
    by_shard: dict[str | None, Counter[int]] = {}
    for path, label in zip(train.column("path"), train.column("label"), strict=True):
        by_shard.setdefault(pack_of(path), Counter())[label] += 1
    usual = max(sum(by_shard.values(), Counter()).values()) / len(train)
    in_shards = sum(max(counts.values()) for counts in by_shard.values()) / len(train)
    if len(by_shard) <= recipe.shuffle_window or in_shards < (1 + usual) / 2:
        return ()
    return (
        f"{in_shards:.0%} of the samples are of the commonest class of their shard: the source was sorted, and mixing "
        f"{recipe.shuffle_window} shards gives batches of few classes; align a shuffled manifest, or -o shuffle-window=N",
    )


def _fold(manifest: Manifest, name: str) -> Fold:
    folds = list(folds_of(manifest))
    if not name and len(folds) == 1:
        return folds[0]
    found = next((fold for fold in folds if fold.name == name), None)
    if found is None:
        there = ", ".join(fold.name for fold in folds)
        given = f"no fold {name!r}" if name else "say which fold is held out: --fold NAME"
        raise UsageError(f"{given}; this manifest has {there}")
    return found


def _usable(manifest: Manifest, limit: int | None) -> Manifest:
    """The samples with a label and a face."""
    labels, statuses = manifest.column("label"), manifest.column("status")
    mask = [label is not None and status != "failed" for label, status in zip(labels, statuses, strict=True)]
    if limit is not None:
        taken = 0
        for row, is_in in enumerate(mask):
            mask[row] = is_in and taken < limit
            taken += is_in
    return manifest.where(mask)
