"""align, merge and evaluate from and to an object store: the bytes of one folder, on whatever machine they continue."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import DEMO_MEDIA, FACES, REPOSITORY
from evaluate_fixtures import clips_manifest, predictions_of, write_net
from s3_server import ACCESS_KEY, SECRET_KEY, Server, forget
from test_align import FAST, tree_hash
from test_evaluate_resume import COUNTING

from ferbench import remote
from ferbench.models import model_module
from ferbench.predictions import read_predictions

pytest.importorskip("moto")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("s3") / "cache")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Videos, stills, a frame folder, one without a face, one that is no picture."""
    folder = tmp_path_factory.mktemp("remote") / "clips"
    picture = cv2.imread(str(FACES / "pyfeat__single_face.jpg"))
    for number in range(3):
        (folder / "frames").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "frames" / f"{number + 1:05d}.jpg"), picture[number:])
        cv2.imwrite(str(folder / f"still {number}.jpg"), picture[:, number:])
    shutil.copy(DEMO_MEDIA / "pyfeat__single_face.mp4", folder / "müde.mp4")
    shutil.copy(FACES / "pyfeat__free-mountain-vector-01.jpg", folder / "mountain.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


ALIGN = ["--max-failures", "9", "--json", *FAST]


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """What one run leaves in a folder."""
    from ferbench.commands import run

    out = tmp_path_factory.mktemp("whole") / "faces"
    assert run([str(each) for each in ["align", clips, "-o", out, *ALIGN]]) == 0
    return out


@pytest.fixture
def s3(running, clips, tmp_path, monkeypatch):
    """A server whose bucket holds the clips, and an empty cache; afterwards nothing anywhere holds credentials."""
    for name, value in {**running.environment, "FERBENCH_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FERBENCH_PUBLISH_SECONDS", "0")
    running.reset()
    running.put(clips, "clips")
    forget()
    yield running
    running.deny(False)
    forget()
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    written += [running.store().cat_file(f"{running.bucket}/{key}") for key in running.keys("")]
    for secret in (ACCESS_KEY, SECRET_KEY):
        assert not any(secret.encode() in data for data in written)


@pytest.fixture
def other_machine(tmp_path, monkeypatch):
    """From here on another machine works: nothing is known, and its cache is empty."""

    def change(name: str) -> None:
        monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / f"cache of {name}"))
        forget()

    return change


def process(arguments) -> subprocess.Popen:
    command = [sys.executable, str(REPOSITORY / "cli.py"), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


# --- align -------------------------------------------------------------------------------------------------------------


def test_align_from_and_to_a_store_gives_the_bytes_of_a_folder(s3, whole, ferbench, other_machine):
    ran = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *ALIGN)
    assert ran.code == 0, ran.err
    assert s3.hashes("faces") == tree_hash(whole)
    assert s3.url("faces/manifest.parquet") in ran.out
    assert remote.places.MIRROR not in ran.out + ran.err
    for secret in (ACCESS_KEY, SECRET_KEY):
        assert secret not in ran.out + ran.err
    other_machine("the second")
    again = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *ALIGN)
    # What can only fail again is not tried again; the file that is no picture is.
    assert (again.json["done"], again.json["skipped"]) == (0, ran.json["samples"] - 1)
    assert s3.hashes("faces") == tree_hash(whole)


def test_a_killed_align_is_continued_on_another_machine_and_nothing_is_done_twice(s3, whole, ferbench, other_machine):
    running = process(["align", s3.url("clips"), "-o", s3.url("faces"), *ALIGN])
    journal, deadline = "faces/.ferbench/journal.jsonl.parts", time.monotonic() + 60
    while len(s3.keys(journal)) < 3:
        assert running.poll() is None, running.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    recorded = len(s3.keys(journal))
    assert 3 <= recorded < 7
    other_machine("the second")
    ran = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *ALIGN)
    assert ran.code == 0, ran.err
    # Samples in the order of the source: the first is no picture, which is tried again.
    assert ran.json["skipped"] == recorded - 1
    assert s3.hashes("faces") == tree_hash(whole)


@pytest.mark.parametrize(("pack", "workers"), [("tar", 1), ("parquet", 2)])
def test_packs_are_published_whole_and_continued(pack, workers, s3, clips, ferbench, tmp_path, other_machine):
    more = ["--pack", pack, "--shard-size", "2"]
    assert ferbench("align", clips, "-o", tmp_path / "local", *ALIGN, *more).code == 0
    assert ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *ALIGN, *more, "--limit", "4").code == 0
    other_machine("the second")
    ran = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *ALIGN, *more, "--workers", workers)
    assert (ran.code, ran.json["skipped"]) == (0, 3), ran.err
    assert s3.hashes("faces") == tree_hash(tmp_path / "local")


def test_shards_of_several_machines_are_merged_from_a_store(s3, whole, ferbench, other_machine):
    for index in (2, 1):
        other_machine(f"number {index}")
        ran = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), "--shard", f"{index}/2", *ALIGN)
        assert ran.code == 0, ran.err
    assert "manifest.parquet" not in s3.keys("faces")
    other_machine("the last")
    merged = ferbench("merge", s3.url("faces"))
    assert merged.code == 0, merged.err
    assert s3.hashes("faces") == tree_hash(whole)
    assert "nothing is left to merge" in " ".join(ferbench("merge", s3.url("faces")).err.split())


def test_crops_are_cut_from_boxes_in_a_store(s3, whole, ferbench, other_machine):
    assert ferbench("align", s3.url("clips"), "-o", s3.url("boxes"), "--keep", "boxes", *ALIGN).code == 0
    other_machine("the second")
    ran = ferbench("align", "--from-boxes", s3.url("boxes"), "-o", s3.url("faces"), *ALIGN)
    assert ran.code == 0, ran.err
    theirs, ours = s3.hashes("faces"), tree_hash(whole)
    assert {name: theirs[name] for name in theirs if name.endswith(".jpg")} == {
        name: ours[name] for name in ours if name.endswith(".jpg")
    }


def test_a_small_cache_changes_nothing_but_the_requests(s3, whole, ferbench, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE_SIZE", "300KB")
    monkeypatch.setattr(remote.cache, "HELD", 2)
    ran = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *ALIGN)
    assert ran.code == 0, ran.err
    assert s3.hashes("faces") == tree_hash(whole)


def test_a_workspace_may_name_places_in_a_store(s3, whole, ferbench, tmp_path, monkeypatch):
    settings = f'source = "{s3.url("clips")}"\n[align]\noutput = "{s3.url("faces")}"\nclip-len = 2\n'
    (tmp_path / "ferbench.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    ran = ferbench("align", "--workers", "1", "--max-failures", "9")
    assert ran.code == 0, ran.err
    assert s3.hashes("faces") == tree_hash(whole)


# --- evaluate ----------------------------------------------------------------------------------------------------------


def test_evaluate_reads_manifest_faces_and_checkpoints_from_a_store(s3, ferbench, tmp_path, other_machine):
    generator = np.random.default_rng(3)
    clips = {f"s{number}": generator.integers(0, 256, (2, 48, 48, 3)) for number in range(6)}
    columns = {"label": [number % 3 for number in range(6)], "fold": [1, 2, 1, 2, 1, 2]}
    clips_manifest(tmp_path / "set", clips, **columns)
    s3.put(tmp_path / "set", "set")
    for fold in (1, 2):
        torch.manual_seed(fold)
        network = model_module("mini-xception").build(3)
        (tmp_path / "models").mkdir(exist_ok=True)
        torch.save(network.state_dict(), tmp_path / "models" / f"ckpt_{fold}.pt")
        (tmp_path / "models" / f"ckpt_{fold}.toml").write_text('classes = ["red", "green", "blue"]\n')
    s3.put(tmp_path / "models", "models")
    more = ["--arch", "mini-xception", "--replicates", "0", "--json", "--input", "clip_len=2"]
    here = ["evaluate", tmp_path / "set" / "manifest.parquet", "--model", tmp_path / "models" / "ckpt_{fold}.pt"]
    local = ferbench(*here, "-o", tmp_path / "run", *more)
    assert local.code == 0, local.err
    there = ["evaluate", s3.url("set/manifest.parquet"), "--model", s3.url("models/ckpt_{fold}.pt")]
    ran = ferbench(*there, "-o", s3.url("run"), *more)
    assert ran.code == 0, ran.err
    assert set(s3.keys("run")) == set(tree_hash(tmp_path / "run"))
    ours = read_predictions(tmp_path / "run" / "predictions.parquet")
    theirs = read_predictions(remote.path_of(s3.url("run/predictions.parquet")))
    assert theirs.logits.tobytes() == ours.logits.tobytes()
    assert theirs.provenance["models"] == ours.provenance["models"]
    assert remote.places.MIRROR not in str(theirs.provenance) + ran.out + ran.err
    other_machine("the second")
    before = s3.hashes("run")["predictions.parquet"]
    assert ferbench(*there, "-o", s3.url("run"), *more).code == 0  # read, not computed again
    assert s3.hashes("run")["predictions.parquet"] == before
    scored = ferbench("score", s3.url("run/predictions.parquet"), "-o", s3.url("scores"), "--replicates", "0", "--json")
    assert scored.code == 0, scored.err
    assert scored.json["folds"] == ran.json["folds"]
    assert "report.html" in s3.keys("scores")
    compared = ferbench("compare", f"there={s3.url('run')}", tmp_path / "run", "-o", s3.url("compared"))
    assert compared.code == 0, compared.err
    assert "comparison.md" in s3.keys("compared")


def test_a_killed_evaluation_is_continued_on_another_machine(s3, tmp_path, other_machine):
    generator = np.random.default_rng(3)
    clips = {f"s{number}": generator.integers(0, 256, (2, 8, 8, 3)) for number in range(10)}
    clips_manifest(tmp_path / "set", clips, label=[number % 3 for number in range(10)])
    s3.put(tmp_path / "set", "set")
    net = write_net(tmp_path / "net.py", COUNTING.strip())
    (tmp_path / "stop_at").write_text("5")
    died = process(
        ["evaluate", s3.url("set/manifest.parquet"), "--model", net, "--batch-size", "3", "-o", "audit_clips=0",
         "-o", s3.url("run"), "--device", "cpu"]
    )  # fmt: skip
    _, said = died.communicate(timeout=60)
    assert died.returncode == -signal.SIGKILL, said.decode()
    (tmp_path / "stop_at").unlink()
    assert re.fullmatch(r"\.ferbench-evaluate\.jsonl.*", s3.keys("run")[0])
    other_machine("the second")
    options = {"batch_size": 3, "audit_clips": 0}
    predictions = predictions_of(
        remote.path_of(s3.url("set/manifest.parquet")), net, remote.path_of(s3.url("run")), **options
    )
    # Blocks of 3 clips, 6 pictures, are 2 passes. It died in the third block; the first two were not done again.
    assert len((tmp_path / "passes.txt").read_text().split()) == 5 + 3
    assert s3.keys("run") == ["predictions.parquet"]
    whole = predictions_of(tmp_path / "set" / "manifest.parquet", net, tmp_path / "local", **options)
    assert predictions.logits.tobytes() == whole.logits.tobytes()
    assert predictions.sample_ids == whole.sample_ids
    # The manifest is found from the predictions, wherever they are read.
    assert read_predictions(remote.path_of(s3.url("run/predictions.parquet"))).provenance["manifest_path"] == (
        "../set/manifest.parquet"
    )


def test_predictions_here_of_a_manifest_in_a_store_record_its_url(s3, tmp_path):
    clips_manifest(tmp_path / "set", {"a": [10, 10], "b": [200, 200]})
    s3.put(tmp_path / "set", "set")
    place = remote.path_of(s3.url("set/manifest.parquet"))
    predictions = predictions_of(place, write_net(tmp_path / "net.py"), tmp_path / "run", audit_clips=0)
    assert predictions.provenance["manifest_path"] == s3.url("set/manifest.parquet")


# --- what fails --------------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_one_line_and_exit_code_1(s3, ferbench, clips):
    for arguments in (["s3://no-such-bucket/clips", "-o", s3.url("faces")], [clips, "-o", "s3://no-such-bucket/faces"]):
        ran = ferbench("align", *arguments, *FAST)
        assert (ran.code, ran.out, ran.err) == (1, "", "error: s3://no-such-bucket: no such bucket\n")


def test_a_place_that_is_not_there_is_one_line_and_exit_code_2(s3, ferbench):
    ran = ferbench("align", s3.url("nothing"), "-o", s3.url("faces"), *FAST)
    assert (ran.code, ran.err) == (2, f"error: {s3.url('nothing')}: no such file or folder\n")
    ran = ferbench("align", "ftp://somewhere/clips", "-o", s3.url("faces"), *FAST)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "known: s3://, gs://, hf://, file://" in ran.err


def test_a_denied_bucket_is_one_line_without_the_credentials(s3, ferbench, clips):
    s3.deny(True)
    forget()
    for arguments in ([s3.url("clips"), "-o", s3.url("faces")], [clips, "-o", s3.url("faces")]):
        ran = ferbench("align", *arguments, *FAST)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1), ran.err
        assert "access denied" in ran.err
        assert ACCESS_KEY not in ran.err
        assert SECRET_KEY not in ran.err


def test_a_store_that_cannot_be_reached_is_one_line(s3, ferbench, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    remote.stores._opened.cache_clear()
    type(s3.store()).clear_instance_cache()
    try:
        ran = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *FAST)
        assert (ran.code, ran.err) == (1, f"error: {s3.url('clips')}: the store cannot be reached\n")
    finally:
        remote.stores._opened.cache_clear()
        type(s3.store()).clear_instance_cache()


def test_a_folder_that_holds_something_else_is_left_alone(s3, ferbench):
    s3.store().pipe_file(f"{s3.bucket}/faces/still 0.jpg", b"somebody's own")
    ran = ferbench("align", s3.url("clips"), "-o", s3.url("faces"), *FAST)
    assert ran.code == 2
    assert f"{s3.url('faces/still 0.jpg')} is there, and align did not write it" in ran.err
    assert s3.keys("faces") == ["still 0.jpg"]


def test_overwrite_starts_anew_and_leaves_what_is_not_its_own(s3, whole, ferbench, other_machine):
    first = ["align", s3.url("clips"), "-o", s3.url("faces"), "--max-failures", "9", *FAST]
    assert ferbench(*first, "--size", "96").code == 0
    s3.store().pipe_file(f"{s3.bucket}/faces/notes.txt", b"somebody's own")
    other_machine("the second")
    refused = ferbench(*first)
    assert refused.code == 2
    assert "holds faces of recipe" in refused.err
    assert ferbench(*first, "--overwrite").code == 0
    theirs = s3.hashes("faces")
    theirs.pop("notes.txt")
    assert theirs == tree_hash(whole)


def test_the_cache_is_where_the_environment_says(s3, ferbench, tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "elsewhere"))
    forget()
    assert ferbench("align", s3.url("clips"), "-o", tmp_path / "faces", "--limit", "2", *ALIGN).code == 0
    mirror = tmp_path / "elsewhere" / ".ferbench-mirror" / "s3" / s3.bucket / "clips"
    assert sorted(Path(path).name for path in mirror.rglob("*")) == [
        "00001.jpg",
        "00002.jpg",
        "00003.jpg",
        "broken.jpg",
        "frames",
    ]
