"""How long does `ferbench align` take, beside the loop that people write, and beside decoding alone?

Clips are the videos under the given paths, each copied under as many names as asked, so that start-up does not decide. In
one run, one after the other and several times over:

    loop        decord get_batch of the sampled frames, facenet-pytorch's MTCNN on each, a crop written; all cores
    all frames  the same over every frame, from which the same clips are then sampled; once, on one copy
    decode      ferbench's own reader over the sampled frames, one decoder process per core, nothing else
    align       ferbench align --workers CORES, its tables and contact sheet included
    exact       the same with --exact

    python benchmarks/align_speed.py manifests/demo/media --copies 8 --repeats 3

The loop has no defence against a container that lies about its length: decord may hang in it for ever. Give it good files.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import cv2

from ferbench.errors import FerbenchError
from ferbench.media import FrameBatch, FrameReader, ReadRequest
from ferbench.sampling import Sampler

VIDEOS = {".mp4", ".mov", ".webm", ".avi", ".mkv"}
CLIP_LEN = 16


def user_loop(clips: list[Path], out: Path, *, every_frame: bool) -> int:
    """The loop as it is written; frames done. Files that stop it are passed over."""
    from facenet_pytorch import MTCNN  # before decord: the other way round, torch and decord crash each other

    import decord  # isort: skip

    mtcnn = MTCNN(image_size=112, keep_all=False, device="cpu")
    frames_done = 0
    for clip in clips:
        try:
            reader = decord.VideoReader(str(clip))
            count = len(reader)
            places = range(count) if every_frame else Sampler("uniform", clip_len=CLIP_LEN).indices(count)
            (out / clip.stem).mkdir(parents=True, exist_ok=True)
            step = 64  # all frames of a film at once would not fit in memory
            for first in range(0, len(places), step):
                batch = reader.get_batch(list(places)[first : first + step]).asnumpy()
                for number, frame in enumerate(batch, start=first + 1):
                    mtcnn(frame, save_path=str(out / clip.stem / f"{number:05d}.jpg"))
                    frames_done += 1
        except decord.DECORDError as error:
            print(f"the loop stops at {clip.name}: {str(error).splitlines()[0]}", file=sys.stderr)
    return frames_done


def decode(clips: list[Path], workers: int) -> int:
    """Only decoding; frames read."""
    frames = 0
    with FrameReader(num_workers=workers) as reader:
        waiting: list[Future[FrameBatch]] = []
        for clip in clips:
            waiting.append(reader.submit(ReadRequest(str(clip), "video", choose=Sampler("uniform", clip_len=CLIP_LEN))))
            if len(waiting) > 2 * workers:
                frames += _length(waiting.pop(0))
        frames += sum(_length(future) for future in waiting)
    return frames


def _length(future: Future[FrameBatch]) -> int:
    try:
        return len(future.result().indices)
    except FerbenchError:
        return 0


def align_clips(clips: Path, out: Path, workers: int, *, exact: bool) -> int:
    """The whole of `ferbench align`; crops written."""
    from ferbench.jobs.align import AlignOptions, RunOptions, align
    from ferbench.sources import open_source

    result = align(open_source(str(clips)), out, AlignOptions(exact=exact), RunOptions(workers=workers, device="cpu"))
    return CLIP_LEN * result.done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-all-frames", action="store_true", help="leave out the slowest")
    arguments = parser.parse_args()
    found = sorted(
        path for given in arguments.paths for path in ([given] if given.is_file() else given.rglob("*"))
        if path.suffix.lower() in VIDEOS
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        for copy in range(arguments.copies):
            for path in found:
                shutil.copy(path, folder / "clips" / f"{copy}_{path.stem}{path.suffix}")
        clips = sorted((folder / "clips").iterdir())
        print(f"{len(found)} videos, {len(clips)} clips of {CLIP_LEN} frames; {arguments.workers} workers")
        print(
            f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}"
        )
        runs: dict[str, Callable[[], int]] = {
            "loop": lambda: user_loop(clips, folder / "loop", every_frame=False),
            "decode": lambda: decode(clips, arguments.workers),
            "align": lambda: align_clips(folder / "clips", folder / "align", arguments.workers, exact=False),
            "exact": lambda: align_clips(folder / "clips", folder / "exact", arguments.workers, exact=True),
        }
        seconds: dict[str, list[float]] = {label: [] for label in runs}
        for _ in range(arguments.repeats):
            for label, run in runs.items():
                shutil.rmtree(folder / label, ignore_errors=True)
                seconds[label].append(_timed(run))
        medians = {label: statistics.median(values) for label, values in seconds.items()}
        if not arguments.no_all_frames:
            started = time.perf_counter()
            user_loop(clips[: len(found)], folder / "all", every_frame=True)
            medians["all frames"] = (time.perf_counter() - started) * arguments.copies
        print(f"\n{'':12} seconds  per clip  times align   (all runs)")
        for label, median in medians.items():
            every = " ".join(f"{value:.2f}" for value in seconds.get(label, []))
            print(f"{label:12} {median:7.2f} {median / len(clips):9.3f} {median / medians['align']:12.2f}   {every}")


def _timed(run: Callable[[], int]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
