"""The Ray engine on a real cluster of several nodes: the bytes of one machine, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import REPOSITORY
from engine_jobs import DeadOnArrivalJob, DeedsJob, HomelessJob
from evaluate_fixtures import clips_manifest, predictions_of, write_net

from ferbench.engines import EngineOptions, WorkerStartError, device_of, engine_of
from ferbench.engines.cluster import Node, places_of
from ferbench.engines.cluster import device_of as device_of_nodes
from ferbench.engines.remote import pack, unpack
from ferbench.engines.scheduling import Rules
from ferbench.errors import FerbenchError, MissingExtraError, UsageError
from ferbench.jobs.align import AlignOptions, RunOptions, align
from ferbench.sources import open_source

ray = pytest.importorskip("ray")
MEDIA = REPOSITORY / "manifests/demo/media"
STORE = 80 << 20
"""Bytes of a node's object store: the least that Ray takes."""
HEALTH = {"health_check_period_ms": 300, "health_check_timeout_ms": 500, "health_check_failure_threshold": 2}
"""A dead node is noticed within a second or two instead of twelve."""


@pytest.fixture(scope="module")
def started():
    """A head without CPUs, as a process of this machine."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster()
    made.add_node(num_cpus=0, object_store_memory=STORE, include_dashboard=False, _system_config=HEALTH)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def cluster(started):
    """The same with two nodes of two CPUs each."""
    while len(started.worker_nodes) < 2:
        started.add_node(num_cpus=2, object_store_memory=STORE)
    return started


def results(cluster, job, tasks, **options):
    found = engine_of("ray")(job, tasks, EngineOptions(address=cluster.address, num_tasks=len(tasks), **options))
    return {
        task: (result.reason, result.message) if isinstance(result, FerbenchError) else result for task, result in found
    }


def kill_a_node(cluster) -> None:
    """As when its plug is pulled."""
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)


@contextmanager
def meanwhile(when, what):
    """Do `what` in a thread as soon as `when` is true; fails when that never was."""
    done = threading.Event()

    def watch():
        while not when():
            time.sleep(0.02)
        what()
        done.set()

    threading.Thread(target=watch, daemon=True).start()
    yield
    assert done.wait(10)


# --- without a cluster ------------------------------------------------------------------------------------------------


def nodes(*sizes):
    return [Node(str(number), f"10.0.0.{number}", cpus, gpus) for number, (cpus, gpus) in enumerate(sizes)]


def counts(places):
    return {p.node.id: (p.count, p.cpus, p.gpus) for p in places}


def test_there_is_a_worker_per_cpu_or_per_gpu_with_its_share_of_the_cpus():
    machines = nodes((0, 0), (4, 0), (2, 0), (17, 2))
    assert counts(places_of(machines, EngineOptions())) == {"1": (4, 1, 0), "2": (2, 1, 0), "3": (17, 1, 0)}
    assert counts(places_of(machines, EngineOptions(cpus=4))) == {"1": (1, 4, 0), "2": (1, 2, 0), "3": (4, 4, 0)}
    assert counts(places_of(machines, EngineOptions(device="cuda"))) == {"3": (2, 8, 1)}


def test_fewer_workers_are_dealt_out_over_the_nodes():
    machines = nodes((4, 0), (2, 0))
    assert counts(places_of(machines, EngineOptions(workers=3))) == {"0": (2, 1, 0), "1": (1, 1, 0)}
    assert counts(places_of(machines, EngineOptions(workers=9, num_tasks=1))) == {"0": (1, 1, 0)}
    assert places_of([], EngineOptions()) == []


def test_auto_is_a_gpu_where_the_cluster_has_any():
    assert device_of_nodes(nodes((4, 0), (4, 1)), "auto") == "cuda"
    assert device_of_nodes(nodes((4, 0)), "auto") == "cpu"
    with pytest.raises(UsageError, match="no node of the cluster has a GPU"):
        device_of_nodes(nodes((4, 0)), "cuda")
    with pytest.raises(UsageError, match="Ray gives every worker a GPU of its own; say cuda, cpu or auto"):
        device_of_nodes(nodes((4, 1)), "cuda:1")


def test_what_travels_is_small():
    assert unpack(pack({"a": [1, 2]})) == {"a": [1, 2]}
    names = [f"train/clip_{number:05d}/frames" for number in range(5000)]
    assert unpack(pack(names)) == names
    assert len(pack(names)) < 40_000


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("somewhere", "--address 'somewhere' is not HOST:PORT"),
        ("ray://127.0.0.1:10001", "a `ray://` client is none"),
    ],
)
def test_an_address_that_is_none_is_refused(address, message, ferbench, tmp_path):
    ran = ferbench("align", MEDIA, "-o", tmp_path / "faces", "--engine", "ray", "--address", address)
    assert ran.code == 2
    assert message in ran.err


def test_where_nobody_answers_there_is_one_line(ferbench, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ran = ferbench("align", MEDIA, "-o", tmp_path / "faces", "--engine", "ray", "--address", address)
    assert ran.code == 1
    assert f"error: no Ray cluster answers at {address} (Connection refused)" in ran.err
    assert "Traceback" not in ran.err


def test_an_address_needs_the_engine_it_is_of(ferbench, tmp_path):
    for command in (["align", MEDIA], ["evaluate", "x.parquet", "--model", "mini-xception"]):
        ran = ferbench(*command, "-o", tmp_path / "out", "--address", "10.0.0.1:6379")
        assert ran.code == 2
        assert "--address is that of a Ray cluster: say --engine ray" in ran.err


def test_without_ray_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ferbench\[ray\]'"):
        list(engine_of("ray")(DeedsJob("."), [("square", 1)], EngineOptions()))


def test_nothing_to_do_needs_no_cluster():
    assert list(engine_of("ray")(DeedsJob("."), [], EngineOptions(address="10.255.255.1:1"))) == []


# --- tasks on a cluster -----------------------------------------------------------------------------------------------


def test_every_task_comes_back_once_and_what_dies_or_hangs_is_tried_once_more(cluster, tmp_path):
    squares = [("square", number) for number in range(30)]
    tasks = [*squares[:15], ("fail", 1), ("die", 1), ("hang", 1), ("late", 3), *squares[15:]]
    found = results(cluster, DeedsJob(str(tmp_path)), tasks, task_deadline=1.5, device="auto")
    assert found.pop(("fail", 1)) == ("negative", "minus one")
    died = "the process working on it died, and so did the next one; a full memory is the usual reason"
    assert found.pop(("die", 1)) == ("worker-died", died)
    reason, message = found.pop(("hang", 1))
    assert reason == "task-hung"
    assert message.startswith("the worker was still at it after 1.5 seconds and was stopped, and so was the next one")
    assert found == {(kind, number): number * number for kind, number in (*squares, ("late", 3))}
    tries = {path.name: len(set(path.read_text().split())) for path in tmp_path.iterdir()}
    assert {name: count for name, count in tries.items() if count != 1} == {"die-1": 2, "hang-1": 2, "late-3": 2}


def test_tasks_of_a_node_that_dies_are_done_by_others_and_a_new_node_is_used(cluster, tmp_path, monkeypatch):
    # With one try, a task that was taken to be to blame would be given up.
    monkeypatch.setattr("ferbench.engines.ray.Rules", lambda task_deadline: Rules(task_deadline, tries=1))
    tasks = [("sleep", 0.05 + number / 1000) for number in range(120)]
    found, is_new = {}, False

    def processes():
        return {line for path in tmp_path.iterdir() for line in path.read_text().split()}

    options = EngineOptions(address=cluster.address, num_tasks=len(tasks))
    for task, result in engine_of("ray")(DeedsJob(str(tmp_path)), tasks, options):
        found[task] = result
        if not is_new and len(processes()) == 4:  # two on each of two nodes
            is_new = True
            kill_a_node(cluster)
            cluster.add_node(num_cpus=2, object_store_memory=STORE)
    assert found == {(kind, number): number * number for kind, number in tasks}
    assert len(processes()) == 6


def test_a_straggler_does_not_hold_the_end(cluster, tmp_path):
    tasks = [("late", 2), *(("square", number) for number in range(8))]  # a minute the first time, nothing the second
    started = time.monotonic()
    assert results(cluster, DeedsJob(str(tmp_path)), tasks) == {(kind, number): number**2 for kind, number in tasks}
    assert time.monotonic() - started < 40
    assert len((tmp_path / "late-2").read_text().split()) == 2


def test_a_worker_that_cannot_start_ends_the_job_with_the_nodes_name(cluster):
    with pytest.raises(WorkerStartError, match=r"node \d+\.\d+\.\d+\.\d+: pip install") as caught:
        results(cluster, HomelessJob(), [("square", 1)])
    assert caught.value.reason == "missing-extra"
    with pytest.raises(WorkerStartError, match="worker processes die, or do not get ready, while they start"):
        results(cluster, DeadOnArrivalJob(), [("square", 1)], workers=1)


def test_a_node_must_have_the_same_versions_and_the_same_folders(cluster, tmp_path, monkeypatch):
    wanted = EngineOptions(address=cluster.address, shared=(str(tmp_path),), num_tasks=1)
    monkeypatch.setattr("ferbench.engines.ray.versions", lambda: {"torch": "1.2"})
    with pytest.raises(
        WorkerStartError, match=r"node .*: it has torch .* where this machine has 1\.2; install the same"
    ):
        list(engine_of("ray")(DeedsJob("."), [("square", 1)], wanted))
    monkeypatch.undo()
    monkeypatch.setattr("ferbench.engines.remote.os.path.exists", lambda path: False)
    monkeypatch.setattr("ferbench.engines.ray.os.path.exists", lambda path: True)
    shared = EngineOptions(address=cluster.address, shared=(str(tmp_path / "not there"),), num_tasks=1)
    with pytest.raises(WorkerStartError, match=r"it has no .*not there; what a job reads and writes must be on a disk"):
        list(engine_of("ray")(DeedsJob("."), [("square", 1)], shared))


def test_the_device_is_the_clusters(cluster):
    assert device_of("ray", EngineOptions(address=cluster.address, device="auto")) == "cpu"


# --- align ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """The demo's clips, several times over, and one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    for copy in range(2):
        for path in sorted(MEDIA.glob("*.mp4")):
            shutil.copy(path, folder / f"{path.stem}_{copy}.mp4")
    (folder / "torn.mp4").write_bytes(sorted(MEDIA.glob("*.mp4"))[0].read_bytes()[:3000])
    return folder


OPTIONS = AlignOptions(clip_len=4)


@pytest.fixture(scope="module")
def aligned(clips, tmp_path_factory):
    """What one machine makes of them: path -> bytes."""
    out = tmp_path_factory.mktemp("local") / "faces"
    align(open_source(str(clips)), out, OPTIONS, RunOptions(device="cpu", workers=1))
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> bytes; a manifest without the place it is at."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(str(folder).encode(), b"")
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def align_on(cluster, clips, out, **more):
    run = RunOptions(device="cpu", engine="ray", address=cluster.address, **more)
    return align(open_source(str(clips)), out, OPTIONS, run)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_align_makes_the_bytes_of_one_machine(workers, cluster, clips, aligned, tmp_path):
    result = align_on(cluster, clips, tmp_path / "faces", workers=workers)
    assert result.done == 6
    assert contents(tmp_path / "faces") == aligned


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_align_makes_them_too_when_a_node_dies_in_the_middle(cluster, clips, aligned, tmp_path):
    journal = tmp_path / "faces/.ferbench/journal.jsonl"
    with meanwhile(lambda: lines_of(journal) > 3, lambda: kill_a_node(cluster)):
        align_on(cluster, clips, tmp_path / "faces")
    assert contents(tmp_path / "faces") == aligned


def test_packed_shards_are_those_of_one_machine(cluster, clips, tmp_path):
    packed = {"pack": "tar", "shard_size": 5}
    align(open_source(str(clips)), tmp_path / "local", OPTIONS, RunOptions(device="cpu", workers=1, **packed))
    align_on(cluster, clips, tmp_path / "ray", **packed)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_a_killed_driver_continues_with_nothing_done_twice(cluster, clips, aligned, tmp_path):
    command = [
        sys.executable, "-m", "ferbench", "align", clips, "-o", tmp_path / "faces", "-o", "clip_len=4", "--device", "cpu",
        "--engine", "ray", "--address", cluster.address,
    ]  # fmt: skip
    journal = tmp_path / "faces/.ferbench/journal.jsonl"
    process = subprocess.Popen(list(map(str, command)), cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    while lines_of(journal) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lines_of(journal) - 1
    done = subprocess.run([*map(str, command), "--json"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr  # some have no face
    said = json.loads(done.stdout)
    assert said["skipped"] >= before - 1  # all but failures that may be of the moment
    assert contents(tmp_path / "faces") == aligned


# --- evaluate ---------------------------------------------------------------------------------------------------------

MIXING = """
        import time
        from pathlib import Path
        with (Path(__file__).parent / "passes.txt").open("a") as file:
            file.write(f"{len(inputs)}\\n")
        time.sleep(0.05)
        # What else is in the batch shows in the last bits, and so does the number of threads.
        torch.manual_seed(0)
        mixed = inputs.mean(dim=(2, 3)) + 1e-7 * inputs.mean()
        return mixed @ torch.rand(3, 3) + 1e-7 * torch.get_num_threads()
"""


@pytest.fixture
def job(tmp_path):
    import numpy as np

    rng = np.random.default_rng(3)
    clips = {f"s{number:02d}": rng.integers(0, 256, (2, 8, 8, 3)) for number in range(40)}
    clips_manifest(tmp_path / "set", clips, label=[number % 3 for number in range(40)])
    (tmp_path / "set/s07/00001.png").write_bytes(b"no picture")
    write_net(tmp_path / "net.py", MIXING.strip().replace("{", "{{").replace("}", "}}"))
    return tmp_path


def evaluated(job, out, monkeypatch, **more) -> bytes:
    monkeypatch.chdir(job)
    monkeypatch.setattr(sys, "argv", ["ferbench", "evaluate"])
    predictions_of(Path("set/manifest.parquet"), "net.py", Path(out), batch_size=3, audit_clips=0, **more)
    return (job / out / "predictions.parquet").read_bytes()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_evaluate_makes_the_bytes_of_one_machine(workers, cluster, job, monkeypatch):
    here = evaluated(job, "local", monkeypatch, threads=2)
    there = evaluated(job, "ray", monkeypatch, threads=2, engine="ray", address=cluster.address, workers=workers)
    assert there == here


def test_evaluate_makes_them_too_when_a_node_dies_in_the_middle(cluster, job, monkeypatch):
    here = evaluated(job, "local", monkeypatch, threads=1)
    passes = job / "passes.txt"
    passes.unlink()
    with meanwhile(lambda: lines_of(passes) > 8, lambda: kill_a_node(cluster)):
        there = evaluated(job, "ray", monkeypatch, threads=1, engine="ray", address=cluster.address)
    assert there == here


# --- explain and index ------------------------------------------------------------------------------------------------


def test_features_are_those_of_one_machine(cluster, job, ferbench, monkeypatch):
    monkeypatch.chdir(job)
    write_net(
        job / "linear.py",
        "return self.head(inputs.mean(dim=(2, 3)))\n\n    def __init__(self):\n        super().__init__()\n"
        "        torch.manual_seed(0)\n        self.head = nn.Linear(3, 3)",
    )
    asked = ["explain", "set/manifest.parquet", "--model", "linear.py", "--only", "features,mistakes", "--batch-size", "3",
             "--embedding", "pca", "--device", "cpu", "--max-failures", "1", "--json"]  # fmt: skip
    here = ferbench(*asked, "-o", "local")
    there = ferbench(*asked, "-o", "ray", "--engine", "ray", "--address", cluster.address)
    assert (here.code, there.code) == (0, 0), there.err
    assert there.json == here.json
    files = [name for name in here.json["files"] if name.endswith((".png", ".parquet"))]
    assert "features.parquet" in files
    assert {name: (job / "ray" / name).read_bytes() for name in files} == {
        name: (job / "local" / name).read_bytes() for name in files
    }


def test_index_looks_for_the_same_files(cluster, ferbench, tmp_path):
    for name in ("happy", "sad", "fear"):
        for number in range(3):
            path = tmp_path / "set" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    rows = [f"{name}/{number}.jpg,{name}" for name in ("happy", "sad", "fear", "gone") for number in range(4)]
    (tmp_path / "set/list.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    here = ferbench("index", "csv", tmp_path / "set/list.csv", "-o", tmp_path / "here.parquet", "--json")
    there = ferbench("index", "csv", tmp_path / "set/list.csv", "-o", tmp_path / "there.parquet", "--json",
                     "--engine", "ray", "--address", cluster.address)  # fmt: skip
    assert (here.code, there.code) == (4, 4), there.err
    assert here.json["missing_files"] == 7
    assert {name for name in here.json if here.json[name] != there.json[name]} == {"manifest"}
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()
