"""`evaluate --shard i/n` and `merge FOLDER`: the rows of one run for any n, and nothing scored before all is there."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from evaluate_fixtures import clips_manifest, predictions_of, write_net, write_picture
from filelock import FileLock

from ferbench.jobs.evaluate import EvaluateOptions, ViewOptions, select_samples
from ferbench.jobs.evaluate.sharded import Media, digest_of, part_of, places_in, sum_of_digests
from ferbench.manifest import read_manifest
from ferbench.predictions import read_predictions, write_predictions
from ferbench.sharding import Share

COUNT = 17
MIXING = "return (inputs - inputs.mean(dim=0)).mean(dim=(2, 3)) + 1e-3 * inputs.sum(dim=(2, 3))"
"""Outputs that depend on what else is in the batch: other blocks would give other bits."""
COUNTING = (
    """
        import os
        from pathlib import Path
        with (Path(__file__).parent / "passes.txt").open("a") as file:
            file.write(f"{{len(inputs)}}\\n")
        """
    + MIXING
)


@pytest.fixture
def data(tmp_path):
    """Seventeen clips of three classes and two folds, one without a face, one without a label."""
    rng = np.random.default_rng(0)
    clips = {f"s{number:02d}": rng.integers(0, 256, (2, 8, 8, 3)) for number in range(COUNT)}
    clips_manifest(
        tmp_path / "set", clips, label=[None if number == 3 else number % 3 for number in range(COUNT)],
        fold=[1 + number % 2 for number in range(COUNT)], subject=[f"p{number % 5}" for number in range(COUNT)],
        status=["failed" if number == 6 else "ok" for number in range(COUNT)],
        error=["no-face: no face found" if number == 6 else None for number in range(COUNT)],
    )  # fmt: skip
    return tmp_path


def arguments(data, out, *more, model="net.py"):
    return [
        "evaluate", data / "set/manifest.parquet", "--model", data / model, "-o", out, "--batch-size", "3",
        "--device", "cpu", "--replicates", "20", "-o", "audit_clips=4", *more,
    ]  # fmt: skip


def whole_of(data, models="net.py", views=None, **options):
    """The predictions of a run without parts, and without a report, which takes the time."""
    models = [models] if isinstance(models, str) else models
    paths = [data / model for model in models]
    out = data / f"whole-{len(list(data.iterdir()))}"
    options = {"batch_size": 3, "audit_clips": 4, **options}
    return predictions_of(data / "set/manifest.parquet", paths, out, views=views, **options)


def rows_equal(one, other):
    return (
        one.sample_ids == other.sample_ids and one.targets.tolist() == other.targets.tolist()
        and one.logits.tobytes() == other.logits.tobytes() and (one.folds, one.errors) == (other.folds, other.errors)
        and one.labels == other.labels and list(one.attributes.items()) == list(other.attributes.items())
    )  # fmt: skip


def passes(data):
    path = data / "passes.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("of", [3, 20])
def test_merged_parts_are_the_run_without_parts(of, data, ferbench):
    write_net(data / "net.py", MIXING)
    whole = ferbench(*arguments(data, data / "whole", "--json", "--by", "subject"))
    assert whole.code == 0, whole.err
    for index in [*range(2, of + 1), 1]:  # twenty parts of six blocks: some are empty
        ran = ferbench(*arguments(data, data / "run", "--shard", f"{index}/{of}", "--json", "--by", "subject"))
        assert ran.code == 0, ran.err
        assert ran.json["shard"] == f"{index}/{of}"
    assert not (data / "run/predictions.parquet").exists()
    assert not (data / "run/report.json").exists()
    merged = ferbench("merge", data / "run", "--json")
    assert merged.code == 0, merged.err
    one, other = (read_predictions(data / name / "predictions.parquet") for name in ("whole", "run"))
    assert rows_equal(one, other)
    assert one.provenance["job"] == other.provenance["job"]
    assert one.provenance["unlabelled"] == other.provenance["unlabelled"] == 1
    about = ("provenance",)
    assert {k: v for k, v in whole.json.items() if k not in about} == {
        k: v for k, v in merged.json.items() if k not in about
    }
    assert sorted(path.name for path in (data / "run").iterdir()) == sorted(
        path.name for path in (data / "whole").iterdir()
    )
    # The folder is as one run leaves it.
    again = ferbench(*arguments(data, data / "run", "--json", "--by", "subject"))
    assert again.json == merged.json
    assert "nothing is left to merge" in " ".join(ferbench("merge", data / "run").err.split())


def test_a_model_per_fold_and_an_ensemble_are_merged_too(data, ferbench):
    for fold, scale in ((1, 1), (2, 3)):
        write_net(data / f"net_{fold}.py", MIXING + f" * {scale}")
    write_net(data / "other.py", MIXING)
    for name, models in [("folds", ()), ("both", ("--model", data / "other.py", "--average", "softmax"))]:
        more = [*models, "--json", "--flip", "--batch-size", "6"]  # three clips, twice each
        views = ViewOptions(flip=True, average="softmax" if models else "logits")
        one = whole_of(data, ["net_{fold}.py", *(["other.py"] if models else [])], views=views, batch_size=6)
        for index in (1, 2, 3):
            part = arguments(data, data / name / "run", *more, "--shard", f"{index}/3", model="net_{fold}.py")
            assert ferbench(*part).code == 0
        merged = ferbench("merge", data / name / "run")
        assert merged.code == 0, merged.err
        other = read_predictions(data / name / "run/predictions.parquet")
        assert rows_equal(one, other)
        for key in ("models", "model", "model_sha256", "ensemble", "notices", "audits", "asked", "job"):
            assert one.provenance[key] == other.provenance[key], key


def test_another_n_and_the_whole_take_up_finished_blocks(data, ferbench):
    write_net(data / "net.py", COUNTING)
    more = ("-o", "audit_clips=0")
    whole = whole_of(data, audit_clips=0)
    all_passes = passes(data)
    assert ferbench(*arguments(data, data / "run", "--shard", "1/4", *more)).code == 0
    first = passes(data) - all_passes
    assert 0 < first < all_passes
    for index in (1, 2, 3):
        assert ferbench(*arguments(data, data / "run", "--shard", f"{index}/3", *more)).code == 0
    assert passes(data) == 2 * all_passes
    assert ferbench(*arguments(data, data / "run", "--shard", "2/3", *more)).code == 0  # finished: read, not run
    assert passes(data) == 2 * all_passes
    shutil.copytree(data / "run", data / "copy")
    merged = ferbench("merge", data / "run")  # of 3 is complete, of 4 is not
    assert merged.code == 0, merged.err
    assert ferbench(*arguments(data, data / "copy", *more)).code == 0
    assert passes(data) == 2 * all_passes
    run, copy = (read_predictions(data / name / "predictions.parquet") for name in ("run", "copy"))
    assert rows_equal(whole, run)
    assert rows_equal(whole, copy)
    late = ferbench(*arguments(data, data / "run", "--shard", "2/4", *more))  # a job that was queued again too late
    assert late.code == 0
    assert passes(data) == 2 * all_passes
    assert not (data / "run/shards").exists()


def test_seven_parts_with_one_missing_one_doubled_and_one_cut_off_are_each_named(data, ferbench):
    write_net(data / "net.py", MIXING)
    for index in range(1, 8):
        predictions_of(data / "set/manifest.parquet", data / "net.py", data / "run", batch_size=1, shard=f"{index}/7")
    shards = data / "run/shards"
    (shards / "predictions-2-of-7.parquet").unlink()
    shutil.copy(shards / "predictions-4-of-7.parquet", shards / "predictions-4-of-7 (copy).parquet")
    cut = shards / "predictions-6-of-7.parquet"
    cut.write_bytes(cut.read_bytes()[:-100])
    before = sorted(path.name for path in (data / "run").rglob("*"))
    ran = ferbench("merge", data / "run")
    assert ran.code == 4
    text = " ".join(ran.err.split())
    for what in (
        "nothing is merged",
        f"{cut}: not a readable parquet file",
        "shard 4 of 7 is there 2 times",
        "shard 2 of 7 is missing",
        f"samples are both in {shards}/predictions-4-of-7 (copy).parquet and in {shards}/predictions-4-of-7.parquet",
    ):
        assert what in text
    assert sorted(path.name for path in (data / "run").rglob("*")) == before
    # The same by name, as files.
    files = ferbench("merge", *sorted(shards.glob("*.parquet")), "-o", data / "all.parquet")
    assert files.code == 4
    assert "shard 2 of 7 is missing" in " ".join(files.err.split())
    assert not (data / "all.parquet").exists()


def test_parts_that_do_not_belong_together_are_refused(data, ferbench):
    write_net(data / "net.py", MIXING)
    assert ferbench(*arguments(data, data / "run", "--shard", "1/2")).code == 0
    only = ferbench("merge", data / "run")
    assert (only.code, "shard 2 of 2 is missing" in " ".join(only.err.split())) == (4, True)
    assert ferbench(*arguments(data, data / "run", "--shard", "2/2", "--batch-size", "5")).code == 0
    other = ferbench("merge", data / "run")
    assert (other.code, "predictions-2-of-2.parquet is of another job" in " ".join(other.err.split())) == (4, True)
    asked = ferbench(*arguments(data, data / "run", "--shard", "1/2", "--fold", "1"))
    assert (asked.code, "holds predictions of another job" in " ".join(asked.err.split())) == (2, True)
    foreign = data / "run/shards/predictions-1-of-2.parquet"
    plain = read_predictions(foreign)
    write_predictions(dataclasses.replace(plain, provenance={}), foreign)
    (data / "run/shards/predictions-2-of-2.parquet").unlink()
    refused = ferbench("merge", data / "run")
    assert (refused.code, "was not written by `ferbench evaluate --shard`" in " ".join(refused.err.split())) == (
        4,
        True,
    )


def test_a_part_at_work_keeps_itself_and_the_merge_out(data, ferbench):
    write_net(data / "net.py", MIXING)
    assert ferbench(*arguments(data, data / "run", "--shard", "1/2")).code == 0
    with FileLock(places_in(data / "run", Share(2, 2)).lock):
        same = ferbench(*arguments(data, data / "run", "--shard", "2/2"))
        assert (same.code, "another evaluation is writing to shard 2/2" in " ".join(same.err.split())) == (2, True)


def test_a_failure_keeps_the_parts_until_it_is_tried_again(data, ferbench):
    write_net(data / "net.py", MIXING)
    broken = data / "set/s11/00001.png"
    picture = broken.read_bytes()
    broken.write_bytes(b"broken")
    codes = [ferbench(*arguments(data, data / "run", "--shard", f"{index}/2")).code for index in (1, 2)]
    assert codes == [0, 3]
    merged = ferbench("merge", data / "run")
    assert (merged.code, "1 of 16 samples failed" in merged.err) == (3, True)
    assert (data / "run/shards/predictions-2-of-2.parquet").exists()
    broken.write_bytes(picture)
    assert ferbench(*arguments(data, data / "run", "--shard", "2/2")).code == 0
    assert ferbench(*arguments(data, data / "run", "--shard", "1/2")).code == 0
    merged = ferbench("merge", data / "run")
    assert merged.code == 0, merged.err
    assert not (data / "run/shards").exists()
    assert rows_equal(read_predictions(data / "run/predictions.parquet"), whole_of(data))


def test_limit_and_fold_are_merged_in_the_manifests_order(data, ferbench):
    write_net(data / "net.py", MIXING)
    for number, more in enumerate([("--limit", "9"), ("--fold", "2")]):
        one = whole_of(data, **{more[0][2:]: int(more[1]) if number == 0 else more[1]})
        for index in (1, 2):
            assert ferbench(*arguments(data, data / f"run{number}", *more, "--shard", f"{index}/2")).code == 0
        merged = ferbench("merge", data / f"run{number}")
        assert merged.code == 0, merged.err
        assert rows_equal(one, read_predictions(data / f"run{number}/predictions.parquet"))


def test_slurm_and_torchrun_say_which_part(data, ferbench, monkeypatch):
    write_net(data / "net.py", MIXING)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "6")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    ran = ferbench(*arguments(data, data / "run", "--shard", "auto", "--json"))
    assert ran.json["shard"] == "2/3"
    assert (data / "run/shards/predictions-2-of-3.parquet").exists()
    bad = ferbench(*arguments(data, data / "run", "--shard", "4/3"))
    assert (bad.code, "there is no shard 4 of 3" in bad.err) == (2, True)


def test_what_cannot_be_merged_is_said(data, ferbench):
    (data / "empty").mkdir()
    assert ferbench("merge", data / "empty").code == 4
    assert ferbench("merge", data / "empty", data / "empty").code == 2
    assert ferbench("merge", data / "empty", "-o", data / "x.parquet").code == 2
    assert ferbench("merge", data / "empty", "--mixed").code == 2
    assert ferbench("merge", data / "set/manifest.parquet").code == 2


@pytest.mark.parametrize("model", ["net.py", "net_{fold}.py"])
@pytest.mark.parametrize("of", [1, 2, 5, 9])
def test_parts_are_whole_blocks_and_every_sample_is_in_one(model, of, data):
    options = EvaluateOptions(model=(str(data / model),), batch_size=3)
    selected = select_samples(read_manifest(data / "set/manifest.parquet"), options)
    parts = [part_of(selected, options, ViewOptions(), Share(index, of)) for index in range(1, of + 1)]
    names = [[sample.sample_id for sample in part.samples] for part in parts]
    assert sorted(name for own in names for name in own) == sorted(sample.sample_id for sample in selected.samples)
    assert sum(part.unlabelled for part in parts) == selected.unlabelled == 1
    # Sixteen samples: six blocks of three, the last one short; in two folds of nine and seven, two runs of three blocks.
    short = 16 % 3 if model == "net.py" else 7 % 3
    assert sorted(len(own) % 3 for own in names if len(own) % 3) == [short]


def test_the_digest_of_the_whole_follows_from_those_of_the_parts(data):
    options = EvaluateOptions(model=("net",), batch_size=2)
    manifest = read_manifest(data / "set/manifest.parquet")
    selected = select_samples(manifest, options)
    parts = [part_of(selected, options, ViewOptions(), Share(index, 4)) for index in range(1, 5)]
    media = Media(manifest, selected)
    whole = digest_of(media, selected)
    assert sum_of_digests([digest_of(media, part) for part in parts]) == whole
    write_picture(data / "set/s05/00002.png", np.zeros((9, 9, 3)))
    assert digest_of(Media(manifest, selected), selected) != whole
    assert json.loads(json.dumps(whole)) == whole
