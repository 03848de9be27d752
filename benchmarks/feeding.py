"""How many training clips a second does `ferbench.feeding` give, and does a model ever wait for them?

The clips are cut from the videos that are named: ranges of 64 frames, the largest middle square, as JPEG of quality 95 at
224 x 224 pixels (DFEW's and FERV39k's faces) and at 112 x 112 (what `ferbench align` writes), stored as folders of frames,
as one tar, as one parquet file, and as videos; and every fourth frame of them alone, as images. No face is detected: how
pixels are read does not depend on it.

    peer        a torch Dataset and DataLoader as the published repositories have them: PIL opens each frame, then a crop of
                random size for the group (0.08 to 1 of the area, to 112 x 112), a group flip, stacking, and to a tensor
    ferbench    feed(): the same sampler, crop and flip, in the same batches, from each form of storage

    python benchmarks/feeding.py VIDEO... --clips 96 --repeats 3

The contenders take turns, at 0, 1 and 2 workers; a first round starts the workers and is not counted. One torch thread.
The last table trains r3d_18 at 112 on what is fed, and says for what share of the time the model waited.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ferbench.feeding import FeedOptions, feed
from ferbench.inputspec import InputSpec
from ferbench.jobs.align.packing import Packer, packed_path
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.media import ReadRequest, read_frames
from ferbench.sampling import Sampler
from ferbench.training.recipe import Choice

CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
LENGTH, TAKEN, SIZE = 64, 16, 112
AUGMENT = (Choice("random-resized-crop", {"scale": [0.08, 1.0]}), Choice("flip"))
SPEC = InputSpec(clip_len=TAKEN, height=SIZE, width=SIZE, sampler="dfer-clip")
IMAGES = InputSpec(clip_len=1, height=SIZE, width=SIZE, layout="NCHW", sampler="all")


# --- what is read -----------------------------------------------------------------------------------------------------


def cut(videos: list[Path], count: int, side: int = 224) -> Iterator[list[np.ndarray]]:
    """`count` lists of LENGTH pictures, (side, side, 3) RGB."""
    made = 0
    while made < count:
        for video in videos:
            frames = read_frames(ReadRequest(str(video), "video", Sampler("all"))).frames
            for begin in range(0, max(len(frames) - LENGTH, 0) + 1, LENGTH):
                if made == count:
                    return
                yield [squared(frames[min(begin + step, len(frames) - 1)], side) for step in range(LENGTH)]
                made += 1


def squared(frame: np.ndarray, side: int) -> np.ndarray:
    """The largest middle square, at `side`."""
    height, width = frame.shape[:2]
    whole = min(height, width)
    top, left = (height - whole) // 2, (width - whole) // 2
    return cv2.resize(frame[top : top + whole, left : left + whole], (side, side), interpolation=cv2.INTER_AREA)


def store(videos: list[Path], count: int, root: Path, *, side: int) -> dict[str, Manifest]:
    """The clips in every form: name -> manifest."""
    names = [f"clip_{number:05d}" for number in range(count)]
    for name, frames in zip(names, cut(videos, count, side), strict=True):
        (root / name).mkdir()
        for number, frame in enumerate(frames, start=1):
            Image.fromarray(frame).save(root / name / f"{number:05d}.jpg", quality=95)
        film = cv2.VideoWriter(str(root / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (side, side))
        for frame in frames:
            film.write(frame[:, :, ::-1])
        film.release()

    def manifest(media: str, paths: list[str]) -> Manifest:
        columns = {
            "sample_id": names, "path": paths, "media": [media] * count,
            "label": [number % len(CLASSES) for number in range(count)],
        }  # fmt: skip
        return manifest_of(columns, labels=LabelSet.of(CLASSES), name="clips", root=root)

    folders = manifest("frames", names)
    found = {"folders": folders}
    for suffix in (".tar", ".parquet"):
        packed = {
            name: packed_path(name, "frames", place, suffix=suffix, shard_size=1000) for place, name in enumerate(names)
        }
        for name, place in packed.items():
            staged = root / ".ferbench" / "crops" / place
            staged.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(root / name, staged)
        packer = Packer(root, folders, packed, names)
        for name in names:
            packer.done(name)
        found[suffix[1:]] = manifest("frames", list(packed.values()))
    found["videos"] = manifest("video", [f"{name}.mp4" for name in names])
    return found


def stills(folders: Manifest) -> Manifest:
    """Every fourth frame as a sample of its own."""
    names = [f"{path}/{number:05d}" for path in folders.column("path") for number in range(1, LENGTH + 1, 4)]
    columns = {
        "sample_id": names, "path": [f"{name}.jpg" for name in names], "media": ["image"] * len(names),
        "label": [number % len(CLASSES) for number in range(len(names))],
    }  # fmt: skip
    return manifest_of(columns, labels=folders.labels, name="images", root=folders.root)


# --- the peer ---------------------------------------------------------------------------------------------------------


class PeerClips(Dataset):
    """A list of frame folders, as the published loaders read them."""

    def __init__(self, root: Path, names: list[str], labels: list[int], *, taken: int) -> None:
        self.root, self.names, self.labels, self.taken = root, names, labels, taken

    def __len__(self) -> int:
        return len(self.names)

    def indices(self, count: int) -> list[int]:
        """TSN segments, a frame from each."""
        step = count // self.taken
        return [place * step + random.randrange(step) for place in range(self.taken)]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        place = self.root / self.names[index]
        files = sorted(place.glob("*.jpg")) if self.taken > 1 else [place]
        pictures = [Image.open(files[place]).convert("RGB") for place in self.indices(len(files))]
        pictures = group_flip(group_sized_crop(pictures))
        stacked = np.concatenate([np.array(picture) for picture in pictures], axis=2)
        tensor = torch.from_numpy(stacked).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.view(len(pictures), 3, SIZE, SIZE), self.labels[index]


def group_sized_crop(pictures: list[Image.Image]) -> list[Image.Image]:
    """One random crop for all, 0.08 to 1 of the area, 3:4 to 4:3, to SIZE."""
    width, height = pictures[0].size
    for _ in range(10):
        area = random.uniform(0.08, 1.0) * width * height
        aspect = random.uniform(3 / 4, 4 / 3)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if random.random() < 0.5:
            w, h = h, w
        if w <= width and h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            crops = [picture.crop((left, top, left + w, top + h)) for picture in pictures]
            return [crop.resize((SIZE, SIZE), Image.Resampling.BILINEAR) for crop in crops]
    return [picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR) for picture in pictures]


def group_flip(pictures: list[Image.Image]) -> list[Image.Image]:
    """All of them, or none."""
    if random.random() < 0.5:
        return [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
    return pictures


# --- measuring --------------------------------------------------------------------------------------------------------


def peer_epochs(
    manifest: Manifest, *, taken: int, workers: int, batch_size: int
) -> Callable[[int], Iterator[torch.Tensor]]:
    """Epoch -> its batches."""
    names, labels = manifest.column("path"), manifest.column("label")
    loader = DataLoader(
        PeerClips(manifest.root, names, labels, taken=taken), batch_size=batch_size, shuffle=True, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip
    return lambda epoch: (clips for clips, _ in loader)


def our_epochs(
    manifest: Manifest, spec: InputSpec, *, workers: int, batch_size: int
) -> Callable[[int], Iterator[torch.Tensor]]:
    """Epoch -> its batches."""
    options = FeedOptions(batch_size, workers, augment=AUGMENT)
    samples = list(manifest.samples())
    return lambda epoch: (batch.clips for batch in feed(manifest, samples, spec, options, epoch=epoch, train=True))


def seconds_of(epochs: Callable[[int], Iterator[torch.Tensor]], round_: int, count: int) -> tuple[float, float]:
    """(wall, processor) seconds of one epoch."""
    wall, processor = time.perf_counter(), own_seconds()
    rows = sum(len(clips) for clips in epochs(round_))
    assert rows == count, f"{rows} of {count} were read"
    return time.perf_counter() - wall, own_seconds() - processor


def own_seconds() -> float:
    """Processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(
    contenders: dict[str, tuple[Manifest, InputSpec]], arguments: argparse.Namespace, *, batch_size: int
) -> None:
    """Print a table of samples a second; the first contender is also what the peer reads."""
    source, spec = next(iter(contenders.values()))
    print(f"{'workers':>8} {'from':12} {'a second':>9} {'range':>18} {'times the peer':>15} {'cpu ms each':>12}")
    for workers in (0, 1, 2):
        runs = {"peer": peer_epochs(source, taken=spec.clip_len, workers=workers, batch_size=batch_size)}
        for name, (manifest, own) in contenders.items():
            runs[name] = our_epochs(manifest, own, workers=workers, batch_size=batch_size)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for round_ in range(arguments.repeats + 1):
            order = list(runs.items())
            for name, epochs in order if round_ % 2 else order[::-1]:
                found = seconds_of(epochs, round_, len(source))
                if round_:
                    times[name].append(found)
        rates = {name: [len(source) / wall for wall, _ in each] for name, each in times.items()}
        base = statistics.median(rates["peer"])
        for name, each in rates.items():
            middle = statistics.median(each)
            cpu = 1000 * statistics.median(processor for _, processor in times[name]) / len(source)
            shown = f"{cpu:12.2f}" if workers == 0 and name != "videos" else ""
            span = f"{min(each):.1f}..{max(each):.1f}"
            print(f"{workers:8} {name:12} {middle:9.1f} {span:>18} {middle / base:15.2f} {shown}", flush=True)


def measure_waiting(stored: dict[str, Manifest], arguments: argparse.Namespace) -> None:
    """Print for what share of the time a model that trains waits for its batches."""
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    model = r3d_18(num_classes=len(CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    count = min(arguments.clips, 8 * arguments.wait_batches)
    print(f"\nr3d_18 at 16 x 112 x 112, one thread, batches of 8, {count} clips: share of the time that it waits")
    print(f"{'workers':>8} {'from':12} {'waits':>8} {'clips a second':>15}")
    for workers in (0, 1, 2):
        chosen = {
            name: manifest.where([row < count for row in range(len(manifest))]) for name, manifest in stored.items()
        }
        contenders = {"peer": peer_epochs(chosen["folders"], taken=TAKEN, workers=workers, batch_size=8)}
        contenders |= {kind: our_epochs(chosen[kind], SPEC, workers=workers, batch_size=8) for kind in ("folders",)}
        for name, epochs in contenders.items():
            waited, begun = 0.0, time.perf_counter()
            asked = begun
            for number, clips in enumerate(epochs(0)):
                got = time.perf_counter()
                waited += got - asked if number else 0.0  # the first one cannot be there yet
                loss = model(clips.transpose(1, 2)).square().mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                asked = time.perf_counter()
            total = time.perf_counter() - begun
            print(f"{workers:8} {name:12} {100 * waited / total:7.1f}% {count / total:15.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="+", help="videos, or folders of them")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--wait-batches", type=int, default=4)
    parser.add_argument("--work", type=Path, help="where the clips are written; a temporary folder by default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("python", *sys.argv)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ",
        end="",
    )
    print(f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    videos = [file for path in arguments.videos for file in (sorted(path.glob("*.mp4")) if path.is_dir() else [path])]
    work = Path(tempfile.mkdtemp(dir=arguments.work))
    try:
        for side in (112, 224):
            root = work / str(side)
            root.mkdir()
            stored = store(videos, arguments.clips, root, side=side)
            print(
                f"\ntraining clips of 16 frames, stored at {side} x {side}; median of {arguments.repeats} rounds, range"
            )
            clips = {name: (manifest, SPEC) for name, manifest in stored.items()}
            measure(clips, arguments, batch_size=arguments.batch_size)
            images = stills(stored["folders"])
            print(f"\ntraining images ({len(images)}), stored at {side} x {side}")
            measure({"images": (images, IMAGES)}, arguments, batch_size=8 * arguments.batch_size)
        if arguments.wait_batches:
            measure_waiting(stored, arguments)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
