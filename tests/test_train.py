"""`ferbench train` as a user runs it: on fabricated pictures whose class is their colour."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open

from ferbench.errors import ProtocolError, UsageError
from ferbench.jobs.train.data import parts_of
from ferbench.manifest import read_manifest
from ferbench.training.recipe import recipe_of

CLASSES = ("happy", "neutral", "sad")
SMALL = ["--model", "mini-xception", "--device", "cpu", "-o", "batch-size=6", "-o", "augment=[]", "-o", "lr=0.01"]


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Three classes of grey level, twelve people, three folds."""
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    rows = ["path,label,subject"]
    for subject in range(12):
        for label, name in enumerate(CLASSES):
            picture = np.clip(60 + 70 * label + rng.normal(0, 12, (32, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{name}_{subject}.png"), picture)
            rows.append(f"{name}_{subject}.png,{name},person{subject}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    run(["index", "csv", str(folder / "list.csv"), "-o", str(folder / "m.parquet")], folder)
    run(["make-splits", "m.parquet", "--folds", "3", "--group", "subject", "-o", "splits"], folder)
    return folder / "splits/manifest.parquet"


def run(arguments, cwd, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "ferbench", *arguments], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


def weights(path):
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def about(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["ferbench"])


def same(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_trained_checkpoint_is_evaluated_without_another_flag(splits, tmp_path, ferbench):
    out = tmp_path / "fold-1"
    ran = ferbench("train", splits, *SMALL, "--fold", "1", "-o", "epochs=6", "-o", out, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["train_samples"] + ran.json["select_samples"] == 24
    assert ran.json["select_samples"] % 3 == 0  # whole people
    scored = ferbench(
        "evaluate", splits, "--model", out / "checkpoint.safetensors", "--fold", "1", "-o", tmp_path / "run", "--device",
        "cpu", "--json",
    )  # fmt: skip
    assert scored.code == 0, scored.err
    assert scored.json["pooled"]["detected"]["uar"] == 1.0
    assert scored.json["audits"] == []
    facts = about(out / "checkpoint.safetensors")
    assert facts["selection"] == "validation"
    assert facts["labels"] == list(CLASSES)
    assert facts["protocol"]["held_out"] == "1"
    assert facts["protocol"]["validation"]["by"] == "subject"
    assert facts["facts"]["train_recipe"]["optimizer"]["lr"] == 0.01
    log = (out / "log.csv").read_text().splitlines()
    assert len(log) == 7
    assert log[0].startswith("epoch,lr,train_loss,train_war,validation_war")
    assert cv2.imread(str(out / "curves.png")) is not None


def test_killed_it_ends_with_the_weights_of_a_run_that_was_not(splits, tmp_path, ferbench):
    arguments = ["train", str(splits), *SMALL, "--fold", "2", "-o", "epochs=5"]
    assert ferbench(*arguments, "-o", tmp_path / "whole").code == 0
    command = [sys.executable, "-m", "ferbench", *arguments, "-o", str(tmp_path / "killed")]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    log, deadline = tmp_path / "killed/log.csv", time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) > 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL
    assert ferbench(*arguments, "-o", tmp_path / "killed").code == 0
    for name in ("checkpoint.safetensors", "last.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_selection_on_test_is_stamped_and_found_by_the_audit(splits, tmp_path, ferbench):
    out = tmp_path / "peeked"
    ran = ferbench("train", splits, *SMALL, "--fold", "1", "--select-on", "test", "-o", "epochs=1", "-o", out)
    assert ran.code == 0, ran.err
    assert "the epoch was chosen on the test part" in ran.err
    assert about(out / "checkpoint.safetensors")["selection"] == "test"
    scored = ferbench("evaluate", splits, "--model", out / "checkpoint.safetensors", "--fold", "1", "-o", tmp_path / "run",
                      "--device", "cpu", "--json")  # fmt: skip
    assert "selected-on-test" in {finding["rule"] for finding in scored.json["audits"]}


def test_a_seed_decides_the_weights_and_another_seed_gives_others(splits, tmp_path, ferbench):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ran = ferbench("train", splits, *SMALL, "--fold", "1", "-o", "epochs=1", "--seed", seed, "-o", tmp_path / name)
        assert ran.code == 0, ran.err
    assert same(tmp_path / "a/last.safetensors", tmp_path / "b/last.safetensors")
    assert not same(tmp_path / "a/last.safetensors", tmp_path / "c/last.safetensors")


def test_a_warm_start_begins_from_the_checkpoint_and_says_what_began_anew(splits, tmp_path, ferbench):
    first = ferbench("train", splits, *SMALL, "--fold", "1", "-o", "epochs=1", "-o", tmp_path / "first")
    assert first.code == 0, first.err
    start = tmp_path / "first/last.safetensors"
    ran = ferbench("train", splits, *SMALL, "--fold", "1", "-o", "epochs=1", "-o", "lr=1e-12", "--warm-start", start,
                   "-o", tmp_path / "second")  # fmt: skip
    assert ran.code == 0, ran.err
    one, other = weights(start), weights(tmp_path / "second/last.safetensors")
    learnt = [key for key in one if key.endswith(("weight", "bias"))]
    for key in learnt:
        torch.testing.assert_close(one[key], other[key], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "mini-xception"], "say which fold is held out: --fold NAME; this manifest has 1, 2, 3"),
        (["--model", "mini-xception", "--fold", "9"], "no fold '9'; this manifest has 1, 2, 3"),
        (
            ["--model", "mini-xceptoin", "--fold", "1"],
            "no recipe for model 'mini-xceptoin'; did you mean 'mini-xception'",
        ),
        (
            ["--recipe", "mini-xceptoin", "--fold", "1"],
            "no training recipe 'mini-xceptoin'; did you mean 'mini-xception'",
        ),
        (["--fold", "1"], "say what to train: --model NAME, or --recipe NAME"),
        (["--model", "mini-xception", "--fold", "1", "-o", "lrate=1"], "-o lrate: no such key of a training recipe"),
        (
            ["--model", "mini-xception", "--fold", "1", "-o", "drop-last=true", "-o", "batch-size=64"],
            "samples do not fill a batch of 64, and the recipe drops what does not: -o batch-size=N or -o drop-last=false",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_with_the_next_step(arguments, message, splits, tmp_path, ferbench):
    ran = ferbench("train", splits, *arguments, "-o", tmp_path / "out")
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert "Traceback" not in ran.err


def test_another_recipe_does_not_continue_what_is_there(splits, tmp_path, ferbench):
    assert ferbench("train", splits, *SMALL, "--fold", "1", "-o", "epochs=1", "-o", tmp_path).code == 0
    ran = ferbench("train", splits, *SMALL, "--fold", "1", "-o", "epochs=1", "-o", "lr=0.5", "-o", tmp_path)
    assert ran.code == 2
    assert "belongs to a training with another recipe" in " ".join(ran.err.split())
    ran = ferbench(
        "train", splits, *SMALL, "--fold", "1", "-o", "epochs=1", "-o", "lr=0.5", "-o", tmp_path, "--overwrite"
    )
    assert ran.code == 0, ran.err


def recipe(**changes):
    return recipe_of({"model": "constant", **changes}, where="test")


def test_train_selection_and_test_share_nobody_and_test_is_left_alone(splits):
    manifest = read_manifest(splits)
    parts = parts_of(manifest, recipe(), fold="2", limit=None)
    held = {s.sample_id for s in manifest.samples() if s.fold == 2}
    people = [{s.subject for s in part.samples()} for part in (parts.train, parts.select)]
    assert not people[0] & people[1]
    for part in (parts.train, parts.select):
        assert not held & set(part.column("sample_id"))
    assert len(parts.train) + len(parts.select) + len(held) == len(manifest)


def test_selecting_on_the_last_epoch_holds_nothing_out(splits):
    parts = parts_of(read_manifest(splits), recipe(**{"select-on": "last"}), fold="2", limit=None)
    assert (len(parts.train), parts.select, parts.selection) == (24, None, "last")


def test_a_manifest_without_folds_is_refused_with_the_next_step(splits):
    manifest = read_manifest(splits)
    bare = manifest.with_columns(fold=[None] * len(manifest))
    with pytest.raises(ProtocolError, match="run make-splits on it"):
        parts_of(bare, recipe(), fold="", limit=None)
    with pytest.raises(UsageError, match="no fold 'x'"):
        parts_of(manifest, recipe(), fold="x", limit=None)


def test_two_processes_train_one_network(splits, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ferbench",
               "train", str(splits), *SMALL, "--fold", "1", "-o", "epochs=2", "-o", str(tmp_path / "two")]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert len((tmp_path / "two/log.csv").read_text().splitlines()) == 3
    assert (tmp_path / "two/checkpoint.safetensors").exists()
    assert pq.read_table(splits).num_rows == 36
