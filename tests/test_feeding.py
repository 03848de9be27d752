"""Batches for training: the same samples and pixels whoever reads them, each once, and nothing lost in silence."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ferbench.clips import load_clip
from ferbench.errors import DataError, MediaError, UsageError
from ferbench.feeding import Batch, FeedOptions, feed, num_batches
from ferbench.feeding.order import batch_bounds, epoch_order
from ferbench.feeding.pictures import read_picture
from ferbench.inputspec import InputSpec
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.media import FrameReader
from ferbench.media.stills import read_still
from ferbench.training.recipe import Choice

CLASSES = ("calm", "glad", "sad")
SPEC = InputSpec(clip_len=4, height=16, width=20, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), sampler="uniform")
AUGMENT = (
    Choice("random-resized-crop", {"scale": [0.3, 1.0]}), Choice("flip"), Choice("color-jitter", {"brightness": 0.3}),
)  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Manifest:
    """Eleven clips of 6 JPEG frames, one of them broken; one row failed before and has no files."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(1)
    ids = [f"clip_{number:02d}" for number in range(11)]
    for name in ids:
        (root / name).mkdir()
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((28, 24), Image.Resampling.BICUBIC)
        for frame in range(6):
            picture.rotate(9 * frame).save(root / name / f"{frame:05d}.jpg", quality=92)
    for frame in range(6):
        (root / "clip_03" / f"{frame:05d}.jpg").write_bytes(b"\xff\xd8\xff no more")
    return manifest_of(
        {
            "sample_id": [*ids, "lost"], "path": [*ids, "nowhere"], "media": ["frames"] * 12,
            "label": [*(number % 3 for number in range(11)), 2], "status": [*["ok"] * 11, "failed"],
            "error": [*[None] * 11, "no-face: none was found"],
        },
        labels=LabelSet.of(CLASSES), name="clips", root=root,
    )  # fmt: skip


@pytest.fixture(scope="module")
def good(clips) -> Manifest:
    """Those of them that can be read."""
    return clips.where([name not in ("clip_03", "lost") for name in clips.column("sample_id")])


def batches(
    manifest: Manifest, *, spec: InputSpec = SPEC, epoch: int = 0, train: bool = True, first: int = 0, **options
):
    """All batches of an epoch."""
    how = FeedOptions(**({"batch_size": 4, "augment": AUGMENT if train else ()} | options))
    return list(feed(manifest, list(manifest.samples()), spec, how, epoch=epoch, first_batch=first, train=train))


def pixels(found: list[Batch]) -> dict[str, bytes]:
    """sample_id -> its clip's bytes, of samples that are there once."""
    rows = [
        (name, clip.numpy().tobytes())
        for batch in found
        for name, clip in zip(batch.sample_ids, batch.clips, strict=True)
    ]
    assert len({name for name, _ in rows}) == len(rows)
    return dict(rows)


def same(one: Batch, other: Batch) -> bool:
    rest = [(batch.sample_ids, batch.failed, batch.failed_targets) for batch in (one, other)]
    return torch.equal(one.clips, other.clips) and torch.equal(one.targets, other.targets) and rest[0] == rest[1]


# --- order ------------------------------------------------------------------------------------------------------------


def test_the_order_of_a_seed_is_known():
    """Frozen: training that is continued with a later version must see what it would have seen."""
    ids = [f"s{number}" for number in range(8)]
    order = {
        (seed, epoch): [ids[draw.index] for draw in epoch_order(ids, [0] * 8, FeedOptions(seed=seed), epoch=epoch)]
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    }
    assert order == {
        (0, 0): ["s7", "s3", "s6", "s4", "s1", "s2", "s5", "s0"],
        (0, 1): ["s4", "s1", "s3", "s7", "s0", "s2", "s6", "s5"],
        (1, 0): ["s1", "s3", "s7", "s4", "s0", "s6", "s2", "s5"],
    }


def test_the_order_does_not_depend_on_where_a_sample_is_in_the_manifest():
    ids = [f"s{number}" for number in range(50)]
    classes = [number % 3 for number in range(50)]
    for options in (FeedOptions(seed=4), FeedOptions(seed=4, balanced=True)):
        one = [(ids[draw.index], draw.turn) for draw in epoch_order(ids, classes, options, epoch=2)]
        other = [(ids[::-1][draw.index], draw.turn) for draw in epoch_order(ids[::-1], classes[::-1], options, epoch=2)]
        assert one == other


def test_every_sample_is_equally_often_at_every_place():
    ids = [f"s{number}" for number in range(5)]
    counts = np.zeros((5, 5))
    for epoch in range(2000):
        for place, draw in enumerate(epoch_order(ids, [0] * 5, FeedOptions(), epoch=epoch)):
            counts[place, draw.index] += 1
    assert np.abs(counts - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)


@given(st.integers(0, 300), st.integers(1, 9), st.integers(1, 7), st.booleans())
@settings(max_examples=200, deadline=None)
def test_processes_share_an_epoch_without_padding_or_repeats(count, batch_size, world, drop_last):
    ranks = [FeedOptions(batch_size, drop_last=drop_last, rank=rank, world=world) for rank in range(world)]
    bounds = batch_bounds(count, ranks[0])
    shares = [[list(range(begin, end))[how.rank :: world] for begin, end in bounds] for how in ranks]
    assert {len(share) for share in shares} == {num_batches(count, ranks[0])}
    for step, (begin, end) in enumerate(bounds):
        sizes = [len(share[step]) for share in shares]
        assert sorted(place for share in shares for place in share[step]) == list(range(begin, end))
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch_size
    taken = [place for begin, end in bounds for place in range(begin, end)]
    whole = batch_size * world
    assert taken == list(range(count // whole * whole if drop_last else count))
    if not drop_last and batch_size > 1 and count >= world:
        least = 2 if batch_size > 3 and count >= 2 * world else 1
        assert all(len(batch) >= least for share in shares for batch in share)


def test_without_shuffling_the_order_is_the_manifests(good):
    names = [name for batch in batches(good, train=False, shuffle=False) for name in batch.sample_ids]
    assert names == good.column("sample_id")


def test_balanced_draws_every_class_equally_often_and_every_sample_of_a_class():
    ids = [f"s{number}" for number in range(103)]
    classes = [0] * 80 + [1] * 20 + [2] * 3
    seen = np.zeros(103)
    for epoch in range(40):
        draws = epoch_order(ids, classes, FeedOptions(balanced=True), epoch=epoch)
        assert sorted(np.bincount([classes[draw.index] for draw in draws]).tolist()) == [34, 34, 35]
        assert len({(draw.index, draw.turn) for draw in draws}) == 103
        for draw in draws:
            seen[draw.index] += 1
    assert seen.min() > 0
    assert seen[-3:].min() > 40 * 34 / 3 * 0.8


def test_a_sample_that_is_drawn_again_is_not_beside_itself():
    ids = [f"s{number}" for number in range(41)]
    draws = epoch_order(ids, [0] * 40 + [1], FeedOptions(balanced=True), epoch=0)
    places = [place for place, draw in enumerate(draws) if draw.index == 40]
    assert len(places) in (20, 21)
    assert max(places) - min(places) > 30


def test_a_sample_that_is_drawn_again_is_augmented_anew(good):
    rare = good.where([True, True, True, True, *[False] * 6]).with_columns(label=[0, 0, 0, 1])
    spec = dataclasses.replace(SPEC, clip_len=6)  # all frames, so that nothing but the augmentation differs
    found = batches(rare, spec=spec, balanced=True, batch_size=8)
    rows = [
        clip.numpy().tobytes()
        for batch in found
        for clip, label in zip(batch.clips, batch.targets, strict=True)
        if label
    ]
    assert len(rows) == 2
    assert len(set(rows)) == 2


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_the_number_of_workers_changes_nothing(clips):
    alone = batches(clips)
    for workers in (1, 2, 5):
        assert all(same(one, other) for one, other in zip(alone, batches(clips, workers=workers), strict=True))


def test_a_restart_gives_the_batches_that_were_left(clips):
    whole = batches(clips, workers=1)
    for first in range(5):
        assert all(same(one, other) for one, other in zip(whole[first:], batches(clips, first=first), strict=True))


def test_processes_give_each_sample_the_pixels_that_one_process_does(good):
    alone = pixels(batches(good, batch_size=6))
    together = [batches(good, batch_size=2, rank=rank, world=3) for rank in range(3)]
    assert {len(found) for found in together} == {2}
    assert pixels([batch for found in together for batch in found]) == alone


def test_another_epoch_or_seed_gives_other_pixels(good):
    one = pixels(batches(good))
    for other in (batches(good, epoch=1), batches(good, seed=1)):
        assert all(one[name] != clip for name, clip in pixels(other).items())


def test_the_other_samples_change_nothing(good):
    alone = pixels(batches(good.where([name == "clip_05" for name in good.column("sample_id")])))
    assert pixels(batches(good))["clip_05"] == alone["clip_05"]


def test_frames_are_drawn_from_every_place(tmp_path):
    (tmp_path / "one").mkdir()
    for frame in range(8):
        Image.new("RGB", (20, 16), (frame, 0, 0)).save(tmp_path / "one" / f"{frame}.png")
    manifest = manifest_of(
        {"sample_id": ["one"], "path": ["one"], "media": ["frames"], "label": [0]},
        labels=LabelSet.of(CLASSES), name="one", root=tmp_path,
    )  # fmt: skip
    spec = InputSpec(clip_len=4, height=16, width=20, range="0..255")
    seen = set()
    for epoch in range(60):
        (batch,) = batches(manifest, spec=spec, epoch=epoch, augment=())
        seen.add(tuple(batch.clips[0, :, 0, 0, 0].int().tolist()))
    assert seen == {(a, b, c, d) for a in (0, 1) for b in (2, 3) for c in (4, 5) for d in (6, 7)}


@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW"])
@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_without_train_the_pixels_are_those_of_evaluate(good, layout, channels):
    spec = InputSpec(clip_len=4, height=16, width=20, layout=layout, channels=channels, mean=(0.4,), std=(0.2,))
    found = torch.cat([batch.clips for batch in batches(good, spec=spec, train=False, shuffle=False, workers=1)])
    found = found if layout == "NTCHW" else found.transpose(1, 2)
    with FrameReader() as reader:
        expected = [load_clip(good, sample, spec, reader) for sample in good.samples()]
    assert np.array_equal(found.numpy(), np.stack(expected))


@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW"])
@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_train_normalises_as_evaluate_does(good, layout, channels):
    shared = {"clip_len": 6, "height": 24, "width": 28, "channels": channels, "mean": (0.4,), "std": (0.2,)}
    spec = InputSpec(layout=layout, sampler="dfer-clip", **shared)  # six of six frames, at their own size
    (batch,) = batches(good, spec=spec, augment=(), batch_size=10)
    clips = batch.clips if layout == "NTCHW" else batch.clips.transpose(1, 2)
    by_id = {sample.sample_id: sample for sample in good.samples()}
    with FrameReader() as reader:
        expected = [
            load_clip(good, by_id[name], InputSpec(sampler="all", **shared), reader) for name in batch.sample_ids
        ]
    assert np.array_equal(clips.numpy(), np.stack(expected))


def test_a_clip_of_equal_frames_stays_one(tmp_path):
    (tmp_path / "one").mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8))
    for frame in range(5):
        picture.save(tmp_path / "one" / f"{frame}.png")
    manifest = manifest_of(
        {"sample_id": ["one"], "path": ["one"], "media": ["frames"], "label": [0]},
        labels=LabelSet.of(CLASSES), name="one", root=tmp_path,
    )  # fmt: skip
    every = (*AUGMENT, Choice("rotation", {"degrees": 10}), Choice("autoaugment-cifar"), Choice("random-erasing"))
    for epoch in range(10):
        (batch,) = batches(manifest, epoch=epoch, augment=every)
        assert all(torch.equal(frame, batch.clips[0, 0]) for frame in batch.clips[0])


def test_frames_of_several_sizes_are_brought_to_the_models(tmp_path):
    (tmp_path / "one").mkdir()
    for frame, side in enumerate((20, 30, 40, 50)):
        Image.new("RGB", (side, side), (200, 100, 50)).save(tmp_path / "one" / f"{frame}.png")
    manifest = manifest_of(
        {"sample_id": ["one"], "path": ["one"], "media": ["frames"], "label": [0]},
        labels=LabelSet.of(CLASSES), name="one", root=tmp_path,
    )  # fmt: skip
    spec = InputSpec(clip_len=4, height=16, width=20, range="0..255")
    (batch,) = batches(manifest, spec=spec, augment=AUGMENT[:2])
    assert torch.equal(batch.clips[0].mean(dim=(0, 2, 3)), torch.tensor([200.0, 100.0, 50.0]))


# --- images -----------------------------------------------------------------------------------------------------------


def test_an_image_model_gets_every_sampled_frame_as_an_image(good):
    spec = InputSpec(layout="NCHW", clip_len=3, height=16, width=20, sampler="last-n")
    found = batches(good, spec=spec, workers=1)
    assert [tuple(batch.clips.shape) for batch in found] == [(12, 3, 16, 20), (12, 3, 16, 20), (6, 3, 16, 20)]
    for batch in found:
        assert batch.sample_ids == tuple(name for name in batch.sample_ids[::3] for _ in range(3))
        assert batch.targets.tolist() == [int(name[-2:]) % 3 for name in batch.sample_ids]


def test_stills_are_images(good):
    stills = good.with_columns(path=[f"{name}/00000.jpg" for name in good.column("path")], media=["image"] * len(good))
    spec = InputSpec(layout="NCHW", height=16, width=20)
    assert [tuple(batch.clips.shape) for batch in batches(stills, spec=spec)] == [(4, 3, 16, 20)] * 2 + [(2, 3, 16, 20)]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_sample_that_cannot_be_read_is_a_reason(clips):
    found = batches(clips, spec=dataclasses.replace(SPEC, clip_len=6), workers=2)
    failed = dict(entry for batch in found for entry in batch.failed)
    assert failed == {
        "clip_03": "truncated: clip_03/00000.jpg: the header is cut short or damaged",
        "lost": "no-face: none was found",
    }
    assert sorted(label for batch in found for label in batch.failed_targets) == [0, 2]
    read = [name for batch in found for name in batch.sample_ids]
    assert sorted([*read, *failed]) == clips.column("sample_id")
    for batch in found:
        assert len(batch.clips) == len(batch.targets) == len(batch.sample_ids)


def test_a_batch_of_failures_is_empty(clips):
    lost = clips.where([name == "lost" for name in clips.column("sample_id")])
    (batch,) = batches(lost)
    assert tuple(batch.clips.shape) == (0, 4, 3, 16, 20)
    assert (batch.targets.tolist(), batch.sample_ids, batch.failed_targets) == ([], (), (2,))


def test_more_processes_than_samples_have_empty_batches(good):
    two = good.where([True, True, *[False] * 8])
    found = [batches(two, rank=rank, world=4) for rank in range(4)]
    assert [[len(batch.sample_ids) for batch in share] for share in found] == [[1], [1], [0], [0]]
    assert tuple(found[3][0].clips.shape) == (0, 4, 3, 16, 20)


def test_a_sample_without_a_label_is_refused(good):
    with pytest.raises(DataError, match="'clip_00': it has no label"):
        feed(good, list(good.with_columns(label=[None] * 10).samples()), SPEC, FeedOptions(), epoch=0, train=True)


def test_an_augmentation_that_is_none_is_refused_before_anything_is_read(good):
    with pytest.raises(UsageError, match="no augmentation 'flop'"):
        feed(good, list(good.samples()), SPEC, FeedOptions(augment=(Choice("flop"),)), epoch=0, train=True)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": -1}, {"world": 0}, {"rank": 2, "world": 2}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong)).replace("_", "-")):
        FeedOptions(**wrong)


def test_a_feed_that_is_given_up_leaves_no_threads(good):
    before = threading.active_count()
    left = feed(good, list(good.samples()), SPEC, FeedOptions(2, workers=2), epoch=0, train=True)
    next(left)
    left.close()
    assert threading.active_count() == before


# --- pictures ---------------------------------------------------------------------------------------------------------


def pictures(folder: Path) -> list[Path]:
    """Many kinds of file; the last three cannot be read."""
    rng = np.random.default_rng(2)
    colour = Image.fromarray(rng.integers(0, 256, (61, 90, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    kinds = {
        "plain.jpg": (colour, {}), "sharp.jpg": (colour, {"quality": 100, "subsampling": 0}),
        "steps.jpg": (colour, {"progressive": True}), "grey.jpg": (colour.convert("L"), {}),
        "four.jpg": (colour.convert("CMYK"), {}), "turned.jpg": (colour, {"exif": exif}),
        "own.jpg": (colour, {"keep_rgb": True}), "profile.jpg": (colour, {"icc_profile": b"nothing"}),
        "one.png": (colour, {}), "clear.png": (colour.convert("RGBA"), {}),
    }  # fmt: skip
    for name, (picture, how) in kinds.items():
        picture.save(folder / name, **how)
    whole = (folder / "plain.jpg").read_bytes()
    (folder / "trailing.jpg").write_bytes(whole + b"\0" * 9)
    (folder / "short.jpg").write_bytes(whole[:-200])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"hello")
    return [folder / name for name in (*kinds, "trailing.jpg", "short.jpg", "empty.jpg", "text.jpg")]


def test_the_quick_reader_gives_the_pixels_and_the_errors_of_the_careful_one(tmp_path):
    def outcome(read, path):
        try:
            return read(path)
        except MediaError as error:
            return error.as_row()

    for path in pictures(tmp_path):
        one, other = outcome(read_picture, str(path)), outcome(read_still, path)
        assert np.array_equal(one, other), path.name
