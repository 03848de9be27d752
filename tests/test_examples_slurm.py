"""examples/slurm: the batch scripts as Slurm starts them, element by element, at the same time, and one of them killed."""

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
from conftest import DEMO_MEDIA, FACES, REPOSITORY
from evaluate_fixtures import clips_manifest, predictions_of, write_net
from test_align import tree_hash

from ferbench.jobs.align import AlignOptions, RunOptions, align
from ferbench.predictions import read_predictions
from ferbench.sources import open_source

SCRIPTS = sorted((REPOSITORY / "examples/slurm").glob("*.sbatch"))


@pytest.fixture
def start(tmp_path):
    """Start an element of an array job as sbatch does: in the folder where it was submitted, with Slurm's variables."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ferbench").write_text(f'#!/bin/bash\nexec "{sys.executable}" -m ferbench "$@"\n')
    (tools / "ferbench").chmod(0o755)

    def call(script, *arguments, element=1, of=2):
        slurm = {
            "SLURM_ARRAY_TASK_ID": element, "SLURM_ARRAY_TASK_MIN": 1, "SLURM_ARRAY_TASK_MAX": of,
            "SLURM_ARRAY_TASK_COUNT": of, "SLURM_ARRAY_TASK_STEP": 1, "SLURM_CPUS_PER_TASK": 1, "SLURM_NTASKS": 1,
            "SLURM_PROCID": 0,
        }  # fmt: skip
        environment = {
            **os.environ, **{name: str(value) for name, value in slurm.items()}, "PYTHONPATH": str(REPOSITORY),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", str(REPOSITORY / "examples/slurm" / script), *map(str, arguments)], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return call


def finish(process) -> int:
    """The exit code; what was printed where it is not 0."""
    said, _ = process.communicate(timeout=120)
    if process.returncode:
        print(said)
    return process.returncode


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_bash_with_options_that_slurm_reads(script):
    text = script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.M))
    assert re.fullmatch(r"1-\d+", options["array"])
    assert {"job-name", "cpus-per-task", "mem", "time", "requeue", "open-mode", "output"} <= set(options)
    first_command = next(number for number, line in enumerate(text.split("\n")) if line and not line.startswith("#"))
    assert not [line for line in text.split("\n")[first_command:] if line.startswith("#SBATCH")]  # Slurm stops there
    ran = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.startswith("usage: sbatch ")) == (2, True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_elements_that_align_at_the_same_time_and_one_that_is_killed(start, tmp_path, ferbench):
    clips = tmp_path / "clips"
    clips.mkdir()
    picture = cv2.imread(str(FACES / "pyfeat__single_face.jpg"))
    for number, name in enumerate("abcdefgh"):
        cv2.imwrite(str(clips / f"{name}.png"), np.roll(picture, number, axis=1))
    shutil.copy(DEMO_MEDIA / "pyfeat__single_face.mp4", clips / "clip.mp4")
    align(open_source(str(clips)), tmp_path / "whole", AlignOptions(clip_len=2), RunOptions(workers=1, device="cpu"))
    arguments = ["align.sbatch", "clips", "faces", "-o", "clip_len=2", "--device", "cpu"]
    killed, other = (start(*arguments, element=element) for element in (2, 1))
    journal = tmp_path / "faces/.ferbench/journal-2-of-2.jsonl"
    waited = time.monotonic() + 60
    while time.monotonic() < waited and not (journal.exists() and journal.read_bytes().count(b"\n") > 1):
        time.sleep(0.002)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert finish(other) == 0
    incomplete = ferbench("merge", tmp_path / "faces")
    if incomplete.code:  # it may have been done before the signal came
        assert "shard 2/2: " in " ".join(incomplete.err.split())
        assert finish(start(*arguments, element=2)) == 0
        assert ferbench("merge", tmp_path / "faces").code == 0
    assert tree_hash(tmp_path / "faces") == tree_hash(tmp_path / "whole")


def test_elements_that_evaluate_at_the_same_time(start, tmp_path, ferbench):
    rng = np.random.default_rng(0)
    clips = {f"s{number}": rng.integers(0, 256, (2, 8, 8, 3)) for number in range(11)}
    clips_manifest(tmp_path / "set", clips, label=[number % 3 for number in range(11)])
    net = write_net(tmp_path / "net.py", "return (inputs - inputs.mean(dim=0)).mean(dim=(2, 3))")
    arguments = [
        "evaluate.sbatch", "set/manifest.parquet", "net.py", Path("run"), "--device", "cpu", "--batch-size", "2",
        "-o", "audit_clips=0",
    ]  # fmt: skip
    elements = [start(*arguments, element=element) for element in (1, 2)]
    assert [finish(element) for element in elements] == [0, 0]
    assert ferbench("merge", tmp_path / "run").code == 0
    whole = predictions_of(tmp_path / "set/manifest.parquet", net, tmp_path / "whole", batch_size=2, audit_clips=0)
    merged = read_predictions(tmp_path / "run/predictions.parquet")
    assert merged.sample_ids == whole.sample_ids
    assert merged.logits.tobytes() == whole.logits.tobytes()
