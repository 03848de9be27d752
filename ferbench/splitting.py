"""Making folds and splits by class, with no group on both sides. Every random choice comes from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import ProtocolError, UsageError
from ferbench.manifest import Manifest
from ferbench.protocol import assert_no_leak, crossing_groups, with_folds, with_split

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


def make_splits(manifest: Manifest, options: SplitOptions) -> Manifest:
    """The manifest with its `fold` or `split` column made, and how it was made in `protocol`.

    Samples without a label are in no fold; the protocol says how many. Raises ProtocolError when there are too few
    groups or samples, or when the split asked for would put one group on both sides.
    """
    group = _group_column(manifest, options)
    labels, order = labelled_rows(manifest)
    if not len(order):
        raise ProtocolError(f"manifest {manifest.name!r} has no labelled samples to split; index it with labels first")
    groups = groups_of(manifest, group, order) if group else None
    protocol: dict[str, Any] = {
        "kind": options.kind, "group": group, "seed": options.seed, "unlabelled": len(manifest) - len(order),
        "ungrouped": int(groups.alone) if groups is not None else 0, "validation": None,
    }  # fmt: skip
    if options.kind == "hold-out":
        is_test = _hold_out(labels[order], groups.codes if groups else None, options)
        protocol |= {"test_fraction": options.test_fraction}
        result = with_split(manifest, order, np.where(is_test, "test", "train").astype(object))
    else:
        numbers, names, method = _cross_validation(labels[order], groups, options)
        protocol |= {"folds": len(names), "fold_names": names, "method": method}
        result = with_folds(manifest, order, numbers)
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


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The group of each sample, as an index into the sorted names."""

    codes: NDArray[np.int64]
    names: list[str]
    """A sample without a group is one of its own, named NUL and its id, which sorts before every other."""
    alone: int


def labelled_rows(manifest: Manifest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) the labels, -1 for none; and the rows with one, sorted by sample id, so that the row order decides nothing."""
    labels = manifest.table.column("label").fill_null(-1).to_numpy().astype(np.int64)
    order = pc.sort_indices(manifest.table.column("sample_id")).to_numpy().astype(np.int64)
    return labels, order[labels[order] >= 0]


def groups_of(manifest: Manifest, column: str, rows: NDArray[np.int64]) -> Groups:
    """The values of `column` at `rows`."""
    values = manifest.table.column(column).take(pa.array(rows)).cast(pa.string())
    ids = manifest.table.column("sample_id").take(pa.array(rows))
    own = pc.binary_join_element_wise("\0", ids, "")
    encoded = pc.coalesce(values, own).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    ranks = np.empty(len(names), dtype=np.int64)
    by_name = sorted(range(len(names)), key=names.__getitem__)
    ranks[by_name] = np.arange(len(names))
    return Groups(ranks[encoded.indices.to_numpy()], [names[index] for index in by_name], values.null_count)


def _cross_validation(
    labels: NDArray[np.int64], groups: Groups | None, options: SplitOptions
) -> tuple[NDArray[np.int64], list[str], str]:
    """Fold number (from 1) per sample, the folds' names, and the method used."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

    if options.kind == "leave-one-group-out":
        assert groups is not None
        if len(groups.names) < 2:
            raise ProtocolError(f"leave-one-group-out needs at least 2 groups, found {len(groups.names)}")
        shown = [f"{name[1:]} (no group)" if name.startswith("\0") else name for name in groups.names]
        return groups.codes + 1, shown, "one fold per group"
    names = [str(number) for number in range(1, options.folds + 1)]
    _at_least(options.folds, len(labels), "samples")
    if groups is None:
        smallest = int(np.bincount(labels)[np.unique(labels)].min())
        splitter = StratifiedKFold(options.folds, shuffle=True, random_state=options.seed)
        method = "stratified" if smallest >= options.folds else f"stratified; the smallest class has {smallest} samples"
        return _numbers(splitter, labels, None), names, method
    _at_least(options.folds, len(groups.names), "groups")
    splitter = StratifiedGroupKFold(options.folds, shuffle=True, random_state=options.seed)
    numbers = _numbers(splitter, labels, groups.codes)
    if len(set(numbers)) == options.folds:
        return numbers, names, "stratified by class, grouped"
    # With about as many groups as folds, stratification can leave a fold empty; balance the sizes instead.
    return (
        _numbers(GroupKFold(options.folds), labels, groups.codes),
        names,
        "grouped, folds of balanced size; the seed changes nothing",
    )


def _numbers(splitter: Any, labels: NDArray[np.int64], groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
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


def _hold_out(labels: NDArray[np.int64], groups: NDArray[np.int64] | None, options: SplitOptions) -> NDArray[np.bool_]:
    """True for test samples."""
    try:
        return chosen_share(labels, groups, options.test_fraction, options.seed)
    except ValueError as error:
        raise ProtocolError(f"the hold-out split cannot be made: {error}") from error


def chosen_share(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """True for a `fraction` of the samples: stratified by class, or whole groups whose size and classes come nearest to it.

    Raises ValueError, from scikit-learn, when there are too few samples or groups.
    """
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    mask = np.zeros(len(labels), dtype=bool)
    if groups is None:
        splitter = StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
        mask[next(splitter.split(labels, labels))[1]] = True
        return mask
    classes = np.unique(labels)
    wish = fraction * np.array([(labels == label).sum() for label in classes])
    candidates = GroupShuffleSplit(64, test_size=fraction, random_state=seed)
    best = min(
        (test for _, test in candidates.split(labels, labels, groups)),
        key=lambda test: float(np.abs(np.array([(labels[test] == label).sum() for label in classes]) - wish).sum()),
    )
    mask[best] = True
    return mask
