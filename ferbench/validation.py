"""A validation part carved out of train: by whole subjects, or stratified by class. It selects; test never does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench.errors import ProtocolError, UsageError
from ferbench.manifest import Manifest
from ferbench.protocol import VALIDATION_FOLDS, fold_numbers, with_split
from ferbench.splitting import chosen_share, groups_of, labelled_rows

CARVINGS = ("none", "subject", "stratified")


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """How a validation part is carved out of every fold's train part."""

    validation: str = "none"
    """`subject`: whole subjects (or values of `validation_group`); `stratified`: by class alone; `none`."""
    validation_fraction: float = 0.1
    """Share of the train part, above 0 and below 1."""
    validation_group: str = "subject"
    """The column that `subject` keeps whole."""

    def __post_init__(self) -> None:
        if self.validation not in CARVINGS:
            raise UsageError(f"validation is one of {', '.join(CARVINGS)}, not {self.validation!r}")
        if not 0 < self.validation_fraction < 1:
            raise UsageError(f"the validation fraction must be between 0 and 1, got {self.validation_fraction}")


def carve_validation(manifest: Manifest, options: ValidationOptions, *, seed: int) -> Manifest:
    """The manifest with a validation part in every fold, and how it was made in `protocol["validation"]`.

    Each fold draws with its own seed (`seed` + fold number), so that the folds do not all select on the same people. Failed
    samples select as little as they train, and stay where they are counted: in train. Raises ProtocolError when the split
    has a validation part already, or there are too few subjects or samples.
    """
    if options.validation == "none":
        return manifest
    labels, order = labelled_rows(manifest)
    if options.validation == "subject" and not manifest.has_values(options.validation_group):
        raise ProtocolError(
            f"manifest {manifest.name!r} has no values in column {options.validation_group!r} to carve a validation part "
            "by; name another column (-o validation-group=COLUMN), or carve it --validation stratified"
        )
    groups = groups_of(manifest, options.validation_group, order).codes if options.validation == "subject" else None
    usable = np.array([status != "failed" for status in manifest.column("status")])[order]
    if manifest.has_values("fold"):
        carved = _carve_folds(manifest, labels[order], groups, usable, order, options, seed)
    elif manifest.has_values("split"):
        carved = _carve_split(manifest, labels[order], groups, usable, order, options, seed)
    else:
        raise ProtocolError(f"manifest {manifest.name!r} has no folds and no split to carve a validation part from")
    how = {
        "by": options.validation_group if options.validation == "subject" else "class",
        "fraction": options.validation_fraction,
        "seed": seed,
    }
    return carved.replace(protocol={**manifest.protocol, "validation": how, "selects": "validation"})


def _carve_folds(
    manifest: Manifest,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    usable: NDArray[np.bool_],
    order: NDArray[np.int64],
    options: ValidationOptions,
    seed: int,
) -> Manifest:
    numbers = fold_numbers(manifest)[order]
    lists: list[list[int]] = [[] for _ in range(len(manifest))]
    for fold in np.unique(numbers[numbers > 0]).tolist():
        pool = np.flatnonzero((numbers > 0) & (numbers != fold) & usable)
        for row in order[pool[_share(manifest, labels, groups, pool, options, seed + fold)]]:
            lists[row].append(fold)
    return manifest.with_columns(**{VALIDATION_FOLDS: pa.array(lists, pa.list_(pa.int32()))})


def _carve_split(
    manifest: Manifest,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    usable: NDArray[np.bool_],
    order: NDArray[np.int64],
    options: ValidationOptions,
    seed: int,
) -> Manifest:
    parts = np.array(manifest.column("split"), dtype=object)
    if (parts == "validation").any():
        raise ProtocolError(
            f"manifest {manifest.name!r} has a validation split already; nothing is carved out of train"
        )
    pool = np.flatnonzero((parts[order] == "train") & usable)
    parts[order[pool[_share(manifest, labels, groups, pool, options, seed)]]] = "validation"
    return with_split(manifest, np.arange(len(manifest)), parts)


def _share(
    manifest: Manifest,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    pool: NDArray[np.int64],
    options: ValidationOptions,
    seed: int,
) -> NDArray[np.bool_]:
    try:
        return chosen_share(labels[pool], None if groups is None else groups[pool], options.validation_fraction, seed)
    except ValueError as error:
        raise ProtocolError(
            f"manifest {manifest.name!r}: no validation part of {options.validation_fraction:.0%} can be carved out of "
            f"{len(pool)} train samples: {error}"
        ) from error
