"""Shards with an index: checked to the byte, refused when they differ, evaluated and trained on as folders are."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest
from packed_clips import CLASSES, make_folders, pack_folders
from safetensors import safe_open

from ferbench import remote
from ferbench.errors import DataError
from ferbench.feeding import FeedOptions, feed
from ferbench.inputspec import InputSpec
from ferbench.jobs.train.data import shard_notices
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of, read_manifest, write_manifest
from ferbench.media.shard_index import (
    read_index,
    refuse_damaged_shards,
    samples_in_shards,
    shards_of,
    write_index,
)
from ferbench.training.recipe import recipe_of

SMALL = ["--model", "mini-xception", "--device", "cpu", "-o", "batch-size=4", "-o", "augment=[]", "-o", "select-on=last",
         "-o", "lr=0.01", "-o", "epochs=2"]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """23 clips; the last five are the test part."""
    made = make_folders(tmp_path_factory.mktemp("folders"), 23, frames=3)
    made = made.with_columns(split=["train"] * 18 + ["test"] * 5)
    write_manifest(made, made.root / "manifest.parquet")
    return made


@pytest.fixture(scope="module")
def whole(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    write_manifest(pack_folders(folders, out, suffix=".parquet", shard_size=5), out / "manifest.parquet")
    return out


@pytest.fixture
def packed(whole, tmp_path):
    """A copy to spoil."""
    shutil.copytree(whole, tmp_path / "packed")
    return tmp_path / "packed"


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-7])


def forget(folder, file):
    entries = read_index(folder)
    write_index(folder, [entry for name, entry in entries.items() if name != file])


def miscount(folder, file):
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace(f'"{file}", "samples": 5', f'"{file}", "samples": 4'))


def findings(ran):
    return [(each["severity"], each["rule"], each["message"]) for each in json.loads(ran.out)["findings"]]


def test_whole_shards_have_nothing_to_find(whole, ferbench):
    ran = ferbench("check", whole / "manifest.parquet", "--only", "packs", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["checked"], ran.json["findings"]) == (["packs"], [])


def test_each_way_in_which_a_shard_differs_is_named(packed, ferbench):
    shards = packed / "shards"
    flip_a_bit(shards / "00000.parquet")
    cut_short(shards / "00001.parquet")
    (shards / "00002.parquet").unlink()
    forget(shards, "00003.parquet")
    ran = ferbench("check", packed / "manifest.parquet", "--only", "packs", "--json")
    assert ran.code == 4
    size = read_index(shards)["00001.parquet"].bytes
    assert findings(ran) == [
        ("error", "shard-size", f"shards/00001.parquet: {size - 7:,} bytes, and the index says {size:,}"),
        ("error", "shard-missing", "shards/00002.parquet: not there"),
        ("error", "shard-unlisted", "shards/00003.parquet: the index does not have it"),
        ("error", "shard-checksum", "shards/00000.parquet: its SHA-256 is not what the index says"),
    ]


def test_a_count_that_is_too_small_is_named(packed, ferbench):
    miscount(packed / "shards", "00001.parquet")
    ran = ferbench("check", packed / "manifest.parquet", "--only", "packs", "--json")
    assert findings(ran) == [
        ("error", "shard-count", "shards/00001.parquet: the manifest has 5 samples in it, and the index 4")
    ]


def test_a_folder_without_an_index_is_a_warning_and_a_damaged_index_an_error(packed, ferbench):
    index = packed / "shards/index.json"
    index.unlink()
    ran = ferbench("check", packed / "manifest.parquet", "--only", "packs", "--json")
    assert ran.code == 0
    assert [each[:2] for each in findings(ran)] == [("warning", "no-shard-index")]
    index.write_text('{"shards": [{"file": 1}]}')
    ran = ferbench("check", packed / "manifest.parquet", "--only", "packs", "--json")
    assert ran.code == 4
    assert findings(ran)[0][1] == "shard-index"
    assert "not a readable index of shards" in findings(ran)[0][2]


@pytest.mark.parametrize("spoil", [cut_short, lambda path: path.unlink()])
def test_evaluate_and_train_refuse_shards_that_differ_from_their_index(spoil, packed, tmp_path, ferbench):
    spoil(packed / "shards/00001.parquet")
    spoil(packed / "shards/00004.parquet")
    ran = ferbench("train", packed / "manifest.parquet", *SMALL, "-o", tmp_path / "trained")
    assert ran.code == 4
    assert "1 of 4 shards differ from their index: shards/00001.parquet: " in ran.err
    assert "copy them again, or run ferbench align again" in ran.err
    assert not (tmp_path / "trained").exists()
    ran = ferbench("evaluate", packed / "manifest.parquet", "--model", "mini-xception", "-o", tmp_path / "run")
    assert ran.code == 4
    assert "1 of 2 shards differ from their index: shards/00004.parquet: " in ran.err
    assert not (tmp_path / "run").exists()


def test_only_the_shards_of_the_samples_asked_for_are_looked_at(folders, packed):
    (packed / "shards/00004.parquet").unlink()
    manifest = read_manifest(packed / "manifest.parquet")
    counts = samples_in_shards(manifest)
    assert counts == {f"shards/0000{shard}.parquet": 5 if shard < 4 else 3 for shard in range(5)}
    assert shards_of(manifest.samples()) == counts
    refuse_damaged_shards(packed, {name: count for name, count in counts.items() if "4" not in name})
    with pytest.raises(DataError, match=r"1 of 5 shards .* shards/00004\.parquet: not there"):
        refuse_damaged_shards(packed, counts)
    # A failed sample is in no shard.
    failed = manifest.with_columns(status=["failed"] * 20 + ["ok"] * 3)
    assert samples_in_shards(failed) == {"shards/00004.parquet": 3}


def test_an_evaluation_of_shards_has_the_logits_of_folders(folders, whole, tmp_path, ferbench):
    import pyarrow.parquet as pq

    rows = {}
    for name, root in (("folders", folders.root), ("packed", whole)):
        ran = ferbench("evaluate", root / "manifest.parquet", "--model", "mini-xception", "-o", tmp_path / name,
                       "--device", "cpu", "--batch-size", "4", "-o", "audit-clips=0", "--json")  # fmt: skip
        assert ran.code == 0, ran.err
        rows[name] = pq.read_table(tmp_path / name / "predictions.parquet").select(["sample_id", "logits"])
    assert len(rows["packed"]) == 5
    assert rows["packed"].equals(rows["folders"])


def test_training_shuffles_shards_when_the_recipe_says_so(whole, tmp_path, ferbench):
    shards = ["-o", "shuffle=shards", "-o", "shuffle-window=2", "-o", "epochs=1"]
    for name, workers in (("one", "0"), ("other", "2")):
        ran = ferbench(
            "train", whole / "manifest.parquet", *SMALL, *shards, "--workers", workers, "-o", tmp_path / name
        )
        assert ran.code == 0, ran.err
    file = tmp_path / "one/last.safetensors"
    assert file.read_bytes() == (tmp_path / "other/last.safetensors").read_bytes()
    with safe_open(file, framework="pt") as opened:
        recipe = json.loads(opened.metadata()["ferbench"])["facts"]["train_recipe"]
    assert (recipe["shuffle"], recipe["shuffle-window"]) == ("shards", 2)
    ran = ferbench("train", whole / "manifest.parquet", *SMALL, "-o", "epochs=1", "-o", tmp_path / "one")
    assert ran.code == 2
    assert "belongs to a training with another recipe" in ran.err


def test_shards_of_one_class_each_are_said_to_give_batches_of_few_classes():
    def notices(labels, **recipe):
        columns = {
            "sample_id": [f"s{number}" for number in range(60)], "media": ["frames"] * 60, "label": labels,
            "path": [f"shards/{number // 6:05d}.tar/s{number}" for number in range(60)],
        }  # fmt: skip
        manifest = manifest_of(columns, labels=LabelSet.of(CLASSES), name="sixty", root=Path("/"))
        return shard_notices(
            manifest, recipe_of({"model": "mini-xception", "shuffle": "shards"} | recipe, where="here")
        )

    by_class = [number // 20 for number in range(60)]
    (notice,) = notices(by_class)
    assert notice.startswith("93% of the samples are of the commonest class of their shard: the source was sorted")
    assert notices(by_class, shuffle="samples") == notices(by_class, **{"shuffle-window": 10}) == ()
    assert notices([number % 3 for number in range(60)]) == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["shuffle=clips"], "shuffle is one of samples, shards, not 'clips'"),
        (["shuffle=shards", "balanced=true"], "balanced draws samples from everywhere"),
        (["shuffle-window=0"], "shuffle-window must be at least 1, got 0"),
    ],
)
def test_recipes_that_cannot_be_are_refused(settings, words, whole, tmp_path, ferbench):
    more = [word for setting in settings for word in ("-o", setting)]
    ran = ferbench("train", whole / "manifest.parquet", *SMALL, *more, "-o", tmp_path / "out")
    assert ran.code == 2
    assert words in ran.err


def test_shuffling_the_shards_of_plain_folders_is_refused(folders, tmp_path, ferbench):
    ran = ferbench("train", folders.root / "manifest.parquet", *SMALL, "-o", "shuffle=shards", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "clip_000 is in no shard" in ran.err


def test_shards_of_a_store_are_looked_at_without_being_fetched_and_each_is_fetched_once(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    for path in (file for file in whole.rglob("*") if file.is_file()):
        store.pipe(f"/bucket/faces/{path.relative_to(whole).as_posix()}", path.read_bytes())
    try:
        manifest = read_manifest(Path(remote.path_of("memory://bucket/faces/manifest.parquet")))
        refuse_damaged_shards(manifest.root, samples_in_shards(manifest))
        assert sorted(path.name for path in (tmp_path / "cache").rglob("*.parquet")) == ["manifest.parquet"]
        how = FeedOptions(batch_size=4, workers=2, grain="shards", window=2)
        spec = InputSpec(clip_len=3, height=12, width=12, sampler="uniform")
        batches = list(feed(manifest, list(manifest.samples()), spec, how, epoch=0, train=True))
        assert sorted(name for batch in batches for name in batch.sample_ids) == manifest.column("sample_id")
        store.pipe("/bucket/faces/shards/00001.parquet", b"cut short")
        remote.forget_listings()
        with pytest.raises(
            DataError, match=r"^memory://bucket/faces: 1 of 5 shards .*shards/00001\.parquet: 9 bytes, and"
        ):
            refuse_damaged_shards(manifest.root, samples_in_shards(manifest))
    finally:
        store.rm("/bucket", recursive=True)
        remote.forget_listings()
