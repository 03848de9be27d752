"""Rows of a file to samples, by sample id or by the tail of a path: never by order.

Another machine's paths have other heads, so names are compared from their ends: `/home/x/DFEW_Face/02522` is the sample
`clips/02522.mp4`. The longest tail that any row shares with any sample is the rule for the whole file, and a tail that two
samples have is an error that names both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from ferbench.score_files.cells import Where

MOST_PARTS = 8
_MEDIA = r"(?i)(" + "|".join(suffix.replace(".", r"\.") for suffix in sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES)) + ")$"


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Which sample each row is."""

    samples: NDArray[np.int64]
    """(N,) index of the sample, -1 for a row that is none of them."""
    how: str
    """`sample id`, or how much of the path was compared."""


def match_names(names: pa.Array, ids: pa.Array, paths: pa.Array | None, *, where: Where) -> Match:
    """Match the rows' `names` to samples with these ids and paths.

    Raises PredictionsError where a row fits two samples, or two rows with different names fit one.
    """
    exact = _found_in(names, ids)
    if (exact >= 0).any():
        return Match(exact, "sample id")
    ambiguous: PredictionsError | None = None
    best: Match | None = None
    for with_suffix in (True, False):
        rows = _normal(names, with_suffix)
        for what, keys in (("path", paths), ("sample id", ids)):
            if keys is None:
                continue
            try:
                match = _match_tails(rows, _normal(keys, with_suffix), what, names, ids, where)
            except PredictionsError as error:
                ambiguous = ambiguous or error
                continue
            found = int((match.samples >= 0).sum())
            if found == len(names):
                return match
            if found > (0 if best is None else int((best.samples >= 0).sum())):
                best = match
    if best is None and ambiguous is not None:
        raise ambiguous
    return best or Match(exact, "sample id")


def _match_tails(rows: pa.Array, keys: pa.Array, what: str, names: pa.Array, ids: pa.Array, where: Where) -> Match:
    parts = pc.add(pc.count_substring(rows, "/"), 1).to_numpy(zero_copy_only=False)
    depth, samples, tails = 0, np.full(len(rows), -1, np.int64), keys
    while depth < MOST_PARTS:
        deeper = _tails(keys, depth + 1)
        found = _found_in(_tails(rows, depth + 1), deeper)
        # Rows of fewer parts are compared as a whole, and say nothing about how deep the others may be compared.
        if not ((found >= 0) & (parts > depth)).any():
            break
        depth, samples, tails = depth + 1, found, deeper
    if not depth:
        return Match(samples, what)
    _refuse_ambiguous(samples, tails, names, ids, where)
    for shorter in sorted(set(parts[(samples < 0) & (parts < depth)].tolist())):
        at = np.flatnonzero((samples < 0) & (parts == shorter))
        tails = _tails(keys, shorter)
        here = np.full(len(samples), -1, np.int64)
        here[at] = _found_in(rows.take(pa.array(at)), tails)
        _refuse_ambiguous(here, tails, names, ids, where)
        samples[at] = here[at]
    _refuse_merged(samples, names, ids, where)
    said = "the last part" if depth == 1 else f"the last {depth} parts"
    return Match(samples, f"{said} of the {what}")


def _refuse_ambiguous(
    samples: NDArray[np.int64], tails: pa.Array, names: pa.Array, ids: pa.Array, where: Where
) -> None:
    """PredictionsError for a row whose tail two samples have."""
    encoded = tails.dictionary_encode().indices.to_numpy()
    shared = np.bincount(encoded)[encoded] > 1
    rows = np.flatnonzero((samples >= 0) & shared[np.maximum(samples, 0)])
    if len(rows):
        row = int(rows[0])
        both = np.flatnonzero(encoded == encoded[samples[row]])[:2]
        one, other = (ids[int(sample)].as_py() for sample in both)
        raise PredictionsError(
            f"{where(row)}: {names[row].as_py()[-200:]!r} may be sample {one!r} or sample {other!r}; "
            "write sample ids, or more of the path, into the file"
        )


def _refuse_merged(samples: NDArray[np.int64], names: pa.Array, ids: pa.Array, where: Where) -> None:
    """PredictionsError for two different names that fit one sample. One name twice is the caller's to judge."""
    rows = np.flatnonzero(samples >= 0)
    order = rows[np.argsort(samples[rows], kind="stable")]
    same = samples[order[1:]] == samples[order[:-1]]
    if not same.any():
        return
    encoded = names.dictionary_encode().indices.to_numpy()
    odd = np.flatnonzero(same & (encoded[order[1:]] != encoded[order[:-1]]))
    if len(odd):
        first, second = sorted((int(order[odd[0]]), int(order[odd[0] + 1])))
        raise PredictionsError(
            f"{where(first)} and {where(second)}: {names[first].as_py()[-200:]!r} and {names[second].as_py()[-200:]!r} "
            f"both end as sample {ids[int(samples[first])].as_py()!r}; write sample ids, or paths as the manifest has them"
        )


def _found_in(values: pa.Array, keys: pa.Array) -> NDArray[np.int64]:
    return pc.fill_null(pc.index_in(values, value_set=keys), -1).to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]


def _normal(names: pa.Array, with_suffix: bool) -> pa.Array:
    """Slashes as in POSIX, none at the ends or doubled, no `./`; without a media suffix where asked."""
    plain = pc.replace_substring(names, "\\", "/")
    # Millions of names are looked at before a regular expression is run over them.
    if pc.any(pc.match_substring_regex(plain, r"/\.?/")).as_py():
        plain = pc.replace_substring_regex(plain, r"/(?:\.?/)+", "/")
    if pc.any(pc.starts_with(plain, "./")).as_py():
        plain = pc.replace_substring_regex(plain, r"^(?:\./)+", "")
    plain = pc.utf8_trim(plain, "/")
    return plain if with_suffix else pc.replace_substring_regex(plain, _MEDIA, "")


def _tails(names: pa.Array, depth: int) -> pa.Array:
    """The last `depth` parts of each name; names of fewer parts as they are."""
    split = pc.split_pattern(names, "/", max_splits=depth, reverse=True)
    tails = pc.binary_join(pc.list_slice(split, 1), "/")
    return pc.if_else(pc.greater(pc.list_value_length(split), depth), tails, names)
