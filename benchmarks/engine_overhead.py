"""What does the Ray engine cost beside the local one, on the same cores? And Ray Data beside it?

Aligns so many clips (the demo's, over and over) with each engine, every run in a fresh process with the same number of
workers, round by round so that what else the machine does falls on all. Printed, and written to
results/DATE-engine-overhead.txt: seconds of the run from plan to tables, without imports and, for Ray, without starting
the cluster, which is up before as on a real one; the ratio to the first engine; the most memory the driver had; the most
bytes that were in Ray's object store, looked at four times a second. The files of all runs are compared.

    python benchmarks/engine_overhead.py --clips 500 --workers 2 --repeat 3
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
MEDIA = REPOSITORY / "manifests/demo/media"
ENGINES = ("local", "ray", "data")
OBJECT_STORE_BYTES = 200 << 20
HEADER = f"{'engine':8} {'seconds':>8} {'all runs':>24} {'ratio':>6} {'driver MB':>10} {'object store bytes, most':>25}"


def make_clips(folder: Path, count: int) -> None:
    """The demo's clips, each as often as it takes."""
    paths = sorted(MEDIA.glob("*.mp4"))
    folder.mkdir()
    for number in range(count):
        path = paths[number % len(paths)]
        os.link(path, folder / f"{number:05d}.mp4") if _same_disk(path, folder) else shutil.copy(
            path, folder / f"{number:05d}.mp4"
        )


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def run_once(engine: str, clips: Path, out: Path, workers: int, address: str) -> None:
    """In the child: align, and print what it took."""
    sys.path.insert(0, str(Path(__file__).parent))
    from ferbench import engines
    from ferbench.engines.cluster import connect
    from ferbench.jobs.align import AlignOptions, RunOptions, align
    from ferbench.sources import open_source

    engines.ENGINES["data"] = "ray_data_engine"
    most = [0]
    stop = threading.Event()
    if engine != "local":
        ray = connect(engines.EngineOptions(address=address))
        threading.Thread(target=_watch_store, args=(ray, most, stop), daemon=True).start()
    if engine == "data":  # RunOptions knows --address with ray only
        os.environ["RAY_ADDRESS"] = address
    source = open_source(str(clips))
    options = RunOptions(
        device="cpu", workers=workers, engine=engine, address=address if engine == "ray" else "", max_failures=10**9
    )
    started = time.monotonic()
    align(source, out, AlignOptions(), options)
    seconds = time.monotonic() - started
    stop.set()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "driver_mb": peak, "store_bytes": most[0]}))


def _watch_store(ray: Any, most: list[int], stop: threading.Event) -> None:
    name = "object_store_memory"
    while not stop.wait(0.25):
        most[0] = max(most[0], int(ray.cluster_resources()[name] - ray.available_resources().get(name, 0)))


@contextmanager
def ray_cluster(workers: int) -> Iterator[str]:
    """A cluster of this machine that is up before anything is measured; its address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on the loopback interface
    os.environ["RAY_AUTH_MODE"] = "disabled"
    code = (
        "import ray, sys\n"
        f"ray.init(address='local', num_cpus={workers}, object_store_memory={OBJECT_STORE_BYTES}, include_dashboard=False,"
        "log_to_driver=False)\n"
        "print(ray.get_runtime_context().gcs_address, flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=60)


def digest(out: Path) -> str:
    """Of every crop and table of a run; the manifest's own place in it is left out."""
    found = hashlib.sha256()
    for path in sorted(out.rglob("*")):
        if path.is_file():
            found.update(path.relative_to(out).as_posix().encode())
            found.update(path.read_bytes().replace(str(out).encode(), b""))
    return found.hexdigest()


def measure(args: argparse.Namespace) -> list[str]:
    """The table's lines."""
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in args.engines}
    digests = set()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, ray_cluster(args.workers) as address:
        clips = Path(folder) / "clips"
        make_clips(clips, args.clips)
        for number in range(args.repeat):
            for engine in args.engines:
                out = Path(folder) / f"run{len(runs[engine])}"  # of one length for all, which is in the tables
                command = [
                    sys.executable,
                    __file__,
                    "--child",
                    engine,
                    str(clips),
                    str(out),
                    str(args.workers),
                    address,
                ]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                found = json.loads(done.stdout.splitlines()[-1])
                runs[engine].append(found)
                digests.add(digest(out))
                shutil.rmtree(out)
                print(f"round {number + 1} {engine}: {found}", file=sys.stderr, flush=True)
    first = statistics.median(run["seconds"] for run in runs[args.engines[0]])
    lines = [HEADER]
    for engine, found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        each = " ".join(f"{run['seconds']:.1f}" for run in found)
        store = max(run["store_bytes"] for run in found)
        lines.append(
            f"{engine:8} {seconds:8.1f} {each:>24} {seconds / first:6.2f} {max(r['driver_mb'] for r in found):10.0f} "
            f"{store if engine != 'local' else '-':>25}"
        )
    lines.append(f"\nThe files of all runs are {'the same' if len(digests) == 1 else 'NOT the same'}.")
    return lines


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--engines", nargs="+", default=list(ENGINES), choices=ENGINES, help="the first one is the measure"
    )
    parser.add_argument("--folder", help="where clips and crops go for the time being")
    parser.add_argument("--note", default="", help="a line about the machine")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        engine, clips, out, workers, address = args.child
        run_once(engine, Path(clips), Path(out), int(workers), address)
        return
    load = os.getloadavg()[0]
    lines = [
        f"benchmarks/engine_overhead.py --clips {args.clips} --workers {args.workers} --repeat {args.repeat}, "
        f"{date.today()}",
        f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} before. {args.note}".rstrip(),
        "",
        *measure(args),
    ]
    print("\n".join(lines))
    target = Path(__file__).parent / "results" / f"{date.today()}-engine-overhead.txt"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
