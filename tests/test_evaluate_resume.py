"""A stopped evaluation continues and ends in the same bytes; and what predictions say of where they come from."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from evaluate_fixtures import clips_manifest, predictions_of, write_net, write_picture

from ferbench.errors import UsageError
from ferbench.jobs.evaluate.journal import NAME, BlockKey, Journal, Outputs, may_be_kept
from ferbench.predictions import read_predictions

COUNTING = """
        import os, signal
        from pathlib import Path
        log = Path(__file__).parent / "passes.txt"
        with log.open("a") as file:
            file.write(f"{{len(inputs)}}\\n")
        stop = Path(__file__).parent / "stop_at"
        if stop.exists() and len(log.read_text().splitlines()) == int(stop.read_text()):
            os.kill(os.getpid(), signal.SIGKILL)
        return inputs.mean(dim=(2, 3)) + 0 * {scale}
"""


@pytest.fixture
def job(tmp_path):
    """Ten clips of two frames, and a model that notes each pass and dies in the one that the file `stop_at` names."""
    rng = np.random.default_rng(3)
    clips = {f"s{number}": rng.integers(0, 256, (2, 8, 8, 3)) for number in range(10)}
    clips_manifest(tmp_path / "set", clips, label=[number % 3 for number in range(10)])
    write_net(tmp_path / "net.py", COUNTING.strip())
    for folder in ("stopped", "whole"):
        (tmp_path / folder).mkdir()
    return tmp_path


OPTIONS = {"batch_size": 3, "audit_clips": 0}


def passes(job) -> int:
    log = job / "passes.txt"
    return len(log.read_text().splitlines()) if log.exists() else 0


def run_here(monkeypatch, folder, **more):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["ferbench", "evaluate"])
    return predictions_of(Path("../set/manifest.parquet"), "../net.py", Path("run"), **OPTIONS, **more)


def run_and_die(job, folder, at: int) -> None:
    """In a process of its own, killed in its pass number `at`."""
    (job / "stop_at").write_text(str(at))
    code = (
        "import sys\nfrom pathlib import Path\nfrom evaluate_fixtures import predictions_of\n"
        "sys.argv = ['ferbench', 'evaluate']\n"
        f"predictions_of(Path('../set/manifest.parquet'), '../net.py', Path('run'), **{OPTIONS!r})"
    )
    paths = [str(REPOSITORY), str(REPOSITORY / "tests"), *sys.path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    (job / "stop_at").unlink()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_evaluation_continues_and_ends_in_the_same_bytes(job, monkeypatch):
    # Blocks of 3 clips, two frames each: 6 images, passes of 3. Blocks take 2 passes, the last one (1 clip) takes 1.
    run_and_die(job, job / "stopped", at=4)
    journal = job / "stopped/run" / NAME
    assert len(journal.read_text().splitlines()) == 2  # the job's name and one whole block
    assert not (job / "stopped/run/predictions.parquet").exists()
    with journal.open("ab") as file:
        file.write(b'{"key": [0, 1, "torn')
    before = passes(job)
    run_here(monkeypatch, job / "stopped")
    assert passes(job) - before == 5  # three blocks of four; the first is known
    assert not journal.exists()
    run_here(monkeypatch, job / "whole")
    assert passes(job) - before == 5 + 7
    name = "predictions.parquet"
    assert (job / "stopped/run" / name).read_bytes() == (job / "whole/run" / name).read_bytes()
    assert [path.name for path in (job / "stopped/run").iterdir()] == [name]


def test_only_blocks_with_failures_are_done_again(job, monkeypatch):
    broken = job / "set/s4/00001.png"
    picture = broken.read_bytes()
    broken.write_bytes(b"broken")
    assert run_here(monkeypatch, job / "whole").errors[4].startswith("not-an-image")
    first = passes(job)
    broken.write_bytes(picture)
    found = run_here(monkeypatch, job / "whole")
    assert set(found.errors) == {None}
    assert passes(job) - first == 2  # the block of s3, s4, s5
    assert not (job / "whole/run" / NAME).exists()


def test_a_changed_picture_a_changed_model_and_overwrite_take_nothing_from_the_journal(job, monkeypatch):
    (job / "set/s9/00001.png").write_bytes(b"broken")  # so that the journal stays
    assert run_here(monkeypatch, job / "whole").errors[9].startswith("not-an-image")
    write_picture(job / "set/s0/00001.png", (1, 2, 3))
    before = passes(job)
    run_here(monkeypatch, job / "whole")
    assert passes(job) - before == 2  # the block of s0; that of s9 has nothing to run
    before = passes(job)
    run_here(monkeypatch, job / "whole", overwrite=True)
    assert passes(job) - before == 6
    (job / "net.py").write_text((job / "net.py").read_text() + "# another\n")
    before = passes(job)
    run_here(monkeypatch, job / "whole")
    assert passes(job) - before == 6


def test_a_second_run_in_the_same_folder_is_refused(job, monkeypatch):
    from filelock import FileLock

    (job / "whole/run").mkdir()
    with (
        FileLock(job / "whole/run/.ferbench-evaluate.lock"),
        pytest.raises(UsageError, match="another evaluation is writing to run"),
    ):
        run_here(monkeypatch, job / "whole")


def test_a_journal_gives_back_the_bits_it_got_and_stops_at_damage(tmp_path):
    rows = {"s": np.array([0.1, -np.inf, 3e38], np.float32), "ü/1": np.array([1, 2, 3], np.float32)}
    keys = [BlockKey(0, number, "media") for number in range(3)]
    journal = Journal(tmp_path / "journal", "job")
    journal.open()
    assert not (tmp_path / "journal").exists()
    for key in keys:
        journal.record(key, Outputs(dict(rows), {"t": "no-face: none"}))
    journal.close(finished=False)
    again = Journal(tmp_path / "journal", "job")
    again.open()
    found = again.known(keys[1])
    assert {name: row.tobytes() for name, row in found.logits.items()} == {n: row.tobytes() for n, row in rows.items()}
    assert found.errors == {"t": "no-face: none"}
    assert again.known(BlockKey(0, 1, "other media")) is None
    assert again.known(BlockKey(1, 1, "media")) is None
    other = Journal(tmp_path / "journal", "another job")
    other.open()
    assert other.known(keys[0]) is None
    lines = (tmp_path / "journal").read_bytes().split(b"\n")
    lines[2] = b'{"key": 7}'
    (tmp_path / "journal").write_bytes(b"\n".join(lines))
    damaged = Journal(tmp_path / "journal", "job")
    damaged.open()
    assert [damaged.known(key) is not None for key in keys] == [True, False, False]
    damaged.record(keys[1], Outputs(dict(rows)))
    damaged.close(finished=True)
    assert not (tmp_path / "journal").exists()


def test_a_block_is_kept_when_nothing_failed_in_it_but_what_had_failed_before():
    assert may_be_kept(Outputs({}, {"gone": "no-face: none"}), {"gone"})
    assert not may_be_kept(Outputs({}, {"s": "not-an-image: broken"}), {"gone"})


# --- provenance -------------------------------------------------------------------------------------------------------


@pytest.fixture
def subjects(tmp_path):
    """Four clips with a subject, a scene and a number each, in a manifest with a column that is neither."""
    clips = {name: [(200, 0, 0), (100, 0, 0)] for name in "abcd"}
    clips_manifest(
        tmp_path / "set", clips, subject=["anna", "anna", None, "carl"], scene=["in", "out", "in", "in"],
        take=[1, 2, 3, None], age=[0.5] * 4, label=[0, 0, 0, None],
    )  # fmt: skip
    return tmp_path


def test_predictions_carry_what_the_manifest_knows_of_each_sample(subjects, ferbench):
    net = write_net(subjects / "net.py")
    ran = ferbench(
        "evaluate", subjects / "set/manifest.parquet", "--model", net, "-o", subjects / "run", "--json",
        "--replicates", "10", "--by", "scene",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = read_predictions(subjects / "run/predictions.parquet")
    assert found.attributes == {
        "subject": ("anna", "anna", None), "scene": ("in", "out", "in"), "take": ("1", "2", "3"),
    }  # fmt: skip
    assert [(group["attribute"], group["value"]) for group in ran.json["subgroups"]] == [
        ("scene", "in"),
        ("scene", "out"),
    ]
    again = ferbench(
        "evaluate", subjects / "set/manifest.parquet", "--model", net, "-o", subjects / "run", "--by", "mood"
    )
    assert (again.code, "mood" in again.err) == (2, True)


def test_the_provenance_names_seed_command_machine_and_model(subjects, ferbench, monkeypatch):
    net = write_net(subjects / "net.py")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/ferbench", "evaluate", "a b", "--seed", "7"])
    ran = ferbench(
        "evaluate", subjects / "set/manifest.parquet", "--model", net, "-o", subjects / "run", "--seed", "7", "--json",
        "--replicates", "10",
    )  # fmt: skip
    about = read_predictions(subjects / "run/predictions.parquet").provenance
    assert (about["seed"], about["command"]) == (7, "ferbench evaluate 'a b' --seed 7")
    assert {"device_name", "cpu", "cpu_count", "torch_threads", "system", "python", "cuda"} == set(about["host"])
    assert about["host"]["cpu_count"] == len(os.sched_getaffinity(0))
    assert (about["amp"], about["ensemble"], about["model"]) == ("off", None, "net.py")
    assert about["models"][0]["input_spec"] == about["input_spec"]
    assert about["model_sha256"] == about["models"][0]["sha256"]
    assert json.loads(json.dumps(about)) == about
    assert ran.json["provenance"] == about


def test_what_the_audits_find_is_stored_printed_and_with_strict_an_exit_code(tmp_path, ferbench):
    rng = np.random.default_rng(0)
    clips = {f"s{number}": rng.integers(0, 256, (2, 8, 8, 3)) for number in range(9)}
    clips_manifest(tmp_path / "set", clips, label=[number % 3 for number in range(9)])
    # The batch decides what is black: outputs depend on batch mates.
    mixing = write_net(tmp_path / "mixing.py", "return (inputs - inputs.mean(dim=0)).mean(dim=(2, 3))")
    arguments = [
        "evaluate",
        tmp_path / "set/manifest.parquet",
        "--model",
        mixing,
        "-o",
        tmp_path / "run",
        "--replicates",
        "0",
    ]
    ran = ferbench(*arguments)
    assert ran.code == 0, ran.err
    stored = read_predictions(tmp_path / "run/predictions.parquet").provenance["audits"]
    assert "error" in [finding["severity"] for finding in stored]
    rule = next(finding["rule"] for finding in stored if finding["severity"] == "error")
    assert rule in ran.err
    assert ran.err.index(rule) < ran.err.index("UAR")
    strict = ferbench(*arguments, "--strict")
    assert (strict.code, "--strict: " in strict.err) == (4, True)
    assert (tmp_path / "run/report.json").exists()


def test_the_clips_of_the_audits_are_of_every_class_and_the_same_for_a_seed():
    from ferbench.jobs.evaluate.probe import probe_tasks
    from ferbench.jobs.evaluate.tasks import Task
    from ferbench.manifest import Sample

    tasks = [Task((Sample(f"s{n}", f"s{n}", "frames", label=0 if n < 90 else 1 + n % 2),)) for n in range(100)]
    tasks[95] = Task((Sample("failed", "failed", "frames", label=2, status="failed"),))
    chosen = probe_tasks(tasks, count=12, seed=1)
    labels = [task.samples[0].label for task in chosen]
    assert labels == [0, 1, 2] * 4
    assert chosen == probe_tasks(tasks, count=12, seed=1) != probe_tasks(tasks, count=12, seed=2)
    assert "failed" not in {task.samples[0].sample_id for task in probe_tasks(tasks, count=100, seed=0)}
    assert len(probe_tasks(tasks, count=1000, seed=0)) == 99


def test_a_workspace_may_name_several_models_and_a_model_per_fold(tmp_path, ferbench, monkeypatch):
    clips_manifest(tmp_path / "splits", {"a": [(255, 0, 0)], "b": [(0, 255, 0)]}, label=[0, 1], fold=[1, 2])
    for name in ("models/one_1.py", "models/one_2.py", "two.py"):
        write_net(tmp_path / name)
    (tmp_path / "ferbench.toml").write_text(
        '[evaluate]\nmodel = ["models/one_{fold}.py", "two.py"]\nweights = [2, 1]\noutput = "results"\nreplicates = 0\n'
    )
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    ran = ferbench("evaluate")
    assert ran.code == 0, ran.err
    (found,) = Path(tmp_path / "results").glob("*/predictions.parquet")
    assert read_predictions(found).provenance["ensemble"]["weights"] == pytest.approx([2 / 3, 1 / 3])
