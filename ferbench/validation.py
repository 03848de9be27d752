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
    carver = _Carver(manifest, order, labels[order], groups, usable, options.validation_fraction)
    if manifest.has_values("fold"):
        carved = carver.of_folds(seed)
    elif manifest.has_values("split"):
        carved = carver.of_split(seed)
    else:
        raise ProtocolError(f"manifest {manifest.name!r} has no folds and no split to carve a validation part from")
    how = {
        "by": options.validation_group if options.validation == "subject" else "class",
        "fraction": options.validation_fraction,
        "seed": seed,
    }
    return carved.replace(protocol={**manifest.protocol, "validation": how, "selects": "validation"})


@dataclass(frozen=True, slots=True, eq=False)
class _Carver:
    """The labelled rows of a manifest, sorted by id, and what decides who may select."""

    manifest: Manifest
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    usable: NDArray[np.bool_]
    fraction: float

    def of_folds(self, seed: int) -> Manifest:
        """A validation part of every fold, drawn with a seed of its own."""
        numbers = fold_numbers(self.manifest)[self.rows]
        lists: list[list[int]] = [[] for _ in range(len(self.manifest))]
        for fold in np.unique(numbers[numbers > 0]).tolist():
            for row in self._share((numbers > 0) & (numbers != fold), seed + fold):
                lists[row].append(fold)
        return self.manifest.with_columns(**{VALIDATION_FOLDS: pa.array(lists, pa.list_(pa.int32()))})

    def of_split(self, seed: int) -> Manifest:
        """A validation part of the fixed split; ProtocolError when it has one."""
        parts = np.array(self.manifest.column("split"), dtype=object)
        if (parts == "validation").any():
            raise ProtocolError(
                f"manifest {self.manifest.name!r} has a validation split already; nothing is carved out of train"
            )
        parts[self._share(parts[self.rows] == "train", seed)] = "validation"
        return with_split(self.manifest, np.arange(len(self.manifest)), parts)

    def _share(self, in_train: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
        """Rows of the manifest that are taken out of train."""
        pool = np.flatnonzero(in_train & self.usable)
        groups = None if self.groups is None else self.groups[pool]
        try:
            return self.rows[pool[chosen_share(self.labels[pool], groups, self.fraction, seed)]]
        except ValueError as error:
            raise ProtocolError(
                f"manifest {self.manifest.name!r}: no validation part of {self.fraction:.0%} can be carved out of "
                f"{len(pool)} train samples: {error}"
            ) from error
