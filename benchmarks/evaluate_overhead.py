"""How much longer does a whole `ferbench evaluate` take than the bare loop of the same model over the same decoded clips?

Clips are folders of JPEG pictures that the script makes: smooth noise, 16 frames of the size that the model takes. Per
model, in one process, taking turns:

    bare        the model in inference mode over clips that lie decoded and normalised in memory; nothing else
    evaluate    everything from the manifest to predictions.parquet: selecting, hashing, loading the model, reading,
                resizing, the forward passes, the journal, writing; without the audits of the model
    report      what the command does after that: metrics, intervals, figures, pages

The audits of the model run on a fixed number of clips, however many are evaluated. What they cost is counted, not timed:
clips (or images) that go through the model for them, beside those of a test fold of DFEW (2,341 clips of 16 frames).

    python benchmarks/evaluate_overhead.py --clips 32 --repeats 3

Processor time is all threads' of the process: it shows work, where wall time also shows what else the machine does.
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
from pathlib import Path

import cv2
import numpy as np
import torch

from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate import EvaluateOptions, evaluate, select_samples
from ferbench.jobs.evaluate.blocks import cut_blocks, read_blocks
from ferbench.jobs.evaluate.tasks import Task
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.jobs.score import write_report
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of, write_manifest
from ferbench.models.loading import LoadedModel, ModelRequest, load_model

CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
CLIP_LEN = 16
DFEW_FOLD = 2341

COUNTING = """
import torch

COUNT = [0]

class Net(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = torch.nn.Linear(3, num_classes)

    def forward(self, inputs):
        COUNT[0] += len(inputs)
        return self.head(inputs.mean(dim={axes}))

def build_model(num_classes):
    return Net(num_classes)
"""
"""A model that costs nothing and counts what goes through it."""

MODELS = {
    "r3d_18 (clips, 16 x 112 x 112)": (
        InputSpec(clip_len=CLIP_LEN, height=112, width=112, layout="NCTHW", classes=CLASSES),
        "from torchvision.models.video import r3d_18\n\ndef build_model(num_classes):\n"
        "    return r3d_18(num_classes=num_classes)\n",
    ),
    "resnet18 (images, 16 of 112 x 112 a clip)": (
        InputSpec(clip_len=CLIP_LEN, height=112, width=112, layout="NCHW", classes=CLASSES),
        "from torchvision.models import resnet18\n\ndef build_model(num_classes):\n"
        "    return resnet18(num_classes=num_classes)\n",
    ),
}


def make_clips(folder: Path, count: int, size: int) -> Manifest:
    """Frame folders of smooth noise, and their manifest."""
    rng = np.random.default_rng(0)
    names = [f"clip_{number:05d}" for number in range(count)]
    for name in names:
        (folder / name).mkdir(parents=True)
        for frame in range(1, CLIP_LEN + 1):
            small = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
            picture = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / name / f"{frame:05d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    columns = {
        "sample_id": names, "path": names, "media": ["frames"] * count, "num_frames": [CLIP_LEN] * count,
        "label": [number % len(CLASSES) for number in range(count)],
    }  # fmt: skip
    manifest = manifest_of(columns, labels=LabelSet.of(CLASSES), name="noise", root=folder)
    write_manifest(manifest, folder / "manifest.parquet")
    return manifest


def write_model(path: Path, spec: InputSpec, code: str) -> Path:
    """A Python file that states its input spec."""
    path.write_text(f"{code}\nINPUT_SPEC = {spec.as_dict()!r}\n")
    return path


def loaded(path: Path) -> LoadedModel:
    """The model, as evaluate loads it."""
    return load_model(ModelRequest(str(path)), num_classes=len(CLASSES), fallback=InputSpec(), device="cpu")


def decoded_batches(manifest: Manifest, options: EvaluateOptions, spec: InputSpec) -> list[torch.Tensor]:
    """The very inputs of evaluate's forward passes."""
    tasks = [Task((sample,)) for sample in select_samples(manifest, options).samples]
    batches: list[torch.Tensor] = []
    blocks = cut_blocks(tasks, ViewOptions(), options.batch_size)
    for _, clips in read_blocks(manifest, blocks, spec, ViewOptions(), workers=0):
        block = torch.from_numpy(np.concatenate([clip for clip in clips if isinstance(clip, np.ndarray)]))
        if spec.layout == "NCTHW":
            batches.append(block.transpose(1, 2).contiguous())
        else:
            batches += torch.split(block.flatten(0, 1), options.batch_size)
    return batches


def bare_loop(module: torch.nn.Module, batches: list[torch.Tensor]) -> torch.Tensor:
    """The loop that evaluate is held against."""
    with torch.inference_mode():
        return torch.cat([module(batch) for batch in batches])


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """(wall seconds, processor seconds)."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(title: str, spec: InputSpec, code: str, work: Path, arguments: argparse.Namespace) -> None:
    """Print one model's table."""
    model = write_model(work / f"{title.split()[0]}.py", spec, code)
    manifest_path, out = work / "clips/manifest.parquet", work / "run"
    manifest: Manifest = arguments.manifest

    options = EvaluateOptions(model=(str(model),), device="cpu", batch_size=arguments.batch_size, audit_clips=0)

    module = loaded(model).module
    assert module is not None
    batches = decoded_batches(manifest, options, spec)

    def whole() -> None:
        shutil.rmtree(out, ignore_errors=True)
        evaluate(manifest, manifest_path, out, options)

    bare_loop(module, batches[:1])
    times: dict[str, list[tuple[float, float]]] = {"bare": [], "evaluate": []}
    contenders: list[tuple[str, Callable[[], object]]] = [
        ("bare", lambda: bare_loop(module, batches)), ("evaluate", whole),
    ]  # fmt: skip
    for repeat in range(arguments.repeats):
        for name, run in contenders if repeat % 2 == 0 else contenders[::-1]:
            times[name].append(timed(run))
    result = evaluate(manifest, manifest_path, out, options).predictions
    times["report"] = [timed(lambda: write_report(result, out))]

    def median(name: str, place: int) -> float:
        return statistics.median(each[place] for each in times[name])

    print(f"\n{title}: {arguments.clips} clips in batches of {arguments.batch_size}")
    print(f"{'':10} {'wall s':>8} {'range':>16} {'cpu s':>8} {'wall/bare':>10} {'cpu/bare':>9}")
    for name, each in times.items():
        low, high = min(wall for wall, _ in each), max(wall for wall, _ in each)
        wall, processor = median(name, 0), median(name, 1)
        ratios = f"{wall / median('bare', 0):10.3f} {processor / median('bare', 1):9.3f}" if name != "bare" else ""
        print(f"{name:10} {wall:8.2f} {f'{low:.2f}..{high:.2f}':>16} {processor:8.2f} {ratios}")


def count_audits(manifest: Manifest, work: Path) -> None:
    """Print how much goes through a model before the run, of clips and of images."""
    for unit, layout, axes, per_clip in (("clips", "NTCHW", (1, 3, 4), 1), ("images", "NCHW", (2, 3), CLIP_LEN)):
        spec = InputSpec(clip_len=CLIP_LEN, height=112, width=112, layout=layout, classes=CLASSES)
        name = f"counting_{unit}"
        model = write_model(work / f"{name}.py", spec, COUNTING.format(axes=axes))
        counts = []
        for clips in (0, EvaluateOptions(model=("x",)).audit_clips):
            options = EvaluateOptions(model=(str(model),), device="cpu", audit_clips=clips)
            evaluate(manifest, work / "clips/manifest.parquet", work / f"{name}_{clips}", options)
            counts.append(sys.modules[name].COUNT[0])
        through = counts[1] - counts[0]
        print(
            f"audits of a model of {unit}: {through} {unit}, {100 * through / per_clip / DFEW_FOLD:.1f} % of a DFEW fold"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, for both")
    parser.add_argument("--model", help="only the models whose name has this in it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, ", end="")
    print(f"{torch.get_num_threads()} threads, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        arguments.manifest = make_clips(work / "clips", arguments.clips, 112)
        for title, (spec, code) in MODELS.items():
            if not arguments.model or arguments.model in title:
                measure(title, spec, code, work, arguments)
        print()
        count_audits(arguments.manifest, work)


if __name__ == "__main__":
    main()
