"""Folds and splits: who is tested where, and the proof that no group is on both sides.

A protocol writes one of two columns. Cross-validation writes `fold`: sample x is tested in fold x.fold and trained on in
all others. A fixed split writes `split`. Every random choice comes from one seed and does not depend on the row order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench.errors import ProtocolError, UsageError
from ferbench.manifest import Manifest

KINDS = ("k-fold", "leave-one-group-out", "hold-out")


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """What `make-splits` is asked for."""

    kind: str = "k-fold"
    folds: int = 5
    group: str = "auto"
    """Column that must not cross a split; `auto` is `subject` where the manifest has subjects; `none` is no grouping."""
    test_fraction: float = 0.2
    """Hold-out only."""
    seed: int = 0
    allow_leak: bool = False
    """Permit `group="none"` although the manifest has subjects."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown kind of split {self.kind!r}; known: {', '.join(KINDS)}")
        if self.kind == "k-fold" and self.folds < 2:
            raise UsageError(f"k-fold needs at least 2 folds, got {self.folds}")
        if not 0 < self.test_fraction < 1:
            raise UsageError(f"the test fraction must be between 0 and 1, got {self.test_fraction}")


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One train/test pair."""

    name: str
    train: Manifest
    test: Manifest
    validation: Manifest | None = None


def make_splits(manifest: Manifest, options: SplitOptions) -> Manifest:
    """The manifest with its `fold` or `split` column made, and how it was made in `protocol`.

    Samples without a label are in no fold; the protocol says how many. Raises ProtocolError when there are too few
    groups or samples, or when the split asked for would put one group on both sides.
    """
    group = _group_column(manifest, options)
    labels = np.array([-1 if label is None else label for label in manifest.column("label")], dtype=np.int64)
    # Sorted by id: the same samples in another row order get the same folds.
    order = np.array(sorted(np.flatnonzero(labels >= 0), key=manifest.column("sample_id").__getitem__), dtype=np.int64)
    if not len(order):
        raise ProtocolError(f"manifest {manifest.name!r} has no labelled samples to split; index it with labels first")
    groups = _group_values(manifest, group)[order] if group else None
    protocol: dict[str, Any] = {
        "kind": options.kind, "group": group, "seed": options.seed, "unlabelled": len(manifest) - len(order),
        "ungrouped": sum(group.startswith("\0") for group in groups) if groups is not None else 0, "validation": None,
    }  # fmt: skip
    if options.kind == "hold-out":
        test = _hold_out(labels[order], groups, options)
        parts: list[str | None] = [None] * len(manifest)
        for position, is_test in zip(order, test, strict=True):
            parts[position] = "test" if is_test else "train"
        protocol |= {"test_fraction": options.test_fraction}
        result = manifest.with_columns(split=parts, fold=pa.nulls(len(manifest), pa.int32()))
    else:
        numbers, names, method = _cross_validation(labels[order], groups, options)
        folds: list[int | None] = [None] * len(manifest)
        for position, number in zip(order, numbers, strict=True):
            folds[position] = int(number)
        protocol |= {"folds": len(names), "fold_names": names, "method": method}
        result = manifest.with_columns(fold=folds, split=pa.nulls(len(manifest), pa.string()))
    if group:
        assert_no_leak(result, group)
    protocol["crossing"] = {
        column: len(crossing_groups(result, column))
        for column in ("subject", "group")
        if column != group and result.has_values(column)
    }
    return result.replace(protocol=protocol)


def _group_column(manifest: Manifest, options: SplitOptions) -> str | None:
    if options.group == "auto":
        group = "subject" if manifest.has_values("subject") else None
    elif options.group == "none":
        if manifest.has_values("subject") and not options.allow_leak:
            raise ProtocolError(
                f"manifest {manifest.name!r} has subjects, and a split that ignores them puts the same person in train "
                "and test; group by subject, or say --allow-leak"
            )
        group = None
    else:
        if not manifest.has_values(options.group):
            raise ProtocolError(f"manifest {manifest.name!r} has no values in column {options.group!r} to group by")
        group = options.group
    if options.kind == "leave-one-group-out" and group is None:
        raise ProtocolError(
            f"manifest {manifest.name!r} has no subjects to leave out; name the column to group by (--group)"
        )
    return group


def _group_values(manifest: Manifest, column: str) -> NDArray[np.object_]:
    """Group of every sample; a sample without one is a group of its own."""
    ids = manifest.column("sample_id")
    values = [
        f"\0{sample_id}" if value is None else str(value)
        for sample_id, value in zip(ids, manifest.column(column), strict=True)
    ]
    return np.array(values, dtype=object)


def _cross_validation(
    labels: NDArray[np.int64], groups: NDArray[np.object_] | None, options: SplitOptions
) -> tuple[NDArray[np.int64], list[str], str]:
    """Fold number (from 1) per sample, the folds' names, and the method used."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

    if options.kind == "leave-one-group-out":
        assert groups is not None
        names = sorted(set(groups))
        if len(names) < 2:
            raise ProtocolError(f"leave-one-group-out needs at least 2 groups, found {len(names)}")
        number_of = {name: number for number, name in enumerate(names, start=1)}
        shown = [f"{name[1:]} (no group)" if name.startswith("\0") else name for name in names]
        return np.array([number_of[group] for group in groups]), shown, "one fold per group"
    names = [str(number) for number in range(1, options.folds + 1)]
    _at_least(options.folds, len(labels), "samples")
    if groups is None:
        smallest = int(np.bincount(labels)[np.unique(labels)].min())
        splitter = StratifiedKFold(options.folds, shuffle=True, random_state=options.seed)
        method = "stratified" if smallest >= options.folds else f"stratified; the smallest class has {smallest} samples"
        return _numbers(splitter, labels, None), names, method
    _at_least(options.folds, len(set(groups)), "groups")
    splitter = StratifiedGroupKFold(options.folds, shuffle=True, random_state=options.seed)
    numbers = _numbers(splitter, labels, groups)
    if len(set(numbers)) == options.folds:
        return numbers, names, "stratified by class, grouped"
    # With about as many groups as folds, stratification can leave a fold empty; balance the sizes instead.
    return (
        _numbers(GroupKFold(options.folds), labels, groups),
        names,
        "grouped, folds of balanced size; the seed changes nothing",
    )


def _numbers(splitter: Any, labels: NDArray[np.int64], groups: NDArray[np.object_] | None) -> NDArray[np.int64]:
    import warnings

    numbers = np.zeros(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        # scikit-learn warns about classes smaller than the number of folds; the protocol's `method` says it instead.
        warnings.simplefilter("ignore", UserWarning)
        try:
            for number, (_, test) in enumerate(splitter.split(labels, labels, groups), start=1):
                numbers[test] = number
        except ValueError as error:
            raise ProtocolError(f"the folds cannot be made: {error}") from error
    return numbers


def _at_least(folds: int, found: int, what: str) -> None:
    if found < folds:
        raise ProtocolError(f"{folds} folds need at least {folds} {what}, found {found}")


def _hold_out(
    labels: NDArray[np.int64], groups: NDArray[np.object_] | None, options: SplitOptions
) -> NDArray[np.bool_]:
    """True for test samples: stratified, or whole groups chosen so that size and classes are near the wish."""
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    mask = np.zeros(len(labels), dtype=bool)
    try:
        if groups is None:
            splitter = StratifiedShuffleSplit(1, test_size=options.test_fraction, random_state=options.seed)
            mask[next(splitter.split(labels, labels))[1]] = True
            return mask
        classes = np.unique(labels)
        wish = options.test_fraction * np.array([(labels == label).sum() for label in classes])
        candidates = GroupShuffleSplit(64, test_size=options.test_fraction, random_state=options.seed)
        best = min(
            (test for _, test in candidates.split(labels, labels, groups)),
            key=lambda test: float(np.abs(np.array([(labels[test] == label).sum() for label in classes]) - wish).sum()),
        )
    except ValueError as error:
        raise ProtocolError(f"the hold-out split cannot be made: {error}") from error
    mask[best] = True
    return mask


# --- reading folds back --------------------------------------------------------------------------------------------------


def folds_of(manifest: Manifest) -> Iterator[Fold]:
    """The folds a manifest holds, in order: from `fold`, else from `split`. ProtocolError when it has neither."""
    if manifest.has_values("fold"):
        numbers = np.array([number or 0 for number in manifest.column("fold")])
        names = fold_names(manifest)
        for number in sorted(set(numbers[numbers > 0].tolist())):
            in_test = numbers == number
            yield Fold(
                name=names.get(number, str(number)),
                train=manifest.where(pa.array((numbers > 0) & ~in_test)),
                test=manifest.where(pa.array(in_test)),
            )
        return
    if manifest.has_values("split"):
        parts = np.array([part or "" for part in manifest.column("split")], dtype=object)
        validation = parts == "validation"
        yield Fold(
            name="test",
            train=manifest.where(pa.array(parts == "train")),
            test=manifest.where(pa.array(parts == "test")),
            validation=manifest.where(pa.array(validation)) if validation.any() else None,
        )
        return
    raise ProtocolError(f"manifest {manifest.name!r} has no folds and no split; run make-splits on it")


def fold_names(manifest: Manifest) -> dict[int, str]:
    """Fold number -> name, as the protocol recorded it."""
    return dict(enumerate(manifest.protocol.get("fold_names", ()), start=1))


def crossing_groups(manifest: Manifest, column: str) -> list[str]:
    """Values of `column` that are in more than one fold, or in more than one part of a fixed split."""
    side_column = "fold" if manifest.has_values("fold") else "split"
    sides: dict[str, set[Any]] = {}
    for value, side in zip(manifest.column(column), manifest.column(side_column), strict=True):
        if value is not None and side is not None:
            sides.setdefault(str(value), set()).add(side)
    return sorted(value for value, seen in sides.items() if len(seen) > 1)


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
