"""Pairs of 64-bit hashes that differ in few bits, without looking at every pair.

Cut 64 bits into m = d // 2 + 1 bands. Two hashes at most d bits apart differ in at most one bit in some band: so each hash
is looked up, band by band, with every one of the band's bits turned (multi-index hashing, Norouzi et al., CVPR 2012).

    d = 4:  |---- 22 ----|---- 21 ----|---- 21 ----|     3 bands, 1 + 22 lookups in the longest
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]

_CHUNK = 1 << 21
"""Candidate pairs held at a time."""


def near_pairs(hashes: Hashes, distance: int) -> tuple[Pairs, Pairs, NDArray[np.int64]]:
    """(i, j, bits) of all pairs i < j at most `distance` bits apart, nearest first. `hashes` are distinct."""
    found = [pair for band in _bands(distance // 2 + 1) for pair in _near_in_band(hashes, band, distance)]
    if not found:
        nothing = np.empty(0, np.int64)
        return nothing, nothing, nothing
    # A pair that is near in several bands came out of each.
    pairs = np.unique(np.concatenate(found), axis=0)
    bits = differing_bits(hashes[pairs[:, 0]], hashes[pairs[:, 1]])
    order = np.argsort(bits, kind="stable")
    return pairs[order, 0], pairs[order, 1], bits[order]


def differing_bits(hashes: Hashes, others: Hashes) -> NDArray[np.int64]:
    """(n,) Hamming distances: the bits of a word are added up in pairs, fours, and bytes."""
    word = hashes ^ others
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return ((word * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)


def _bands(count: int) -> Iterator[tuple[int, int]]:
    """(shift, width) of bands that cover 64 bits."""
    edges = [64 * band // count for band in range(count + 1)]
    yield from ((low, high - low) for low, high in itertools.pairwise(edges))


def _near_in_band(hashes: Hashes, band: tuple[int, int], distance: int) -> Iterator[Pairs]:
    shift, width = band
    mask = np.uint64((1 << width) - 1)
    values = (hashes >> np.uint64(shift)) & mask
    order = np.argsort(values, kind="stable")
    table = values[order]
    for flip in (0, *(1 << bit for bit in range(width))):
        wanted = table ^ np.uint64(flip)
        begin = np.searchsorted(table, wanted, side="left")
        length = np.searchsorted(table, wanted, side="right") - begin
        for one, other in _expanded(begin, length):
            # Both orders of a pair come up, so one of them is enough.
            fits = order[one] < order[other]
            one, other = order[one[fits]], order[other[fits]]
            near = differing_bits(hashes[one], hashes[other]) <= distance
            if near.any():
                yield np.stack([one[near], other[near]], axis=1)


def _expanded(begin: Pairs, length: Pairs) -> Iterator[tuple[Pairs, Pairs]]:
    """(k, begin[k] .. begin[k] + length[k]) as pairs, about _CHUNK at a time."""
    used = np.flatnonzero(length)
    total = np.cumsum(length[used])
    at = 0
    while at < len(used):
        done = int(total[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(total, done + _CHUNK, side="right")))
        rows = used[at:stop]
        repeated = np.repeat(rows, length[rows])
        offsets = np.arange(len(repeated)) - np.repeat(np.cumsum(length[rows]) - length[rows], length[rows])
        yield repeated, begin[repeated] + offsets
        at = stop
