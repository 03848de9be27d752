"""Order of an epoch that is read shard by shard: a function of (seed, epoch, names of shards, sample_ids) alone.

The shards stand in a line, by lot, and their samples in each, by lot. The processes cut the line into stretches, one each,
whose lengths are those of their batches: nothing is padded, repeated or left out, and at most one shard is cut between two
neighbours. Within its stretch a process mixes the samples of `window` shards: a sample of the p-th shard is placed at
p + window * u for a u in [0, 1) by lot, so that at any time the samples come from `window` shards, of which one ends where
the next begins. (A shuffle buffer, as WebDataset has it, also depends on what was read before; this does not.)
"""

from __future__ import annotations

from collections.abc import Sequence

from ferbench.feeding.options import FeedOptions
from ferbench.feeding.order import batch_bounds, hashed


def shard_batches(shards: Sequence[str], ids: Sequence[str], options: FeedOptions, *, epoch: int) -> list[list[int]]:
    """The batches of one process as indices of samples, given the shard and the id of every sample.

    As many batches, of the same sizes, as where samples are drawn one by one. Without `options.shuffle` the line is the
    given order.
    """
    sizes = [_share(end - begin, rank, options.world) for rank in range(options.world)
             for begin, end in batch_bounds(len(ids), options)]  # fmt: skip
    steps = len(sizes) // options.world
    first = sum(sizes[: options.rank * steps])
    own_sizes = sizes[options.rank * steps : (options.rank + 1) * steps]
    line = _line(shards, ids, options, epoch)[first : first + sum(own_sizes)]
    own = _mixed(line, shards, ids, options, epoch) if options.shuffle else line
    batches, begin = [], 0
    for size in own_sizes:
        batches.append(own[begin : begin + size])
        begin += size
    return batches


def _share(count: int, rank: int, world: int) -> int:
    """How many of `count` things every `world`-th is, from the `rank`-th on."""
    return max(0, -(-(count - rank) // world))


def _line(shards: Sequence[str], ids: Sequence[str], options: FeedOptions, epoch: int) -> list[int]:
    if not options.shuffle:
        return list(range(len(ids)))
    lots = {name: hashed(options.seed, epoch, name, 0, "shard", size=8) for name in set(shards)}
    keys = [(lots[shard], shard, hashed(options.seed, epoch, name, 0, "order", size=8), name)
            for shard, name in zip(shards, ids, strict=True)]  # fmt: skip
    return sorted(range(len(ids)), key=keys.__getitem__)


def _mixed(
    line: Sequence[int], shards: Sequence[str], ids: Sequence[str], options: FeedOptions, epoch: int
) -> list[int]:
    places: dict[str, int] = {}
    keys = []
    for index in line:
        place = places.setdefault(shards[index], len(places))
        lot = int.from_bytes(hashed(options.seed, epoch, ids[index], 0, "window", size=8), "big")
        # In whole numbers: 64 bits of lot, so that no rounding decides.
        keys.append(((place << 64) + options.window * lot, ids[index]))
    return [line[at] for at in sorted(range(len(line)), key=keys.__getitem__)]
