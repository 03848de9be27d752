"""Packed crops: the same pictures as folders, opened by other people's libraries, resumed sample by sample."""

import hashlib
import json
import shutil
import tarfile

import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MEDIA, FACES
from test_align import FAST, rows_of, tree_hash

from ferbench.errors import MediaError
from ferbench.jobs.align.packing import key_of, packed_path, shard_of
from ferbench.manifest import read_manifest
from ferbench.media import frame_files
from ferbench.media.packs import Place, find_place, open_pack, picture_bytes
from ferbench.media.shard_index import entry_of, read_index

PACKS = ["tar", "parquet"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "clips"
    for source, target in [
        (DEMO_MEDIA / "pyfeat__single_face.mp4", "happy/a man.mp4"),
        (DEMO_MEDIA / "pyfeat__single_face.mp4", "happy/v1.5.mp4"),
        (FACES / "pyfeat__single_face.jpg", "happy/still.jpg"),
        (FACES / "pyfeat__free-mountain-vector-01.jpg", "neutral/mountain.jpg"),
        (FACES / "pyfeat__single_face.jpg", "neutral/still.jpg"),
    ]:
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / target)
    return folder


@pytest.fixture(scope="module")
def arguments(clips):
    return ["align", clips, "--labels", "folder", "--max-failures", "1", "--shard-size", "2", "--json", *FAST]


@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_holds_the_bytes_that_folders_would(pack, arguments, tmp_path, ferbench):
    assert ferbench(*arguments, "-o", tmp_path / "folders").code == 0
    ran = ferbench(*arguments, "-o", tmp_path / "packed", "--pack", pack)
    assert ran.code == 0, ran.err
    assert sorted(tree_hash(tmp_path / "packed")) == [
        "contact_sheet.jpg", "faces.parquet", "manifest.parquet", "report.html",
        *[f"shards/0000{shard}.{pack}" for shard in range(3)], "shards/index.json",
    ]  # fmt: skip
    folders, packed = rows_of(tmp_path / "folders"), rows_of(tmp_path / "packed")
    assert packed["happy/v1.5"]["path"] == f"shards/00001.{pack}/happy/v1%2E5"
    assert list(packed) == list(folders)
    for name, row in folders.items():
        if row["status"] == "failed":
            continue
        one, other = tmp_path / "folders" / row["path"], tmp_path / "packed" / packed[name]["path"]
        if row["media"] == "image":
            assert picture_bytes(find_place(other)) == one.read_bytes()
        else:
            assert [file.name for file in frame_files(other)] == ["00001.jpg", "00002.jpg"]
            for file in frame_files(other):
                assert picture_bytes(find_place(file)) == (one / file.name).read_bytes()
    sheets = [(tmp_path / name / "contact_sheet.jpg").read_bytes() for name in ("folders", "packed")]
    assert sheets[0] == sheets[1]


@pytest.mark.parametrize("pack", PACKS)
def test_a_model_scores_a_pack_as_it_scores_folders(pack, arguments, tmp_path, ferbench):
    for kind in ("none", pack):
        assert ferbench(*arguments, "-o", tmp_path / kind, "--pack", kind).code == 0
        split = tmp_path / f"{kind}-splits"
        assert ferbench("make-splits", tmp_path / kind / "manifest.parquet", "--folds", "2", "-o", split).code == 0
        ran = ferbench(
            "evaluate", split / "manifest.parquet", "--model", "mini-xception", "-o", tmp_path / f"{kind}-run",
            "--device", "cpu", "--max-failures", "1", "--json",
        )  # fmt: skip
        assert ran.code == 0, ran.err
    logits = [
        pq.read_table(tmp_path / f"{kind}-run/predictions.parquet").select(["sample_id", "logits"])
        for kind in ("none", pack)
    ]
    assert logits[0].equals(logits[1])


@pytest.mark.parametrize("pack", PACKS)
def test_check_looks_into_packs_and_names_what_is_not_in_one(pack, arguments, tmp_path, ferbench):
    assert ferbench(*arguments, "-o", tmp_path, "--pack", pack).code == 0
    ran = ferbench("check", tmp_path / "manifest.parquet", "--json")
    assert ran.code == 0, ran.err
    rules = [entry["rule"] for entry in json.loads(ran.out)["findings"] if entry["severity"] != "note"]
    assert rules == ["failed-no-face", "short-clip", "mixed-media"]
    for other in ("00001", "00002"):
        (tmp_path / f"shards/{other}.{pack}").unlink()
    shutil.copy(tmp_path / f"shards/00000.{pack}", tmp_path / f"shards/00001.{pack}")
    ran = ferbench("check", tmp_path / "manifest.parquet", "--json")
    assert ran.code == 4
    missing = [entry["sample"] for entry in json.loads(ran.out)["findings"] if entry["rule"] == "missing-file"]
    assert "happy/v1.5" in missing
    assert "happy/a man" not in missing


def test_datasets_opens_the_parquet_shards_with_images_and_class_names(arguments, tmp_path, ferbench, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert ferbench(*arguments, "-o", tmp_path / "packed", "--pack", "parquet").code == 0
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "packed/shards/*.parquet"), cache_dir=str(tmp_path / "cache")
    )["train"]
    assert rows["sample_id"][:] == ["happy/a man", "happy/still", "happy/v1.5", "neutral/still"]
    assert rows.features["label"].names == ["happy", "neutral"]
    assert rows[0]["frames"][1].size == (112, 112)
    assert rows["num_frames"][:] == [2, 1, 2, 1]


def test_a_job_of_stills_gives_a_column_of_single_images(clips, tmp_path, ferbench):
    datasets = pytest.importorskip("datasets")
    stills = [clips / "happy/still.jpg", clips / "neutral/still.jpg"]
    assert ferbench("align", *stills, "-o", tmp_path / "packed", "--pack", "parquet", *FAST).code == 0
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "packed/shards/*.parquet"), cache_dir=str(tmp_path / "cache")
    )["train"]
    assert [row["image"].size for row in rows] == [(112, 112)] * 2


def test_webdataset_opens_the_tars_with_one_key_per_sample(arguments, tmp_path, ferbench):
    webdataset = pytest.importorskip("webdataset")
    assert ferbench(*arguments, "-o", tmp_path / "packed", "--pack", "tar").code == 0
    found = {}
    for shard in range(3):
        path = str(tmp_path / f"packed/shards/0000{shard}.tar")
        for sample in webdataset.WebDataset(path, shardshuffle=False, empty_check=False):
            found[sample["__key__"]] = (sorted(name for name in sample if "jpg" in name), sample["cls"])
    assert found == {
        "happy/a man": (["00001.jpg", "00002.jpg"], b"0"),
        "happy/still": (["jpg"], b"0"),
        "happy/v1%2E5": (["00001.jpg", "00002.jpg"], b"0"),
        "neutral/still": (["jpg"], b"1"),
    }


@pytest.mark.parametrize("pack", PACKS)
def test_only_the_shard_of_what_was_lost_is_written_again(pack, arguments, tmp_path, ferbench):
    out = tmp_path / "packed"
    assert ferbench(*arguments, "-o", out, "--pack", pack).code == 0
    before = tree_hash(out)
    again = ferbench(*arguments, "-o", out, "--pack", pack)
    assert (again.json["done"], tree_hash(out)) == (0, before)
    kept = (out / f"shards/00002.{pack}").stat().st_mtime_ns
    (out / f"shards/00000.{pack}").unlink()
    again = ferbench(*arguments, "-o", out, "--pack", pack)
    assert again.json["done"] == 2
    assert tree_hash(out) == before
    assert (out / f"shards/00002.{pack}").stat().st_mtime_ns == kept


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("stop_at", [1, 2, 4])
def test_a_stopped_job_continues_sample_by_sample_into_the_same_bytes(
    pack, stop_at, arguments, tmp_path, ferbench, monkeypatch
):
    assert ferbench(*arguments, "-o", tmp_path / "whole", "--pack", pack).code == 0
    from ferbench.jobs.align.journal import Journal

    record, seen = Journal.record, []

    def stopping(journal, outcome):
        record(journal, outcome)
        seen.append(outcome.sample_id)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "record", stopping)
    assert ferbench(*arguments, "-o", tmp_path / "stopped", "--pack", pack).code == 130
    monkeypatch.setattr(Journal, "record", record)
    ran = ferbench(*arguments, "-o", tmp_path / "stopped", "--pack", pack)
    assert ran.code == 0, ran.err
    assert ran.json["skipped"] == stop_at
    assert tree_hash(tmp_path / "stopped") == tree_hash(tmp_path / "whole")


def test_a_foreign_shard_is_never_replaced_and_overwrite_removes_only_ours(arguments, tmp_path, ferbench):
    out = tmp_path / "packed"
    (out / "shards").mkdir(parents=True)
    (out / "shards/00000.tar").write_text("mine")
    ran = ferbench(*arguments, "-o", out, "--pack", "tar")
    assert ran.code == 2
    assert "align did not write it" in ran.err
    (out / "shards/00000.tar").unlink()
    (out / "shards/note.txt").write_text("mine")
    assert ferbench(*arguments, "-o", out, "--pack", "tar").code == 0
    assert ferbench(*arguments, "-o", out, "--pack", "parquet", "--overwrite").code == 0
    assert sorted(path.name for path in (out / "shards").iterdir()) == [
        "00000.parquet", "00001.parquet", "00002.parquet", "index.json", "note.txt",
    ]  # fmt: skip


def test_paths_into_packs_are_told_from_ordinary_ones(tmp_path):
    assert packed_path("a/b.c", "frames", 2049, suffix=".tar", shard_size=1000) == "shards/00002.tar/a/b%2Ec"
    assert packed_path("a/b.c.jpg", "image", 0, suffix=".parquet", shard_size=9) == "shards/00000.parquet/a/b%2Ec.jpg"
    assert shard_of("shards/00002.tar/a/b") == "shards/00002.tar"
    assert key_of("shards/00002.tar/a/b") == "a/b"
    assert key_of("shards/00002.tar/b.jpg") == "b"
    assert find_place(tmp_path / "x.tar/clip") is None
    (tmp_path / "x.tar").mkdir()
    assert find_place(tmp_path / "x.tar/clip") is None
    for name in ("a.00001.jpg", "b/00001.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        tar.add(tmp_path / "a.00001.jpg", "a.00001.jpg")
        tar.add(tmp_path / "b/00001.jpg", "b/00001.jpg")
    pack = open_pack(tmp_path / "y.tar")
    assert Place(tmp_path, "a/00001.jpg").picture(pack) == ("a", "00001.jpg")
    assert Place(tmp_path, "a/b.jpg").picture(pack) == ("a/b", "jpg")
    # A still below a folder whose name is a number, as Aff-Wild2's are.
    assert picture_bytes(find_place(tmp_path / "y.tar/b/00001.jpg")) == b"b/00001.jpg"
    assert picture_bytes(find_place(tmp_path / "y.tar/a/00001.jpg")) == b"a.00001.jpg"


@pytest.mark.parametrize("name", ["broken.tar", "broken.parquet"])
def test_a_damaged_pack_and_a_missing_sample_are_media_errors(name, tmp_path):
    (tmp_path / name).write_bytes(b"\1" * 2000)
    with pytest.raises(MediaError, match="not a readable pack"):
        open_pack(tmp_path / name)
    with pytest.raises(MediaError, match="not a readable pack"):
        frame_files(tmp_path / name / "clip")


def test_a_sample_that_is_not_in_its_pack_is_named(arguments, tmp_path, ferbench):
    assert ferbench(*arguments, "-o", tmp_path / "packed", "--pack", "tar").code == 0
    shard = tmp_path / "packed/shards/00000.tar"
    with pytest.raises(MediaError, match=r"00000\.tar: it has no sample 'nobody'"):
        frame_files(shard / "nobody")
    with pytest.raises(MediaError, match="it has no picture"):
        picture_bytes(find_place(shard / "nobody.jpg"))
    assert read_manifest(tmp_path / "packed/manifest.parquet").column("path")[0] == "shards/00000.tar/happy/a man"


def index_of(out):
    return json.loads((out / "shards/index.json").read_text())


@pytest.mark.parametrize("pack", PACKS)
def test_an_index_says_what_each_shard_holds(pack, arguments, tmp_path, ferbench):
    assert ferbench(*arguments, "-o", tmp_path, "--pack", pack).code == 0
    shards = [tmp_path / f"shards/0000{shard}.{pack}" for shard in range(3)]
    sizes = [shard.stat().st_size for shard in shards]
    assert index_of(tmp_path) == {
        "samples": 4, "pictures": 6, "bytes": sum(sizes),
        "shards": [
            {"file": shard.name, "samples": samples, "pictures": pictures, "bytes": size,
             "sha256": hashlib.sha256(shard.read_bytes()).hexdigest()}
            for shard, size, (samples, pictures) in zip(shards, sizes, [(2, 3), (1, 2), (1, 1)], strict=True)
        ],
    }  # fmt: skip
    assert [entry_of(shard) for shard in shards] == list(read_index(tmp_path / "shards").values())


def test_an_index_that_is_not_there_is_written_by_the_next_run_and_no_shard_is(arguments, tmp_path, ferbench):
    assert ferbench(*arguments, "-o", tmp_path, "--pack", "tar").code == 0
    before, ages = tree_hash(tmp_path), [path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.tar")]
    (tmp_path / "shards/index.json").unlink()
    assert ferbench(*arguments, "-o", tmp_path, "--pack", "tar").json["done"] == 0
    assert tree_hash(tmp_path) == before
    assert [path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.tar")] == ages


def test_an_index_of_shards_that_changed_since_is_not_believed_by_the_next_run(arguments, tmp_path, ferbench):
    assert ferbench(*arguments, "-o", tmp_path, "--pack", "tar").code == 0
    before = tree_hash(tmp_path)
    whole = (tmp_path / "shards/00001.tar").read_bytes()
    (tmp_path / "shards/00001.tar").write_bytes(whole[:-2000])
    assert ferbench(*arguments, "-o", tmp_path, "--pack", "tar").code == 0
    assert ferbench(*arguments, "-o", tmp_path, "--pack", "tar", "--overwrite").code == 0
    assert tree_hash(tmp_path) == before


def test_a_job_whose_every_sample_fails_has_neither_shards_nor_an_index(clips, tmp_path, ferbench):
    ran = ferbench("align", clips / "neutral/mountain.jpg", "-o", tmp_path / "out", "--pack", "tar", *FAST)
    assert ran.code == 3
    assert not (tmp_path / "out/shards").exists()
