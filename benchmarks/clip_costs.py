"""What does one clip cost, stage by stage? The figures behind docs/scaling.md.

The videos given are cut into clips of a drawn number of frames and written again in the sizes asked for (H.264), so that
lengths and sizes are those of the datasets of the field and what is in them is real. Each clip then goes through `align`'s
stages in this process, one after the other, on one thread:

    decode     the sampled frames of the file (the same reader that align runs in a process of its own)
    hash       SHA-256 of the file
    detect     faces of the sampled frames
    crop       selection, quality, warp
    encode     JPEG
    write      crops to their place, and by rename
    record     the journal's line

and then all of them through `align` with one worker, start-up left out: what the stages leave out is process hops, planning
and tables; and packed, where the driver reads the crops again and writes them into a shard. Then the crops as `evaluate`
takes them: read and made a float array, from folders and from a parquet shard; and one forward pass of built-in networks on
one core, which says nothing of a GPU. Sizes on disk are counted beside.

    python benchmarks/clip_costs.py VIDEO... --clips 60 --csv clips.csv

Seconds are processor time, of this process and, for `align`, of its decoder: other work on the machine is not in them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ferbench.alignment import align_clip
from ferbench.alignment.quality import sample_quality
from ferbench.clips import load_clip
from ferbench.detection import Detector, make_detector
from ferbench.detection.clip import detect_clip
from ferbench.device import choose_device
from ferbench.errors import FaceError
from ferbench.jobs.align import FACES, MANIFEST, AlignOptions, RunOptions, align
from ferbench.jobs.align.packing import Packer
from ferbench.jobs.align.sample import AlignJob, AlignTask, AlignWorker, sha256_of_source
from ferbench.manifest import read_manifest
from ferbench.media import FrameReader, ReadRequest, read_frames
from ferbench.models import model_module
from ferbench.sources import open_source
from ferbench.storage import write_atomically

STAGES = ("decode", "hash", "detect", "crop", "encode", "write", "record")
FPS = 25
SHORTEST, LONGEST = 16, 250
MODELS = ("mini-xception", "former-dfer", "ms")

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """One clip; seconds of one thread, bytes on disk."""

    size: str
    frames: int
    """In the file."""
    source_bytes: int
    faces: int
    """Sampled frames in which one was found."""
    decode: float
    hash: float
    detect: float
    crop: float
    encode: float
    write: float
    record: float
    crop_bytes: int
    line_bytes: int
    """Of the journal."""

    @property
    def seconds(self) -> float:
        return sum(getattr(self, stage) for stage in STAGES)


def timed(seconds: dict[str, float], stage: str, work: Callable[[], T]) -> T:
    begun = time.process_time()
    try:
        return work()
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - begun


def frames_of(video: Path) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) RGB, in order."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def cut(videos: Sequence[Path], count: int, size: tuple[int, int] | None, out: Path, seed: int) -> None:
    """Write `count` clips, the videos taking turns; `size` is (width, height), None as they are.

    Lengths are log-normal around 60 frames, which is DFEW's and FERV39k's order of magnitude, within 16..250.
    """
    generator = np.random.default_rng(seed)
    streams = {video: frames_of(video) for video in videos}
    number = 0
    while number < count:
        for video, frames in streams.items():
            length = int(np.clip(generator.lognormal(np.log(60), 0.5), SHORTEST, LONGEST))
            taken = list(itertools.islice(frames, length))
            if len(taken) < SHORTEST:
                streams[video] = frames_of(video)  # from the beginning again, cut elsewhere
            elif number < count:
                write_video(out / f"{number:05d}.mp4", taken, size)
                number += 1


def write_video(path: Path, frames: Sequence[NDArray[np.uint8]], size: tuple[int, int] | None) -> None:
    height, width = frames[0].shape[:2]
    width, height = size or (width // 2 * 2, height // 2 * 2)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"crf": "23", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            fitted = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(fitted, format="rgb24")))
        container.mux(stream.encode())


def cost_of(video: Path, size: str, detector: Detector, worker: AlignWorker) -> Cost:
    """The stages of `ferbench.jobs.align.sample`, timed one by one; the outcome is that of the worker itself."""
    options, out = AlignOptions(), video.parent.parent
    seconds: dict[str, float] = {}
    request = ReadRequest(str(video), "video", choose=options.frame_sampler(), decoders=options.decoders)
    batch = timed(seconds, "decode", lambda: read_frames(request))
    timed(seconds, "hash", lambda: sha256_of_source(video, "video"))
    order = sorted(batch.frames)
    found = timed(
        seconds,
        "detect",
        lambda: detect_clip(detector, [batch.frames[index] for index in order], exact=False, everyone=False),
    )

    def crop() -> list[NDArray[np.uint8]]:
        faces = align_clip(
            batch.frames, dict(zip(order, found, strict=True)), crop=options.crop_options(),
            select=options.select, missing=options.missing, min_score=options.min_score,
        )  # fmt: skip
        sample_quality(faces, batch.indices)
        return [faces[index].image for index in batch.indices if index in faces]

    data: list[bytes] = []
    num_faces = sum(bool(faces) for faces in found)
    try:
        images = timed(seconds, "crop", crop)
        jpeg = [cv2.IMWRITE_JPEG_QUALITY, options.quality]
        data = timed(
            seconds,
            "encode",
            lambda: [
                cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), jpeg)[1].tobytes() for image in images
            ],
        )

        def write(temporary: Path) -> None:
            temporary.mkdir()
            for number, item in enumerate(data, start=1):
                (temporary / f"{number:05d}.jpg").write_bytes(item)

        timed(seconds, "write", lambda: write_atomically(out / "crops" / video.stem, write))
    except FaceError:
        pass  # nobody is in it; what was done until here is its cost
    outcome = worker.handle(AlignTask(video.stem, str(video), video.name, "video", None, None, video.stem))
    journal = timed(seconds, "record", outcome.as_line)
    times = {stage: seconds.get(stage, 0.0) for stage in STAGES}
    return Cost(
        size, batch.num_frames, video.stat().st_size, num_faces, **times,
        crop_bytes=sum(map(len, data)), line_bytes=len(journal),
    )  # fmt: skip


def processor_seconds() -> float:
    """Of this process and of those it has ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def whole(clips: Path, out: Path, options: AlignOptions) -> tuple[float, float, dict[str, float]]:
    """Processor and wall seconds a clip through `align` with one worker, beyond what one clip takes; bytes a clip."""
    run = RunOptions(workers=1, device="cpu", max_failures=10**9)
    source = open_source(str(clips))
    used, passed = [], []
    for limit in (1, 1, None):  # the first of all loads fonts and the like: it is not counted
        begun, clock = processor_seconds(), time.perf_counter()
        align(source, out / f"limit-{limit}", options, replace(run, limit=limit, overwrite=True))
        used.append(processor_seconds() - begun)
        passed.append(time.perf_counter() - clock)
    made, count = out / "limit-None", len(source)
    sizes = {name: (made / name).stat().st_size / count for name in (MANIFEST, FACES)}
    return (used[2] - used[1]) / (count - 1), (passed[2] - passed[1]) / (count - 1), sizes


def packing(clips: Path, out: Path, options: AlignOptions) -> float:
    """Processor seconds a clip that the driver of a packed run takes to read crops again and write the shard."""
    done, used = Packer.done, [0.0]

    def timed_done(packer: Packer, sample_id: str) -> None:
        begun = time.process_time()
        done(packer, sample_id)
        used[0] += time.process_time() - begun

    source = open_source(str(clips))
    Packer.done = timed_done  # type: ignore[method-assign]
    try:
        align(source, out, options, RunOptions(workers=1, device="cpu", pack="parquet", max_failures=10**9))
    finally:
        Packer.done = done  # type: ignore[method-assign]
    return used[0] / len(source)


def reading(folder: Path) -> float:
    """Processor seconds a clip from crops on disk to the float array of former-dfer."""
    manifest, spec = read_manifest(folder / MANIFEST), model_module("former-dfer").INPUT_SPEC
    samples = [sample for sample in manifest.samples() if sample.status == "ok"]
    with FrameReader() as reader:
        begun = time.process_time()
        for sample in samples:
            load_clip(manifest, sample, spec, reader)
        return (time.process_time() - begun) / len(samples)


def forward(name: str) -> float:
    """Processor seconds of one clip of 16 frames (an image model: 16 images) on one thread."""
    module = model_module(name)
    network, spec = module.build(7).eval(), module.INPUT_SPEC
    frames = (16, spec.num_channels, spec.height, spec.width)
    shape = frames if not spec.is_clip_model else (1, *frames)
    inputs = torch.zeros(shape).transpose(1, 2) if spec.layout == "NCTHW" else torch.zeros(shape)
    times = []
    with torch.inference_mode():
        for _ in range(5):
            begun = time.process_time()
            network(inputs)
            times.append(time.process_time() - begun)
    return statistics.median(times)


def line(values: Sequence[float], form: str) -> str:
    ranked = sorted(values)
    tail = ranked[round(0.95 * (len(ranked) - 1))]
    return "  ".join(format(value, form) for value in (statistics.fmean(ranked), statistics.median(ranked), tail))


def report(costs: Sequence[Cost], whole_runs: dict[str, float], sizes: dict[str, float], read: Sequence[float]) -> None:
    frames = statistics.fmean(cost.frames for cost in costs)
    print(f"\n{costs[0].size}: {len(costs)} clips of {frames:.0f} frames on average")
    print(f"{'':24}{'mean':>9}  {'median':>8}  {'95 in 100':>9}")
    for stage in STAGES:
        print(f"  {stage + ' ms':22}{line([getattr(cost, stage) * 1000 for cost in costs], '9.2f')}")
    print(f"  {'stages ms':22}{line([cost.seconds * 1000 for cost in costs], '9.2f')}")
    for name, seconds in whole_runs.items():
        print(f"  {name:22}{seconds * 1000:9.2f}")
    decoded = sum(cost.decode for cost in costs) / sum(cost.frames for cost in costs)
    print(f"  {'decode ms a frame':22}{decoded * 1000:9.3f}")
    for name in ("source", "crop", "line"):
        values = [getattr(cost, f"{name}_bytes") / 1000 for cost in costs]
        print(f"  {({'line': 'journal', 'crop': 'crops'}.get(name, name)) + ' kB':22}{line(values, '9.2f')}")
    for name, size in sizes.items():
        print(f"  {name + ' kB':22}{size / 1000:9.2f}")
    print(f"  {'read crops, folder ms':22}{read[0] * 1000:9.2f}")
    print(f"  {'read crops, parquet ms':22}{read[1] * 1000:9.2f}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--sizes", nargs="+", default=["source", "224x224", "1280x720"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="where the figures of each clip go, for scheduler_simulation.py")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options = AlignOptions()
    detector = make_detector(options.detector_options(batch_frames=16), device=choose_device("cpu"))
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, one thread")
    print(f"16 frames a clip, crops of 112 x 112, {len(arguments.videos)} videos; kB is 1,000 bytes")
    costs: list[Cost] = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            (place / "clips").mkdir()
            wanted = None if size == "source" else (int(size.partition("x")[0]), int(size.partition("x")[2]))
            cut(arguments.videos, arguments.clips, wanted, place / "clips", arguments.seed)
            files = sorted((place / "clips").iterdir())
            worker = AlignJob(str(place / "outcomes"), options, "cpu", batch_size=16, deadline=60).open()
            cost_of(files[0], size, detector, worker)  # the first pass of everything is no measure
            own = [cost_of(file, size, detector, worker) for file in files]
            worker.close()
            used, passed, sizes = whole(place / "clips", place / "faces", options)
            pack = packing(place / "clips", place / "packed", options)
            reads = [reading(place / "faces" / "limit-None"), reading(place / "packed")]
            report(own, {"align, whole ms": used, "by the clock ms": passed, "packing ms": pack}, sizes, reads)
            costs += own
    print("\none forward pass of 16 frames on one core, random weights, ms")
    for model in MODELS:
        print(f"  {model:22}{forward(model) * 1000:9.1f}")
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*Cost.__dataclass_fields__, "seconds"])
            for cost in costs:
                row = [format(value, ".5f") if isinstance(value, float) else value for value in asdict(cost).values()]
                writer.writerow([*row, format(cost.seconds, ".5f")])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
