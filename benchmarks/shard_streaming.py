"""What does it cost to read an epoch of packed clips in order, shuffled by shard, and shuffled by sample?

The clips are cut from the videos that are named: 16 frames, the largest middle square at 112 x 112, JPEG of quality 95, as
`ferbench align` writes them; written again and again under other names until there are as many as asked for, in tars and in
parquet files by ferbench's own packer. Each row is a process of its own that reads one epoch in batches of float32 clips,
without augmentation, the operating system's cache of the shards emptied before:

    ferbench     feed(): in order; shuffled by shard, those of 4 mixed; shuffled by sample
    webdataset   WebDataset(tars), pictures decoded as ours are; in order; shards by lot and a buffer of samples
    datasets     load_dataset("parquet", streaming=True), the same pictures; in order; shuffle() with a buffer of samples

    python benchmarks/shard_streaming.py VIDEO... --clips 4000 --shard-size 200 --repeats 3

`cpu ms` is processor time per clip, of all its processes and threads, which other work on the machine troubles less.
`read` is what the process asked the operating system for, in multiples of the shards' bytes; `disk` what came from the disk
itself (nothing where the file system does not say). `memory` is the most that the process grew by during the epoch, over
what its libraries take. The buffers of the peers hold as many samples as the shards that ours mixes. One torch thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ferbench.feeding import FeedOptions, feed
from ferbench.inputspec import InputSpec
from ferbench.jobs.align.packing import Packer, index_shards, packed_path
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample, manifest_of, read_manifest, write_manifest
from ferbench.media import ReadRequest, read_frames
from ferbench.sampling import Sampler

CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
FRAMES, SIDE, WINDOW, BATCH = 16, 112, 4, 32
BASE_CLIPS = 64
SPEC = InputSpec(clip_len=FRAMES, height=SIDE, width=SIDE, sampler="uniform")


# --- what is read -----------------------------------------------------------------------------------------------------


class FromMemory(Packer):
    """Packs the same clips again and again."""

    clips: list[list[tuple[str, bytes]]]

    def _pictures(self, sample: Sample) -> list[tuple[str, bytes]]:
        return self.clips[int(sample.sample_id[5:]) % len(self.clips)]


def cut(videos: list[Path], count: int) -> list[list[tuple[str, bytes]]]:
    """At most `count` clips of FRAMES encoded pictures."""
    clips: list[list[tuple[str, bytes]]] = []
    for video in videos:
        frames = read_frames(ReadRequest(str(video), "video", Sampler("all"))).frames
        for begin in range(0, len(frames) - FRAMES + 1, FRAMES):
            if len(clips) == count:
                return clips
            clips.append([(f"{step + 1:05d}.jpg", encoded(frames[begin + step])) for step in range(FRAMES)])
    return clips


def encoded(frame: np.ndarray) -> bytes:
    """The largest middle square as JPEG."""
    height, width = frame.shape[:2]
    whole = min(height, width)
    top, left = (height - whole) // 2, (width - whole) // 2
    square = cv2.resize(frame[top : top + whole, left : left + whole], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", square[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def store(videos: list[Path], count: int, root: Path, *, shard_size: int) -> None:
    """`count` clips in tars and in parquet files below `root`."""
    clips = cut(videos, BASE_CLIPS)
    names = [f"clip_{number:06d}" for number in range(count)]
    for kind in ("tar", "parquet"):
        out = root / kind
        packed = {
            name: packed_path(name, "frames", place, suffix=f".{kind}", shard_size=shard_size)
            for place, name in enumerate(names)
        }
        columns = {
            "sample_id": names, "path": list(packed.values()), "media": ["frames"] * count,
            "num_frames": [FRAMES] * count, "label": [number % len(CLASSES) for number in range(count)],
            "status": ["ok"] * count,
        }  # fmt: skip
        manifest = manifest_of(columns, labels=LabelSet.of(CLASSES), name="clips", root=out)
        packer = FromMemory(out, manifest, packed, names)
        packer.clips = clips
        for name in names:
            packer.done(name)
        index_shards(out, manifest)
        write_manifest(manifest, out / "manifest.parquet")


# --- the readers ------------------------------------------------------------------------------------------------------

Epoch = Callable[[int], Iterator[int]]
"""Number of workers -> the sizes of its batches."""


def ours(root: Path, kind: str, **how: Any) -> Epoch:
    """feed()."""
    manifest: Manifest = read_manifest(root / kind / "manifest.parquet")
    samples = list(manifest.samples())

    def epoch(workers: int) -> Iterator[int]:
        options = FeedOptions(BATCH, workers, window=WINDOW, **how)
        for batch in feed(manifest, samples, SPEC, options, epoch=0, train=True):
            assert not batch.failed
            yield len(batch.clips)

    return epoch


def as_clip(pictures: list[bytes]) -> torch.Tensor:
    """What ours are: RGB, 0 to 1, normalised."""
    frames = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) for data in pictures]
    mean, std = np.array(SPEC.mean, np.float32), np.array(SPEC.std, np.float32)
    return torch.from_numpy(
        np.ascontiguousarray(((np.stack(frames) / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))
    )


def batches_of(dataset: Any, workers: int) -> Iterator[int]:
    """Through torch's DataLoader."""
    from torch.utils.data import DataLoader

    for clips in DataLoader(dataset, batch_size=BATCH, num_workers=workers):
        yield len(clips)


def of_webdataset(root: Path, *, buffer: int) -> Epoch:
    """Its pipeline of tars."""
    import webdataset

    tars = [str(path) for path in sorted((root / "tar/shards").glob("*.tar"))]

    def epoch(workers: int) -> Iterator[int]:
        dataset = webdataset.WebDataset(tars, shardshuffle=len(tars) if buffer else False, seed=0, empty_check=False)
        dataset = dataset.shuffle(buffer) if buffer else dataset
        return batches_of(dataset.map(wds_clip), workers)

    return epoch


def wds_clip(sample: dict[str, Any]) -> torch.Tensor:
    """The pictures of a WebDataset sample in order."""
    return as_clip([sample[name] for name in sorted(sample) if name.endswith(".jpg")])


def of_datasets(root: Path, *, buffer: int) -> Epoch:
    """Its iterable reader of parquet."""
    import datasets

    files = [str(path) for path in sorted((root / "parquet/shards").glob("*.parquet"))]

    def epoch(workers: int) -> Iterator[int]:
        from torch.utils.data import DataLoader

        rows = datasets.load_dataset("parquet", data_files=files, streaming=True, split="train")
        rows = rows.cast_column("frames", datasets.List(datasets.Image(decode=False)))
        rows = rows.shuffle(seed=0, buffer_size=buffer) if buffer else rows
        for clips in DataLoader(rows, batch_size=BATCH, num_workers=workers, collate_fn=hf_batch):
            yield len(clips)

    return epoch


def hf_batch(rows: list[dict[str, Any]]) -> torch.Tensor:
    """The clips of some rows."""
    return torch.stack([as_clip([picture["bytes"] for picture in row["frames"]]) for row in rows])


def readers(root: Path, buffer: int) -> dict[tuple[str, str, str], Callable[[], Epoch]]:
    """(who, what of, in which order) -> how to make it."""
    in_order = {"shuffle": False}
    by_shard = {"grain": "shards"}
    return {
        **{("ferbench", kind, order): lambda kind=kind, how=how: ours(root, kind, **how)
           for kind in ("tar", "parquet")
           for order, how in (("in order", in_order), ("by shard", by_shard), ("by sample", {}))},
        ("webdataset", "tar", "in order"): lambda: of_webdataset(root, buffer=0),
        ("webdataset", "tar", "by shard"): lambda: of_webdataset(root, buffer=buffer),
        ("datasets", "parquet", "in order"): lambda: of_datasets(root, buffer=0),
        ("datasets", "parquet", "by shard"): lambda: of_datasets(root, buffer=buffer),
    }  # fmt: skip


# --- measuring --------------------------------------------------------------------------------------------------------


def read_bytes() -> tuple[int, int]:
    """(asked for, from the disk) by this process and its children that ended."""
    values = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(values["rchar"]), int(values["read_bytes"])


def forget(folder: Path) -> None:
    """Have the operating system drop what it keeps of the shards."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_one(root: Path, name: tuple[str, str, str], workers: int, buffer: int) -> dict[str, float]:
    """One epoch, in this process."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    epoch = readers(root, buffer)[name]()
    forget(root / name[1])
    Path("/proc/self/clear_refs").write_text("5")  # what was the peak so far is not it any more
    before, (asked, disk) = memory("VmRSS"), read_bytes()
    started, processor = time.perf_counter(), used_seconds()
    count = sum(epoch(workers))
    seconds, processor = time.perf_counter() - started, used_seconds() - processor
    asked_after, disk_after = read_bytes()
    return {
        "clips": count,
        "seconds": seconds,
        "processor": processor,
        "asked": asked_after - asked,
        "disk": disk_after - disk,
        "memory": memory("VmHWM") - before,
    }


def used_seconds() -> float:
    """Processor time of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def memory(what: str) -> float:
    """Megabytes of this process: `VmRSS` now, `VmHWM` at most since the peak was forgotten."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def measure(root: Path, arguments: argparse.Namespace) -> None:
    """Print the table; the readers take turns."""
    buffer = WINDOW * arguments.shard_size
    names = list(readers(root, buffer))
    for workers in (0, 2):
        found: dict[tuple[str, str, str], list[dict[str, float]]] = {name: [] for name in names}
        for round_ in range(arguments.repeats):
            for name in names[:: 1 if round_ % 2 else -1]:
                command = [sys.executable, __file__, "--child", json.dumps([str(root), name, workers, buffer])]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
                assert found[name][-1]["clips"] == arguments.clips, (name, found[name][-1])
        print(f"\n{workers} workers")
        print(
            f"{'reader':12} {'of':8} {'order':10} {'clips/s':>9} {'range':>12} {'cpu ms':>7} {'read':>6} {'disk':>6} "
            f"{'memory MB':>10}"
        )
        for name, each in found.items():
            whole = sum(path.stat().st_size for path in (root / name[1] / "shards").glob(f"*.{name[1]}"))
            rates = [one["clips"] / one["seconds"] for one in each]
            asked, disk = (statistics.median(one[key] for one in each) / whole for key in ("asked", "disk"))
            cpu = 1000 * statistics.median(one["processor"] / one["clips"] for one in each)
            grown = statistics.median(one["memory"] for one in each)
            # A worker process is not this one: what it takes is not in this number.
            shown = f"{grown:10.0f}" if not workers or name[0] == "ferbench" else f"{'':10}"
            span = f"{min(rates):.0f}..{max(rates):.0f}"
            print(f"{name[0]:12} {name[1]:8} {name[2]:10} {statistics.median(rates):9.1f} {span:>12} {cpu:7.2f} "
                  f"{asked:6.2f} {disk:6.2f} {shown}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="*", help="videos, or folders of them")
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--shard-size", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where the clips are written; a temporary folder by default")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        root, name, workers, buffer = json.loads(arguments.child)
        print(json.dumps(measure_one(Path(root), tuple(name), workers, buffer)))
        return
    print("python", *sys.argv)
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    videos = [file for path in arguments.videos for file in (sorted(path.glob("*.mp4")) if path.is_dir() else [path])]
    work = Path(tempfile.mkdtemp(dir=arguments.work))
    try:
        store(videos, arguments.clips, work, shard_size=arguments.shard_size)
        shards = list((work / "parquet/shards").glob("*.parquet"))
        size = sum(path.stat().st_size for path in shards) / 1e6
        print(f"{arguments.clips} clips of {FRAMES} frames in {len(shards)} shards, {size:.0f} MB of parquet; "
              f"batches of {BATCH}; median of {arguments.repeats} rounds, range")  # fmt: skip
        measure(work, arguments)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
