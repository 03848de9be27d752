"""Folds and splits: who is tested where, and the proof that no group is on both sides.

Cross-validation is the column `fold`: sample x is tested in fold x.fold and trained on in all others, except in those that
its `validation_folds` names, where it selects. A fixed split is the column `split`: train, validation or test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import ProtocolError, UsageError
from ferbench.manifest import Manifest

VALIDATION_FOLDS = "validation_folds"
"""Column list<int32>: the folds in which a sample is in the validation part, carved out of train."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One train/test pair, and the part that selects where there is one."""

    name: str
    train: Manifest
    test: Manifest
    validation: Manifest | None = None


def folds_of(manifest: Manifest) -> Iterator[Fold]:
    """The folds a manifest holds, in order: from `fold`, else from `split`. ProtocolError when it has neither."""
    if manifest.has_values("fold"):
        numbers = fold_numbers(manifest)
        names = fold_names(manifest)
        for number in np.unique(numbers[numbers > 0]).tolist():
            in_test = numbers == number
            selects = validation_mask(manifest, number)
            in_train = (numbers > 0) & ~in_test
            yield Fold(
                name=names.get(number, str(number)),
                train=manifest.where(pa.array(in_train if selects is None else in_train & ~selects)),
                test=manifest.where(pa.array(in_test)),
                validation=None if selects is None else manifest.where(pa.array(selects)),
            )
        return
    if manifest.has_values("split"):
        split = manifest.table.column("split")
        parts = {part: pc.fill_null(pc.equal(split, part), False) for part in ("train", "validation", "test")}
        yield Fold(
            name="test",
            train=manifest.where(parts["train"]),
            test=manifest.where(parts["test"]),
            validation=manifest.where(parts["validation"]) if pc.any(parts["validation"]).as_py() else None,
        )
        return
    raise ProtocolError(f"manifest {manifest.name!r} has no folds and no split; run make-splits on it")


def with_folds(manifest: Manifest, rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> Manifest:
    """The manifest with fold `numbers` (0 is none) at `rows`, and no fixed split or older validation part."""
    folds = np.zeros(len(manifest), dtype=np.int64)
    folds[rows] = numbers
    column = pa.array(folds, pa.int32(), mask=folds == 0)
    return _without_validation(manifest.with_columns(fold=column, split=pa.nulls(len(manifest), pa.string())))


def with_split(manifest: Manifest, rows: NDArray[np.int64], parts: NDArray[np.object_]) -> Manifest:
    """The manifest with the fixed split `parts` at `rows`, and no folds or older validation part."""
    split = np.full(len(manifest), None, dtype=object)
    split[rows] = parts
    column = pa.array(split, pa.string())
    return _without_validation(manifest.with_columns(split=column, fold=pa.nulls(len(manifest), pa.int32())))


def _without_validation(manifest: Manifest) -> Manifest:
    if VALIDATION_FOLDS not in manifest.table.column_names:
        return manifest
    return manifest.replace(table=manifest.table.drop_columns([VALIDATION_FOLDS]))


def fold_numbers(manifest: Manifest) -> NDArray[np.int64]:
    """(N,) the fold each sample is tested in, 0 for none."""
    return manifest.table.column("fold").fill_null(0).to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def scored_in(manifest: Manifest, *, split: str = "", fold: str = "") -> list[str | None]:
    """Per row: the name of the fold it is scored in, or None for a row outside the test part.

    Folds, else a fixed split (`split`, by default `test`), else the whole manifest under the name `all`. Raises UsageError
    for a fold or a split that the manifest does not have.
    """
    if manifest.has_values("fold"):
        if split:
            raise UsageError(f"manifest {manifest.name!r} has folds; --split is for a fixed split, choose a --fold")
        known = fold_names(manifest)
        numbers = manifest.column("fold")
        names = [None if number is None else known.get(number, str(number)) for number in numbers]
        if fold and fold not in names:
            there = dict.fromkeys(known.get(number, str(number)) for number in sorted(set(numbers) - {None}))
            raise UsageError(f"no fold {fold!r}; this manifest has {', '.join(there)}")
        return [name if fold in ("", name) else None for name in names]
    if fold:
        raise UsageError(f"manifest {manifest.name!r} has no folds; run make-splits on it, or leave --fold out")
    if manifest.has_values("split"):
        wanted = split or "test"
        parts = manifest.column("split")
        if wanted not in parts:
            present = sorted({part for part in parts if part is not None})
            raise UsageError(f"no split {wanted!r}; this manifest has {', '.join(present)}")
        return [part if part == wanted else None for part in parts]
    if split:
        raise UsageError(f"manifest {manifest.name!r} has no split; leave --split out to score all of it")
    return ["all"] * len(manifest)


def validation_mask(manifest: Manifest, fold: int) -> NDArray[np.bool_] | None:
    """(N,) True for the samples that select in `fold`; None when the manifest has no validation part of its folds."""
    if not manifest.has_values(VALIDATION_FOLDS):
        return None
    lists = manifest.table.column(VALIDATION_FOLDS).combine_chunks()
    mask = np.zeros(len(manifest), dtype=bool)
    rows = pc.list_parent_indices(lists).to_numpy()
    # Cast: a column of nothing but empty lists, as a CSV or another tool may make it, has lists of no type at all.
    mask[rows[pc.list_flatten(lists).cast(pa.int64()).fill_null(0).to_numpy() == fold]] = True
    return mask


def fold_names(manifest: Manifest) -> dict[int, str]:
    """Fold number -> name, as the protocol recorded it."""
    return dict(enumerate(manifest.protocol.get("fold_names", ()), start=1))


def crossing_groups(manifest: Manifest, column: str) -> list[str]:
    """Values of `column` that are in more than one fold, or in more than one part of a fixed split."""
    side = "fold" if manifest.has_values("fold") else "split"
    table = pa.table({"value": manifest.table.column(column), "side": manifest.table.column(side)}).drop_null()
    sides = table.group_by("value").aggregate([("side", "count_distinct")])
    return sorted(
        str(value) for value in sides.filter(pc.greater(sides["side_count_distinct"], 1))["value"].to_pylist()
    )


def assert_no_leak(manifest: Manifest, column: str) -> None:
    """ProtocolError naming the first values of `column` that would be trained on and tested on."""
    crossing = crossing_groups(manifest, column)
    if crossing:
        raise ProtocolError(
            f"manifest {manifest.name!r}: {len(crossing)} values of {column!r} are on both sides of a split, "
            f"first: {_listed(crossing)}",
            reason="leak",
        )


def _listed(values: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(repr(value) for value in values[:most])
    return shown + (", …" if len(values) > most else "")
