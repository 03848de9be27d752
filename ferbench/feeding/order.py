"""Which sample is where in an epoch, and which numbers are drawn for it: functions of (seed, epoch, sample_id) alone.

The order is that of a keyed hash of each sample's id, so it does not depend on where a sample is in the manifest. A batch
of all processes is cut from it, and process r of W takes every W-th of its samples from the r-th on: no sample is padded,
repeated or left out, and every process yields the same number of batches. Their sizes differ by one at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ferbench.feeding.options import FeedOptions


@dataclass(frozen=True, slots=True)
class Draw:
    """One appearance of a sample in an epoch."""

    index: int
    """Its place in what is drawn from."""
    turn: int = 0
    """How often it was drawn before in this epoch: each time it is augmented anew."""


def draw_rng(seed: int, epoch: int, sample_id: str, turn: int, purpose: str) -> np.random.Generator:
    """The generator of one appearance of a sample, for one purpose (`frames`, `augment`)."""
    return np.random.default_rng(int.from_bytes(hashed(seed, epoch, sample_id, turn, purpose, size=16), "little"))


def epoch_order(ids: Sequence[str], classes: Sequence[int], options: FeedOptions, *, epoch: int) -> list[Draw]:
    """The draws of one epoch, for all processes together: as many as there are ids.

    In the given order without `shuffle`. `balanced` draws K classes len(ids) / K times each, those that get one more by
    lot, and within a class with replacement.
    """
    draws = _balanced(ids, classes, options, epoch) if options.balanced else [Draw(index) for index in range(len(ids))]
    if not options.shuffle:
        return draws
    keys = [(hashed(options.seed, epoch, ids[draw.index], draw.turn, "order", size=8), ids[draw.index], draw.turn)
            for draw in draws]  # fmt: skip
    return [draws[place] for place in sorted(range(len(draws)), key=keys.__getitem__)]


def batch_bounds(count: int, options: FeedOptions) -> list[tuple[int, int]]:
    """(begin, end) of each batch of all processes in an order of `count`.

    The last batch is what is left. Where that is less than two samples per process, which batch norm cannot learn from,
    the batch before gives it some, if that has four per process.
    """
    whole = options.batch_size * options.world
    steps, left = divmod(count, whole)
    if not left or options.drop_last:
        return [(step * whole, (step + 1) * whole) for step in range(steps)]
    least = max(1, min(2, options.batch_size // 2)) * options.world
    last = count - max(left, min(least, count)) if steps else 0
    begins = [*(step * whole for step in range(steps)), last]
    return list(zip(begins, [*begins[1:], count], strict=True))


def num_batches(count: int, options: FeedOptions) -> int:
    """Batches of an epoch of `count` samples (or windows): the same in every process."""
    whole = options.batch_size * options.world
    return count // whole if options.drop_last else -(-count // whole)


def _balanced(ids: Sequence[str], classes: Sequence[int], options: FeedOptions, epoch: int) -> list[Draw]:
    members: dict[int, list[int]] = {}
    for index in sorted(range(len(ids)), key=ids.__getitem__):
        members.setdefault(classes[index], []).append(index)
    rng = draw_rng(options.seed, epoch, "", 0, "balanced")
    names = sorted(members)
    share, left = divmod(len(ids), max(len(names), 1))
    more = set(rng.permutation(len(names))[:left].tolist())
    turns: dict[int, int] = {}
    draws = []
    for place, name in enumerate(names):
        for chosen in rng.integers(len(members[name]), size=share + (place in more)).tolist():
            index = members[name][chosen]
            draws.append(Draw(index, turns.get(index, 0)))
            turns[index] = turns.get(index, 0) + 1
    return draws


def hashed(seed: int, epoch: int, sample_id: str, turn: int, purpose: str, *, size: int) -> bytes:
    """What is drawn by lot for a sample, or a shard, for one purpose."""
    text = f"{purpose}/{seed}/{epoch}/{turn}/{sample_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=size).digest()
