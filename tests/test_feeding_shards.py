"""Training shard by shard: every sample once whoever reads it, every part of a shard read once, memory that stays flat."""

from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_clips import make_folders, pack_folders

from ferbench.errors import UsageError
from ferbench.feeding import FeedOptions, feed, num_batches
from ferbench.feeding.order import batch_bounds
from ferbench.feeding.shards import shard_batches
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate import ViewOptions
from ferbench.jobs.evaluate.blocks import cut_blocks, read_blocks
from ferbench.media import parquet_pack, tar_pack
from ferbench.media.packs import open_pack
from ferbench.media.streaming import Stream
from ferbench.training.recipe import Choice
from ferbench.windows import Task

SPEC = InputSpec(clip_len=3, height=12, width=12, sampler="uniform")
AUGMENT = (Choice("random-resized-crop", {"scale": [0.3, 1.0]}), Choice("flip"))
SIZES = {".tar": 5, ".parquet": 5}
"""Samples per shard: 23 clips are in five of them."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("folders"), 23)


@pytest.fixture(scope="module")
def packs(folders, tmp_path_factory):
    """By suffix, the clips in shards whose parts have three clips at the most."""
    root = tmp_path_factory.mktemp("packs")
    patch = pytest.MonkeyPatch()
    patch.setattr("ferbench.jobs.align.packing.ROWS_PER_GROUP", 3)
    made = {suffix: pack_folders(folders, root / suffix[1:], suffix=suffix, shard_size=5) for suffix in SIZES}
    patch.setattr(tar_pack, "PART_BYTES", 28_000)
    for suffix in SIZES:
        for shard in range(5):
            open_pack(root / suffix[1:] / f"shards/0000{shard}{suffix}")  # with such parts, as long as it is kept
    patch.undo()
    return made


def batches(manifest, *, epoch=0, first=0, **options):
    how = FeedOptions(**({"batch_size": 4, "grain": "shards", "window": 2, "augment": AUGMENT} | options))
    return list(feed(manifest, list(manifest.samples()), SPEC, how, epoch=epoch, first_batch=first, train=True))


def pixels(found):
    return {name: clip.numpy().tobytes() for batch in found
            for name, clip in zip(batch.sample_ids, batch.clips, strict=True)}  # fmt: skip


def same(one, other):
    return one.sample_ids == other.sample_ids and torch.equal(one.clips, other.clips)


# --- order ------------------------------------------------------------------------------------------------------------


def test_the_order_of_a_seed_is_known():
    """Frozen: training that is continued with a later version must see what it would have seen."""
    ids = [f"s{number:02d}" for number in range(12)]
    shards = [f"{number // 3}.tar" for number in range(12)]
    order = {
        (epoch, rank): [[ids[index] for index in batch] for batch in shard_batches(
            shards, ids, FeedOptions(batch_size=3, grain="shards", window=2, rank=rank, world=2), epoch=epoch
        )]
        for epoch, rank in ((0, 0), (0, 1), (1, 0))
    }  # fmt: skip
    assert order == {
        (0, 0): [["s04", "s03", "s05"], ["s00", "s02", "s01"]],
        (0, 1): [["s11", "s10", "s07"], ["s09", "s08", "s06"]],
        (1, 0): [["s03", "s04", "s05"], ["s09", "s11", "s10"]],
    }


@given(
    st.lists(st.integers(1, 12), max_size=9), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4), st.booleans(),
    st.booleans(), st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_processes_share_shards_without_padding_or_repeats(sizes, batch_size, world, window, shuffle, drop_last, epoch):
    shards = [f"{number}.tar" for number, size in enumerate(sizes) for _ in range(size)]
    ids = [f"s{number}" for number in range(len(shards))]
    ranks = [
        FeedOptions(
            batch_size, shuffle=shuffle, grain="shards", window=window, drop_last=drop_last, rank=rank, world=world
        )
        for rank in range(world)
    ]
    found = [shard_batches(shards, ids, how, epoch=epoch) for how in ranks]
    # The batches have the sizes that they have where samples are drawn one by one.
    bounds = batch_bounds(len(ids), ranks[0])
    assert [[len(batch) for batch in batches] for batches in found] == [
        [len(range(begin, end)[rank::world]) for begin, end in bounds] for rank in range(world)
    ]
    assert {len(batches) for batches in found} == {num_batches(len(ids), ranks[0])}
    taken = [index for batches in found for batch in batches for index in batch]
    assert len(set(taken)) == len(taken) == sum(end - begin for begin, end in bounds)
    if not drop_last:
        assert sorted(taken) == list(range(len(ids)))
    if not shuffle and not drop_last:
        assert taken == sorted(taken)
    opened = [{shards[index] for batch in batches for index in batch} for batches in found]
    assert sum(map(len, opened)) <= len(sizes) + world - 1
    for batches in found:
        own = [shards[index] for batch in batches for index in batch]
        for at in range(len(own)):
            assert len({*own[: at + 1]} & {*own[at:]}) <= (window if shuffle else 1)


def test_the_order_does_not_depend_on_where_a_sample_is_in_the_manifest():
    ids = [f"s{number}" for number in range(40)]
    shards = [f"{number // 7}.tar" for number in range(40)]
    how = FeedOptions(grain="shards", seed=3, rank=1, world=2)
    one = [[ids[index] for index in batch] for batch in shard_batches(shards, ids, how, epoch=2)]
    backwards = shard_batches(shards[::-1], ids[::-1], how, epoch=2)
    assert [[ids[::-1][index] for index in batch] for batch in backwards] == one


def test_another_epoch_or_seed_is_another_order_of_the_shards_and_within_them():
    ids = [f"s{number:03d}" for number in range(100)]
    shards = [f"{number // 10}.tar" for number in range(100)]
    found = {
        (seed, epoch): [index for batch in shard_batches(
            shards, ids, FeedOptions(grain="shards", window=1, seed=seed), epoch=epoch) for index in batch]
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    }  # fmt: skip
    lines = {key: list(dict.fromkeys(shards[index] for index in order)) for key, order in found.items()}
    assert len({tuple(line) for line in lines.values()}) == 3
    within = {key: tuple(index for index in order if index < 10) for key, order in found.items()}
    assert len(set(within.values())) == 3


def test_a_batch_in_the_middle_of_an_epoch_draws_from_all_shards_of_the_window():
    ids = [f"s{number:04d}" for number in range(2000)]
    shards = [f"{number // 100}.tar" for number in range(2000)]
    batches = shard_batches(shards, ids, FeedOptions(batch_size=40, grain="shards", window=5), epoch=0)
    for batch in batches[10:-10]:
        counts = defaultdict(int)
        for index in batch:
            counts[shards[index]] += 1
        assert 5 <= len(counts) <= 6
        assert max(counts.values()) <= 24


# --- pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SIZES)
def test_shards_give_each_sample_the_pixels_that_folders_do(suffix, folders, packs):
    expected = pixels(batches(folders, grain="samples"))
    assert pixels(batches(packs[suffix])) == expected
    assert pixels(batches(packs[suffix], shuffle=False)) == expected
    assert len(expected) == 23


@pytest.mark.parametrize("suffix", SIZES)
def test_the_number_of_workers_and_a_restart_change_nothing(suffix, packs):
    alone = batches(packs[suffix], epoch=3)
    for workers in (1, 2, 5):
        again = batches(packs[suffix], epoch=3, workers=workers)
        assert len(again) == len(alone) == 6
        assert all(map(same, alone, again))
    for first in range(7):
        left = batches(packs[suffix], epoch=3, first=first, workers=first % 2)
        assert len(left) == 6 - first
        assert all(map(same, alone[first:], left))


@given(
    st.integers(1, 4), st.integers(0, 3), st.sampled_from([2, 5, 9]), st.integers(1, 3), st.sampled_from(list(SIZES))
)
@settings(max_examples=12, deadline=None)
def test_ranks_workers_and_shard_sizes_give_every_sample_once(packed_by_size, world, workers, size, window, suffix):
    manifest, expected = packed_by_size[suffix, size]
    found = [
        batches(manifest, batch_size=3, window=window, rank=rank, world=world, workers=workers) for rank in range(world)
    ]
    assert len({len(batches) for batches in found}) == 1
    names = [name for batches in found for batch in batches for name in batch.sample_ids]
    assert sorted(names) == sorted(expected)
    assert pixels([batch for batches in found for batch in batches]) == expected


@pytest.fixture(scope="module")
def packed_by_size(folders, tmp_path_factory):
    expected = pixels(batches(folders, grain="samples"))
    root = tmp_path_factory.mktemp("sizes")
    return {
        (suffix, size): (pack_folders(folders, root / f"{size}{suffix}", suffix=suffix, shard_size=size), expected)
        for suffix in SIZES
        for size in (2, 5, 9)
    }


def test_samples_that_are_in_no_shard_are_refused(folders):
    with pytest.raises(UsageError, match=r"'clip_000': clip_000 is in no shard; .*--pack parquet"):
        batches(folders)


def test_balanced_classes_and_shards_contradict_each_other():
    with pytest.raises(UsageError, match="balanced draws samples from everywhere"):
        FeedOptions(balanced=True, grain="shards")
    with pytest.raises(UsageError, match="unknown grain 'clips' of shuffling; known: samples, shards"):
        FeedOptions(grain="clips")
    with pytest.raises(UsageError, match="window of shards must be at least 1, got 0"):
        FeedOptions(window=0)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """(file name, offset, size) of everything that is read of packs that are open."""
    from ferbench.media.contents import read_at

    seen = []

    def counting(path, offset, size):
        seen.append((path.rpartition("/")[2], offset, size))
        return read_at(path, offset, size)

    for module in (tar_pack, parquet_pack):
        monkeypatch.setattr(module, "read_at", counting)
    return seen


@pytest.mark.parametrize("suffix", SIZES)
@pytest.mark.parametrize("how", [{}, {"workers": 3}, {"shuffle": False}, {"shuffle": False, "grain": "samples"}])
def test_each_part_of_a_shard_is_read_once_an_epoch(suffix, how, packs, reads):
    found = pixels(batches(packs[suffix], **how))
    assert len(found) == 23
    assert len({name for name, _, _ in reads}) == 5
    assert len(reads) == 9  # three clips and two in four shards, three in the last
    for one in reads:  # no stretch lies in another
        assert not any(other != one and other[0] == one[0] and other[1] < one[1] + one[2] and one[1] < other[1] + other[2]
                       for other in reads)  # fmt: skip


@pytest.mark.parametrize("suffix", SIZES)
def test_samples_by_lot_are_read_from_their_places(suffix, packs, reads):
    assert len(pixels(batches(packs[suffix], grain="samples"))) == 23
    assert len(reads) >= 23 * 3


@pytest.mark.parametrize("suffix", SIZES)
def test_what_is_held_is_the_shards_of_the_window_and_nothing_in_the_end(suffix, packs):
    manifest = packs[suffix]
    samples = list(manifest.samples())
    paths = [str(manifest.path_of(sample)) for sample in samples]
    shard_bytes = max(path.stat().st_size for path in (manifest.root / "shards").iterdir())
    stream = Stream(23, lambda step: [paths[step]])
    for step in range(23):
        stream.begin(step)
        stream.end(step)
    assert 0 < stream.most_held <= shard_bytes
    assert stream.held == 0


@pytest.mark.parametrize("suffix", SIZES)
def test_a_part_that_would_be_too_much_is_read_from_its_places(suffix, packs, reads):
    manifest = packs[suffix]
    paths = [str(manifest.path_of(sample)) for sample in manifest.samples()]
    stream = Stream(2, lambda step: paths[12 * step : 12 * step + 12], limit=10)
    stream.begin(0)
    assert stream.most_held == 0
    stream.end(0)
    assert reads == []


def test_a_pack_that_is_damaged_or_gone_is_a_reason_per_sample(folders, tmp_path):
    manifest = pack_folders(folders, tmp_path, suffix=".tar", shard_size=5)
    (tmp_path / "shards/00001.tar").write_bytes(b"no tar")
    (tmp_path / "shards/00002.tar").unlink()
    found = batches(manifest, workers=1)
    failed = {name: reason.partition(":")[0] for batch in found for name, reason in batch.failed}
    assert failed == {f"clip_{number:03d}": "unreadable" if number < 10 else "missing-file" for number in range(5, 15)}
    assert len(pixels(found)) == 13


@pytest.mark.parametrize("suffix", SIZES)
def test_evaluation_reads_each_part_once_and_holds_little(suffix, folders, packs, reads):
    def evaluated(manifest):
        tasks = [Task((sample,)) for sample in manifest.samples()]
        blocks = cut_blocks(tasks, ViewOptions(), 4)
        read = read_blocks(manifest, blocks, SPEC, ViewOptions(), workers=3)
        return [clip.tobytes() for _, clips in read for clip in clips]

    expected = evaluated(folders)
    assert evaluated(packs[suffix]) == expected
    assert len(set(reads)) == len(reads) == 9
    assert {name for name, _, _ in reads} == {f"0000{shard}{suffix}" for shard in range(5)}
