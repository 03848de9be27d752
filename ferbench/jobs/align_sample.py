"""One sample through reading, sampling, detection, alignment and writing; and the engine job made of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench.alignment import align_clip
from ferbench.detection import Detector, make_detector
from ferbench.device import choose_device
from ferbench.errors import FerbenchError, MediaError, StorageError
from ferbench.faces import AlignedFace
from ferbench.jobs.align_options import FORMATS, AlignOptions
from ferbench.media import FrameBatch, FrameReader, ReadRequest, frame_files
from ferbench.sampling import Sampler
from ferbench.storage import sha256_of_file, write_atomically

STATE_FOLDER = ".ferbench"
"""In the output folder while a job is unfinished: its journal, and crops that are being written."""


@dataclass(frozen=True, slots=True)
class AlignTask:
    """One sample to align; paths are absolute or relative to the output folder, as said."""

    sample_id: str
    source: str
    """Absolute path of the video, image or frame folder."""
    media: str
    start_frame: int | None
    end_frame: int | None
    crops: str
    """Where the crops go, relative to the output folder: a folder for clips, a file for an image."""
    error: str | None = None
    """Why the sample is already known to be out of reach."""


@dataclass(frozen=True, slots=True)
class CropRow:
    """One written crop: a row of faces.parquet."""

    crop: int
    """1-based, the number in the file name."""
    frame_index: int
    """0-based in the source."""
    origin: str
    """`detected`, `nearest`, `interpolated` or `full-frame`."""
    score: float | None
    box: tuple[float, ...] | None
    """x0, y0, x1, y1 in source pixels."""
    landmarks: tuple[float, ...] | None
    """x, y of left eye, right eye, nose, left mouth, right mouth in source pixels."""
    matrix: tuple[float, ...]
    """2x3, row by row: source pixels to crop pixels."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CropRow:
        """From plain values, as JSON and parquet give them."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sample: a line of the journal, a row of the aligned manifest."""

    sample_id: str
    status: str
    error: str | None = None
    source_frames: int | None = None
    """Frames the source really has in the sample's range."""
    frames_sampled: int = 0
    frames_with_face: int = 0
    decoder: str | None = None
    notes: str | None = None
    sha256: str | None = None
    rows: tuple[CropRow, ...] = ()

    def as_line(self) -> str:
        """One line of JSON; floats keep every bit."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Outcome:
        """Read `as_line`'s form."""
        values = json.loads(line)
        rows = tuple(CropRow.from_dict(row) for row in values.pop("rows"))
        return cls(**values, rows=rows)


@dataclass(frozen=True, slots=True)
class AlignJob:
    """Picklable; `open` makes the worker of a process."""

    out: str
    options: AlignOptions
    device: str
    batch_size: int
    deadline: float

    def open(self) -> AlignWorker:
        """Start this process's decoder and load its detector."""
        return AlignWorker(self)


class AlignWorker:
    """One process's reader and detector, warm between samples."""

    def __init__(self, job: AlignJob) -> None:
        import torch

        self._job = job
        self._out = Path(job.out)
        # One thread per process: as fast as one process per core gets, and the same sums on every machine.
        self._threads = torch.get_num_threads(), cv2.getNumThreads()
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._reader = FrameReader(deadline_seconds=job.deadline)
        self._detector: Detector = make_detector(
            job.options.detector_options(batch_frames=job.batch_size), device=choose_device(job.device)
        )

    def close(self) -> None:
        """End the decoder process, and leave this process's threads as they were."""
        import torch

        self._reader.close()
        torch.set_num_threads(self._threads[0])
        cv2.setNumThreads(self._threads[1])

    def handle(self, task: AlignTask) -> Outcome:
        """Align one sample. A sample that cannot be aligned is an Outcome too; only a StorageError leaves."""
        if task.error is not None:
            return Outcome(task.sample_id, "failed", error=task.error)
        batch: FrameBatch | None = None
        digest = None
        try:
            batch = self._read(task)
            digest = sha256_of_source(Path(task.source), task.media)
            faces = self._align(batch)
        except StorageError:
            raise
        except FerbenchError as error:
            return Outcome(
                task.sample_id, "failed", error=error.as_row(), sha256=digest,
                source_frames=batch.num_frames if batch else None,
                frames_sampled=len(batch.indices) if batch else 0,
                decoder=batch.decoder if batch else None,
                notes="; ".join(batch.notes) or None if batch else None,
            )  # fmt: skip
        kept = [(index, faces[index]) for index in batch.indices if index in faces]
        self._write(task, [aligned.image for _, aligned in kept])
        found = {index for index, aligned in kept if aligned.origin == "detected"}
        return Outcome(
            task.sample_id, "ok", sha256=digest,
            source_frames=batch.num_frames,
            frames_sampled=len(batch.indices),
            frames_with_face=sum(index in found for index in batch.indices),
            decoder=batch.decoder,
            notes="; ".join([*batch.notes, *self._notes(batch, faces)]) or None,
            rows=tuple(_crop_row(number, index, aligned) for number, (index, aligned) in enumerate(kept, start=1)),
        )  # fmt: skip

    def _read(self, task: AlignTask) -> FrameBatch:
        sampler = Sampler("all") if task.media == "image" else self._job.options.frame_sampler()
        request = ReadRequest(
            path=task.source, media=task.media, choose=sampler,
            start_frame=task.start_frame, end_frame=task.end_frame, decoders=self._job.options.decoders,
        )  # fmt: skip
        return self._reader.read(request)

    def _align(self, batch: FrameBatch) -> dict[int, AlignedFace]:
        """Crops by frame index; a frame that the missing-face policy drops is absent."""
        order = sorted(batch.frames)
        detected = dict(zip(order, self._detector.detect([batch.frames[index] for index in order]), strict=True))
        options = self._job.options
        return align_clip(
            batch.frames, detected, crop=options.crop_options(), select=options.select, missing=options.missing,
            min_score=options.min_score,
        )  # fmt: skip

    def _notes(self, batch: FrameBatch, faces: dict[int, AlignedFace]) -> list[str]:
        notes = []
        sampler = self._job.options.frame_sampler()
        if batch.decoder != "stills" and sampler.mode != "all" and batch.num_frames < sampler.clip_len:
            notes.append(f"short clip: {batch.num_frames} frames for {sampler.clip_len}, policy {sampler.short}")
        missing = sum(index not in faces or faces[index].origin != "detected" for index in batch.frames)
        if missing:
            policy = self._job.options.missing
            notes.append(f"no face in {missing} of {len(batch.frames)} frames, policy {policy}")
        return notes

    def _write(self, task: AlignTask, images: list[NDArray[np.uint8]]) -> None:
        suffix = FORMATS[self._job.options.format]
        parameters = [cv2.IMWRITE_JPEG_QUALITY, self._job.options.quality] if suffix == ".jpg" else []
        encoded = [_encoded(image, suffix, parameters) for image in images]
        target = self._out / task.crops

        def write(temporary: Path) -> None:
            if task.media == "image":
                temporary.write_bytes(encoded[0])
                return
            temporary.mkdir(parents=True)
            width = max(5, len(str(len(encoded))))
            for number, data in enumerate(encoded, start=1):
                (temporary / f"{number:0{width}d}{suffix}").write_bytes(data)

        write_atomically(target, write, staging=self._out / STATE_FOLDER / "unfinished")


def _encoded(image: NDArray[np.uint8], suffix: str, parameters: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise MediaError(f"a crop of shape {image.shape} cannot be encoded as {suffix}", reason="encode-failed")
    return data.tobytes()


def _crop_row(number: int, index: int, aligned: AlignedFace) -> CropRow:
    face = aligned.face
    return CropRow(
        crop=number,
        frame_index=index,
        origin=aligned.origin,
        score=None if face is None else float(face.score),
        box=None if face is None else tuple(float(value) for value in face.box),
        landmarks=None if face is None else tuple(float(value) for value in face.landmarks.reshape(-1)),
        matrix=tuple(float(value) for value in aligned.matrix.reshape(-1)),
    )


def sha256_of_source(path: Path, media: str) -> str:
    """Of a file's bytes; of a frame folder, the hash over its frames' names and hashes in frame order."""
    try:
        if media != "frames":
            return sha256_of_file(path)
        digest = hashlib.sha256()
        for file in frame_files(path):
            digest.update(f"{file.name}\0{sha256_of_file(file)}\n".encode())
        return digest.hexdigest()
    except OSError as error:
        raise MediaError(f"cannot be read for its hash ({error.strerror})", reason="unreadable") from error
