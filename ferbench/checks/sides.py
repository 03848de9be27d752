"""Sides: who trains, who validates and who tests; and which keys (people, files, pictures) are on more than one side.

Everything is group-by on integer codes, so that a manifest of millions of rows takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.manifest import Manifest
from ferbench.protocol import VALIDATION_FOLDS, fold_names, fold_numbers

PARTS = ("train", "validation", "test")
TEST = PARTS.index("test")
NONE = -1
"""Of a code: no value. Of a part: on no side."""
BEYOND = 2**40
"""The end of a frame range that has none: more than any source has frames."""
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """One assignment of the rows: a fixed split, or the folds of a cross-validation."""

    kind: str
    """`split` or `fold`."""
    part: Codes
    """(N,) of a split: index into PARTS; of folds: the number of the fold that tests the row; NONE for neither."""
    names: Mapping[int, str]
    """Part -> its name in messages."""
    validates: tuple[Codes, Codes] | None = None
    """Folds only: rows and the fold each selects in, as pairs; a row may be in several."""

    def is_test(self, part: int) -> bool:
        """Whether results are measured on that part; every fold is tested once."""
        return self.kind == "fold" or part == TEST

    def pair(self, one: int, other: int, show_one: str, show_other: str) -> str:
        """`in train ('a') and in test ('b')`, of two rows on different sides."""
        first, second = (self.names[int(self.part[row])] for row in (one, other))
        if self.kind == "fold":
            first, second = f"the test part of {first}", f"that of {second}"
        return f"in {first} ({show_one!r}) and in {second} ({show_other!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Crossings:
    """Keys that are on more than one side: for each its code, a row on the first and one on the last side, its rows."""

    codes: Codes
    first: Codes
    last: Codes
    sizes: Codes

    def __len__(self) -> int:
        return len(self.codes)

    def where(self, some: NDArray[np.bool_] | Codes) -> Crossings:
        """Some of them, or all in another order."""
        return Crossings(self.codes[some], self.first[some], self.last[some], self.sizes[some])


def sides_of(manifest: Manifest) -> tuple[Sides, ...]:
    """The folds and the fixed split of a manifest; () when it has neither."""
    found = []
    if manifest.has_values("fold"):
        numbers = fold_numbers(manifest)
        names = fold_names(manifest)
        shown = {number: f"fold {names.get(number, number)}" for number in np.unique(numbers[numbers > 0]).tolist()}
        found.append(Sides("fold", np.where(numbers > 0, numbers, NONE), shown, _validates(manifest)))
    if manifest.has_values("split"):
        split = manifest.table.column("split")
        part = pc.index_in(split, pa.array(PARTS)).fill_null(NONE).to_numpy().astype(np.int64)
        found.append(Sides("split", part, dict(enumerate(PARTS))))
    return tuple(found)


def _validates(manifest: Manifest) -> tuple[Codes, Codes] | None:
    if not manifest.has_values(VALIDATION_FOLDS):
        return None
    lists = manifest.table.column(VALIDATION_FOLDS).combine_chunks()
    rows = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    return rows, pc.list_flatten(lists).cast(pa.int64()).fill_null(0).to_numpy()


def codes_of(column: pa.ChunkedArray) -> Codes:
    """(N,) a small integer per distinct value, NONE for null."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.fill_null(NONE).to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]


def joined(codes: Codes, other: Codes) -> Codes:
    """One code for each pair of codes; NONE where the first is NONE."""
    width = int(other.max(initial=0)) + 2
    _, dense = np.unique(codes * width + other + 1, return_inverse=True)
    return np.where(codes == NONE, NONE, dense.reshape(-1).astype(np.int64))


def range_codes(manifest: Manifest, start: str = "start_frame", end: str = "end_frame") -> Codes:
    """(N,) a code per frame range; the whole source is one of them."""
    starts, ends = frame_ranges(manifest, start, end)
    return joined(starts, np.where(ends == BEYOND, 0, ends))


def frame_ranges(manifest: Manifest, start: str = "start_frame", end: str = "end_frame") -> tuple[Codes, Codes]:
    """(N,) half-open ranges; 0 and BEYOND where the manifest says none."""
    table = manifest.table
    starts = table.column(start).cast(pa.int64()).fill_null(0).to_numpy()
    return starts, table.column(end).cast(pa.int64()).fill_null(BEYOND).to_numpy()


def crossings(codes: Codes, part: Codes) -> Crossings:
    """The codes that rows of more than one part have."""
    rows = np.flatnonzero((codes != NONE) & (part != NONE))
    rows = rows[np.lexsort((rows, part[rows], codes[rows]))]
    if not len(rows):
        return Crossings(rows, rows, rows, rows)
    sorted_codes = codes[rows]
    begins = np.flatnonzero(np.diff(sorted_codes, prepend=NONE - 1))
    ends = np.append(begins[1:], len(rows))
    first, last = rows[begins], rows[ends - 1]
    cross = part[first] != part[last]
    return Crossings(sorted_codes[begins][cross], first[cross], last[cross], (ends - begins)[cross])


def rows_of_codes(codes: Codes, wanted: Codes, part: Codes) -> Iterator[Codes]:
    """The rows on any side of each wanted code, in the order of `wanted` (sorted, as Crossings has them)."""
    rows = np.flatnonzero((part != NONE) & np.isin(codes, wanted))
    rows = rows[np.argsort(codes[rows], kind="stable")]
    cuts = np.searchsorted(codes[rows], wanted)
    yield from np.split(rows, cuts[1:]) if len(wanted) else ()


def validation_crossings(codes: Codes, sides: Sides) -> tuple[Codes, Codes]:
    """(codes, folds): keys that train and validate in the same fold. Both empty without validation parts."""
    nothing = np.empty(0, np.int64)
    if sides.validates is None:
        return nothing, nothing
    rows, folds = sides.validates
    fits = (codes[rows] != NONE) & (sides.part[rows] != NONE) & (sides.part[rows] != folds)
    rows, folds = rows[fits], folds[fits]
    if not len(rows):
        return nothing, nothing
    width = int(max(folds.max(), sides.part.max())) + 1
    pairs, validating = np.unique(codes[rows] * width + folds, return_counts=True)
    in_folds = (codes != NONE) & (sides.part != NONE)
    total = np.bincount(codes[in_folds])
    tested_pairs, tested = np.unique(codes[in_folds] * width + sides.part[in_folds], return_counts=True)
    place = np.minimum(np.searchsorted(tested_pairs, pairs), len(tested_pairs) - 1)
    in_test = np.where(tested_pairs[place] == pairs, tested[place], 0)
    # Every row of the key that neither validates nor is tested in the fold is trained on in it.
    leaks = total[pairs // width] - in_test - validating > 0
    return pairs[leaks] // width, pairs[leaks] % width
