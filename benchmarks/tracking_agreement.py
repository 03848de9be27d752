"""Are the faces that `align` selects with its short cuts those of the reference, and as steady and as true?

Every video under the given paths is sampled as `align` does (16 frames, uniform), and read once more as a run of
consecutive frames. Three ways find the faces, and the same rule (track) selects one person: facenet-pytorch's own class on
every frame (the reference), ours on every frame (`--exact`), ours clip by clip (the default). Printed: frames in which the
reference has a face and ours has none, or another person's; IoU; landmark difference over the inter-eye distance; and the
jitter of the landmarks between consecutive frames (second difference, over the inter-eye distance) of each way by itself.

With --truth, frames.csv of rendered clips (clip,frame,… lx,ly,rx,ry,nx,ny,mlx,mly,mrx,mry), the five-point error over the
true inter-eye distance is printed for the three ways.

    python benchmarks/tracking_agreement.py manifests/demo/media --run 64
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ferbench.alignment import select_faces
from ferbench.detection import Detector, DetectorOptions, make_detector
from ferbench.detection.clip import detect_clip
from ferbench.errors import FerbenchError
from ferbench.faces import Face, intersection_over_union
from ferbench.media import FrameReader, ReadRequest
from ferbench.sampling import Sampler

VIDEOS = {".mp4", ".mov", ".webm", ".avi", ".mkv"}
SAME_PERSON = 0.3
Frames = list[NDArray[np.uint8]]
Chosen = list[Face | None]


@dataclass
class Compared:
    """Ours against the reference over some frames."""

    reference: int = 0
    missing: int = 0
    other: int = 0
    extra: int = 0
    ious: list[float] = field(default_factory=list)
    landmarks: list[float] = field(default_factory=list)

    def add(self, ours: Chosen, theirs: Chosen) -> None:
        for mine, other in zip(ours, theirs, strict=True):
            if other is None:
                self.extra += mine is not None
                continue
            self.reference += 1
            if mine is None:
                self.missing += 1
                continue
            iou = intersection_over_union(mine.box, other.box)
            self.other += iou < SAME_PERSON
            self.ious.append(iou)
            self.landmarks.append(difference(mine.landmarks, other.landmarks) / eye_distance(other.landmarks))

    def row(self, name: str) -> str:
        if not self.ious:
            return f"{name:34} no face"
        ious = np.array(self.ious)
        return (
            f"{name:34} {self.reference:6} {self.missing:7} {self.other:6} {self.extra:5} {np.median(ious):9.4f} "
            f"{(ious >= 0.8).mean():8.2%} {(ious >= 0.9).mean():8.2%} {np.median(self.landmarks):8.5f} "
            f"{np.quantile(self.landmarks, 0.99):8.5f}"
        )


HEADER = f"{'':34} frames missing  other extra IoU median  >= 0.8   >= 0.9  lmk p50  lmk p99"


class Ways:
    """The three ways, warm."""

    def __init__(self) -> None:
        self._facenet = make_detector(DetectorOptions(name="facenet"))
        self._ours = make_detector(DetectorOptions())

    def select(self, frames: Frames) -> dict[str, Chosen]:
        """One face or None per frame, by way."""
        return {
            "reference": self._chosen(self._facenet, frames, exact=True),
            "exact": self._chosen(self._ours, frames, exact=True),
            "default": self._chosen(self._ours, frames, exact=False),
        }

    def _chosen(self, detector: Detector, frames: Frames, *, exact: bool) -> Chosen:
        sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        return select_faces(
            detect_clip(detector, frames, exact=exact, everyone=False), sizes, rule="track", min_score=0.9
        )


def difference(points: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(points - others, axis=1).mean())


def eye_distance(landmarks: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(landmarks[1] - landmarks[0])) or 1.0


def jitter(chosen: Chosen) -> list[float]:
    """Of three consecutive frames with a face each: how far the middle one lies from the mean of its neighbours."""
    values = []
    for first, middle, last in zip(chosen, chosen[1:], chosen[2:], strict=False):
        if first and middle and last:
            expected = (first.landmarks + last.landmarks) / 2
            values.append(difference(middle.landmarks, expected) / eye_distance(middle.landmarks))
    return values


def read(reader: FrameReader, path: Path, sampler: Sampler, end: int | None = None) -> Frames:
    batch = reader.read(ReadRequest(str(path), "video", choose=sampler, end_frame=end))
    return [batch.frames[index] for index in sorted(batch.frames)]


def truth_errors(reader: FrameReader, ways: Ways, table: Path) -> dict[str, list[float]]:
    """Five-point error over the true inter-eye distance, by way, over all frames of all rendered clips."""
    rows: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    columns = ("lx", "ly", "rx", "ry", "nx", "ny", "mlx", "mly", "mrx", "mry")
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["clip"]].append(np.array([float(row[name]) for name in columns]).reshape(5, 2))
    errors: dict[str, list[float]] = defaultdict(list)
    for name, points in rows.items():
        frames = read(reader, _rendered(table, name), Sampler("all"))
        for way, chosen in ways.select(frames).items():
            for face, true in zip(chosen, points, strict=True):
                if face is not None:
                    errors[way].append(float(np.linalg.norm(face.landmarks - true, axis=1).mean()) / eye_distance(true))
    return errors


def _rendered(table: Path, name: str) -> Path:
    return next(path for path in (table.parent / name, table.parent / Path(name).name) if path.exists())


def videos_of(paths: Sequence[Path]) -> list[Path]:
    found = [path for given in paths for path in ([given] if given.is_file() else given.rglob("*"))]
    return sorted(path for path in found if path.suffix.lower() in VIDEOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--run", type=int, default=48, help="consecutive frames for the jitter (48)")
    parser.add_argument("--truth", type=Path, help="frames.csv of rendered clips")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ways, totals = Ways(), {"exact": Compared(), "default": Compared()}
    steadiness: dict[str, list[float]] = defaultdict(list)
    with FrameReader() as reader:
        print(HEADER)
        for path in videos_of(arguments.paths):
            try:
                chosen = ways.select(read(reader, path, Sampler("uniform", clip_len=16)))
                consecutive = ways.select(read(reader, path, Sampler("all"), end=arguments.run))
            except FerbenchError as error:
                print(f"{path.name[:34]:34} {error.message}")
                continue
            one = Compared()
            one.add(chosen["default"], chosen["reference"])
            print(one.row(path.name[:34]), flush=True)
            for way, total in totals.items():
                total.add(chosen[way], chosen["reference"])
            for way, faces in consecutive.items():
                steadiness[way] += jitter(faces)
        for way, total in totals.items():
            print(total.row(f"all, {way}"))
        print("\njitter over the inter-eye distance: median, 90th percentile")
        for way, values in steadiness.items():
            print(f"{way:12} {np.median(values):.5f} {np.quantile(values, 0.9):.5f}  ({len(values)} frames)")
        if arguments.truth:
            print("\nfive-point error against the truth: median, 90th percentile")
            for way, values in truth_errors(reader, ways, arguments.truth).items():
                print(f"{way:12} {np.median(values):.4f} {np.quantile(values, 0.9):.4f}  ({len(values)} frames)")


if __name__ == "__main__":
    main()
