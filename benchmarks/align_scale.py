"""Do memory and cost per clip stay the same when a job grows?

One short video under N names (hard links) is aligned by `ferbench align` for N = 200 and 2,000, a few frames a clip so that
what grows with the job would show. Printed per N: seconds, milliseconds per clip beyond start-up, and the peak of resident
memory of the whole process tree, of the main process alone, and of the largest worker.

    python benchmarks/align_scale.py manifests/demo/media/pyfeat__single_face.mp4
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 2**20


def tree_of(pid: int) -> list[int]:
    """A process and its living descendants."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def resident(pid: int) -> int:
    """Bytes of memory that only this process has, its share of what several have included."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def watched(command: list[str]) -> tuple[float, dict[str, int]]:
    """Seconds, and peak bytes of the tree, of the main process and of the largest other."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    peak = {"tree": 0, "main": 0, "largest": 0}
    while process.poll() is None:
        sizes = {pid: resident(pid) for pid in tree_of(process.pid)}
        main = sizes.pop(process.pid, 0)
        for name, size in (
            ("tree", main + sum(sizes.values())),
            ("main", main),
            ("largest", max(sizes.values(), default=0)),
        ):
            peak[name] = max(peak[name], size)
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--clips", type=int, nargs="+", default=[2, 200, 2000])
    parser.add_argument("--clip-len", type=int, default=4)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    print(f"{'clips':>6} {'seconds':>8} {'ms/clip':>8} {'tree MiB':>9} {'main MiB':>9} {'largest MiB':>12}")
    start_up = 0.0
    for count in arguments.clips:
        with tempfile.TemporaryDirectory() as name:
            clips = Path(name) / "clips"
            clips.mkdir()
            first = clips / f"00000{arguments.video.suffix}"
            first.write_bytes(arguments.video.read_bytes())
            for number in range(1, count):
                os.link(first, clips / f"{number:05d}{arguments.video.suffix}")
            seconds, peak = watched(
                [
                    sys.executable, "-m", "ferbench", "align", str(clips), "-o", f"{name}/faces",
                    "-o", f"clip_len={arguments.clip_len}", "--workers", str(arguments.workers), "--device", "cpu",
                ]
            )  # fmt: skip
        start_up = start_up or seconds
        each = (seconds - start_up) / count * 1000
        sizes = " ".join(
            f"{peak[part] / MIB:{width}.0f}" for part, width in (("tree", 9), ("main", 9), ("largest", 12))
        )
        print(f"{count:6} {seconds:8.1f} {each:8.1f} {sizes}", flush=True)


if __name__ == "__main__":
    main()
