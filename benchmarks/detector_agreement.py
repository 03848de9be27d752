"""Do ferbench's MTCNN and facenet-pytorch's find the same faces?

Runs both detectors over every image and every Nth frame of every video under the given files and folders, pairs the faces
of each frame by IoU, and prints per file and in total: faces, faces one of them lacks, quantiles of IoU, of the landmark
difference (mean of the five distances over the larger detection's size) and of the score difference.

    python benchmarks/detector_agreement.py manifests/demo/media tests/data/faces --every 10
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ferbench.detection import DetectorOptions, make_detector
from ferbench.errors import FaceError
from ferbench.faces import Face, intersection_over_union

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
VIDEOS = {".mp4", ".mov", ".webm", ".avi", ".mkv"}
AGREE = 0.9


@dataclass
class Agreement:
    """Counts and differences over some frames."""

    frames: int = 0
    crashed: int = 0
    ours: int = 0
    theirs: int = 0
    ious: list[float] = field(default_factory=list)
    landmarks: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, ours: list[Face], theirs: list[Face]) -> None:
        self.frames += 1
        self.ours += len(ours)
        self.theirs += len(theirs)
        for mine, other in paired(ours, theirs):
            size = max(mine.size, other.size)
            self.ious.append(intersection_over_union(mine.box, other.box))
            self.landmarks.append(float(np.linalg.norm(mine.landmarks - other.landmarks, axis=1).mean()) / size)
            self.scores.append(abs(mine.score - other.score))

    def merge(self, other: Agreement) -> None:
        for name in ("frames", "crashed", "ours", "theirs", "ious", "landmarks", "scores"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def row(self, name: str) -> str:
        paired_count = len(self.ious)
        most = max(self.ours, self.theirs)
        agreeing = sum(iou >= AGREE for iou in self.ious) / most if most else 1.0
        cells = [
            f"{name[:36]:36}", f"{self.frames:6}", f"{self.crashed:7}", f"{self.ours:6}", f"{self.theirs:6}",
            f"{self.theirs - paired_count:7}", f"{self.ours - paired_count:5}", f"{agreeing:9.2%}",
            *(quantile(self.ious, q) for q in (0.5, 0.01, 0.0)),
            *(quantile(self.landmarks, q) for q in (0.5, 0.99, 1.0)),
            *(quantile(self.scores, q) for q in (0.99, 1.0)),
        ]  # fmt: skip
        return " ".join(cells)


HEADER = (
    f"{'file':36} frames crashed   ours theirs missing extra  IoU>={AGREE}"
    "  IoU p50   IoU p1  IoU min   lmk p50  lmk p99  lmk max score p99  max"
)


def quantile(values: list[float], q: float) -> str:
    return f"{np.quantile(values, q):8.5f}" if values else "       -"


def paired(ours: list[Face], theirs: list[Face]) -> Iterator[tuple[Face, Face]]:
    """Each face at most once, best IoU first; pairs that do not overlap are no pairs."""
    pairs = [(intersection_over_union(a.box, b.box), i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs)]
    mine: set[int] = set()
    other: set[int] = set()
    for iou, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if iou > 0 and i not in mine and j not in other:
            mine.add(i)
            other.add(j)
            yield ours[i], theirs[j]


def read_frames(path: Path, *, every: int) -> Iterator[NDArray[np.uint8]]:
    """RGB frames of an image (one) or a video (every Nth)."""
    if path.suffix.lower() in IMAGES:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is not None:
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return
    capture = cv2.VideoCapture(str(path))
    index = 0
    while capture.grab():
        if index % every == 0:
            read, frame = capture.retrieve()
            if read:
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        index += 1
    capture.release()


def media_files(sources: list[Path]) -> list[Path]:
    found: list[Path] = []
    for source in sources:
        found += sorted(source.rglob("*")) if source.is_dir() else [source]
    return [path for path in found if path.suffix.lower() in IMAGES | VIDEOS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="images, videos, or folders of them")
    parser.add_argument("--every", type=int, default=10, help="take every Nth frame of a video (default 10)")
    parser.add_argument("--batch", type=int, default=16, help="frames per call of our detector (default 16)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--total-only", action="store_true", help="print no line per file")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    ours = make_detector(DetectorOptions("mtcnn"), arguments.device)
    theirs = make_detector(DetectorOptions("facenet"), arguments.device)
    print(HEADER)
    total = Agreement()
    for path in media_files(arguments.sources):
        frames = list(read_frames(path, every=arguments.every))
        mine = [
            faces
            for i in range(0, len(frames), arguments.batch)
            for faces in ours.detect(frames[i : i + arguments.batch])
        ]
        result = Agreement()
        for frame, faces in zip(frames, mine, strict=True):
            try:
                result.add(faces, theirs.detect([frame])[0])
            except FaceError:
                result.crashed += 1
        total.merge(result)
        if not arguments.total_only:
            print(result.row(path.name), flush=True)
    print(total.row("total"))


if __name__ == "__main__":
    main()
