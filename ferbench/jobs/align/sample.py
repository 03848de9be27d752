"""One sample through reading, sampling, detection, alignment and writing; and the engine job made of it."""

from __future__ import annotations

import dataclasses
import hashlib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench import remote
from ferbench.alignment import align_clip
from ferbench.alignment.quality import sample_quality
from ferbench.detection import Detector, make_detector
from ferbench.detection.clip import detect_clip
from ferbench.device import choose_device
from ferbench.errors import FaceError, FerbenchError, MediaError, StorageError, UsageError
from ferbench.faces import AlignedFace, Face
from ferbench.jobs.align.boxes import BoxesFile, FrameList, crops_of_boxes
from ferbench.jobs.align.options import ALL, CROPS, FORMATS, AlignOptions
from ferbench.jobs.align.outcome import CropRow, Outcome
from ferbench.jobs.align.packing import staged_place
from ferbench.jobs.align.paths import STATE_FOLDER
from ferbench.jobs.align.persons import align_persons, begin_person, with_persons
from ferbench.media import FrameBatch, FrameReader, ReadRequest, frame_files, media_of
from ferbench.media.files import fetch
from ferbench.media.packs import find_place
from ferbench.sampling import Sampler
from ferbench.storage import sha256_of_file, write_atomically


@dataclass(frozen=True, slots=True)
class AlignTask:
    """One sample to align."""

    sample_id: str
    place: str
    """Absolute path of the video, image or frame folder."""
    source: str
    """The same, relative to the source's root: what is recorded."""
    media: str
    start_frame: int | None
    end_frame: int | None
    crops: str
    """Where the crops go, relative to the output folder: a folder for clips, a file for an image."""
    error: str | None = None
    """Why the sample is already known to be out of reach."""
    rows: tuple[int, int] | None = None
    """With `--from-boxes`: the sample's rows of faces.parquet."""
    found: Outcome | None = None
    """With `--from-boxes`: what is known from finding them."""
    attempt: int = 1
    """Which try of the sample this is."""


@dataclass(frozen=True, slots=True)
class AlignJob:
    """Picklable; `open` makes the worker of a process."""

    out: str
    options: AlignOptions
    device: str
    batch_size: int
    deadline: float
    packed: bool = False
    """Crops are staged for a shard instead of written to their place."""
    boxes: str | None = None
    """Folder of the boxes to make crops from; nothing is detected then."""
    staging: str = "unfinished"
    """Folder below the state folder where crops are written before they are renamed into place."""

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
        self._boxes = BoxesFile(Path(job.boxes)) if job.boxes else None
        self._detector: Detector | None = None
        if self._boxes is None:
            self._detector = make_detector(
                job.options.detector_options(batch_frames=job.batch_size), device=choose_device(job.device)
            )

    def close(self) -> None:
        """End the decoder process, and leave this process's threads as they were."""
        import torch

        self._reader.close()
        torch.set_num_threads(self._threads[0])
        cv2.setNumThreads(self._threads[1])

    def handle(self, task: AlignTask) -> Outcome:
        """Align one sample. A sample that cannot be aligned is an Outcome too; only what stops the job is raised."""
        begun = _begun(task)
        if task.error is not None:
            known = task.found and dataclasses.replace(
                task.found, source=task.source, crops=task.crops, attempt=task.attempt
            )
            return dataclasses.replace(known or begun, status="failed", error=task.error)
        try:
            fetch(task.place, task.media)
            begun = dataclasses.replace(begun, source_bytes=size_of_source(Path(task.place), task.media))
            if task.found is not None:
                return self._cut(task, begun, task.found)
            batch = self._read(task)
            begun = dataclasses.replace(
                begun,
                source_frames=batch.num_frames,
                frames_sampled=len(batch.indices),
                decoder=batch.decoder,
                notes="; ".join(batch.notes) or None,
                sha256=sha256_of_source(Path(task.place), task.media),
            )
            return self._finish(task, begun, batch)
        except (StorageError, UsageError):
            raise
        except FerbenchError as error:
            return dataclasses.replace(begun, status="failed", error=error.as_row())
        except Exception as error:
            # A bug in ours or in a library: this sample's row says so, and the other samples are done.
            return dataclasses.replace(begun, status="failed", error=f"bug: {_place_of(error)}")

    def _cut(self, task: AlignTask, begun: Outcome, found: Outcome) -> Outcome:
        """Crops of boxes that are known."""
        assert self._boxes is not None
        assert task.rows is not None
        rows = self._boxes.rows(*task.rows)
        places = FrameList(tuple(row.frame_index for row in rows))
        batch = self._reader.read(
            ReadRequest(task.place, task.media, choose=places, decoders=self._job.options.decoders)
        )
        sha256 = sha256_of_source(Path(task.place), task.media)
        if sha256 != found.sha256:
            raise MediaError("the source is not the one that the boxes were found in", reason="source-changed")
        faces = crops_of_boxes(batch, rows, self._job.options.crop_options())
        known = dataclasses.replace(
            begun, sha256=sha256, source_frames=found.source_frames, frames_sampled=found.frames_sampled,
            frames_with_face=found.frames_with_face, decoder=found.decoder, notes=found.notes,
        )  # fmt: skip
        return self._written(task, known, places.places, faces)

    def _finish(self, task: AlignTask, begun: Outcome, batch: FrameBatch) -> Outcome:
        options = self._job.options
        if options.faces == ALL:
            return self._finish_persons(task, begun, batch)
        faces = align_clip(
            batch.frames, self._detect(batch), crop=options.crop_options(), select=options.select,
            missing=options.missing, min_score=options.min_score,
        )  # fmt: skip
        return self._written(task, self._counted(begun, batch, faces), batch.indices, faces)

    def _finish_persons(self, task: AlignTask, begun: Outcome, batch: FrameBatch) -> Outcome:
        """Everybody's crops, put in place together, and the outcome that carries theirs."""
        suffix = FORMATS[self._job.options.format] if task.media == "image" else ""
        persons: list[Outcome] = []
        images: dict[str, list[NDArray[np.uint8]]] = {}
        for number, faces in enumerate(align_persons(batch, self._detect(batch), self._job.options), start=1):
            person = begin_person(begun, number, suffix=suffix)
            if isinstance(faces, FaceError):
                persons.append(dataclasses.replace(person, status="failed", error=faces.as_row()))
                continue
            persons.append(_described(self._counted(person, batch, faces), batch.indices, faces))
            images[Path(person.crops).name] = [aligned.image for _, aligned in _kept(batch.indices, faces)]
        if images:
            self._write(task, images)
        return with_persons(task.sample_id, persons)

    def _counted(self, begun: Outcome, batch: FrameBatch, faces: dict[int, AlignedFace]) -> Outcome:
        return dataclasses.replace(
            begun,
            frames_with_face=sum(index in faces and faces[index].origin == "detected" for index in batch.indices),
            notes="; ".join([*batch.notes, *self._notes(batch, faces)]) or None,
        )

    def _written(
        self, task: AlignTask, begun: Outcome, indices: Sequence[int], faces: dict[int, AlignedFace]
    ) -> Outcome:
        """The crops on disk, unless only boxes are kept, and the outcome with its rows."""
        if self._job.options.keep == CROPS:
            self._write(task, {"": [aligned.image for _, aligned in _kept(indices, faces)]})
        return _described(begun, indices, faces)

    def _read(self, task: AlignTask) -> FrameBatch:
        sampler = Sampler("all") if task.media == "image" else self._job.options.frame_sampler()
        request = ReadRequest(
            path=task.place, media=task.media, choose=sampler,
            start_frame=task.start_frame, end_frame=task.end_frame, decoders=self._job.options.decoders,
        )  # fmt: skip
        return self._reader.read(request)

    def _detect(self, batch: FrameBatch) -> dict[int, list[Face]]:
        """All faces by frame index."""
        assert self._detector is not None
        order = sorted(batch.frames)
        frames = [batch.frames[index] for index in order]
        options = self._job.options
        found = detect_clip(self._detector, frames, exact=options.exact, everyone=options.looks_for_everyone())
        return dict(zip(order, found, strict=True))

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

    def _write(self, task: AlignTask, images: Mapping[str, Sequence[NDArray[np.uint8]]]) -> None:
        """Crops by their name below the task's place, all or none; the name "" is the place itself."""
        suffix = FORMATS[self._job.options.format]
        parameters = [cv2.IMWRITE_JPEG_QUALITY, self._job.options.quality] if suffix == ".jpg" else []
        encoded = {name: [_encoded(image, suffix, parameters) for image in own] for name, own in images.items()}
        target = staged_place(self._out, task.crops) if self._job.packed else self._out / task.crops

        def write(temporary: Path) -> None:
            for name, crops in encoded.items():
                place = temporary / name
                if task.media == "image":
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(crops[0])
                    continue
                place.mkdir(parents=True)
                width = max(5, len(str(len(crops))))
                for number, data in enumerate(crops, start=1):
                    (place / f"{number:0{width}d}{suffix}").write_bytes(data)

        write_atomically(target, write, staging=self._out / STATE_FOLDER / self._job.staging)


def _encoded(image: NDArray[np.uint8], suffix: str, parameters: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise MediaError(f"a crop of shape {image.shape} cannot be encoded as {suffix}", reason="encode-failed")
    return data.tobytes()


def _kept(indices: Sequence[int], faces: Mapping[int, AlignedFace]) -> list[tuple[int, AlignedFace]]:
    """The crops in clip order; a frame that the missing-face policy dropped has none."""
    return [(index, faces[index]) for index in indices if index in faces]


def _described(begun: Outcome, indices: Sequence[int], faces: dict[int, AlignedFace]) -> Outcome:
    """The outcome of crops that are made: their number, quality and rows."""
    kept = _kept(indices, faces)
    return dataclasses.replace(
        begun,
        status="ok",
        num_crops=len(kept),
        **dataclasses.asdict(sample_quality(faces, indices)),
        rows=tuple(_crop_row(number, index, aligned) for number, (index, aligned) in enumerate(kept, start=1)),
    )


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


def failed(task: AlignTask, error: FerbenchError) -> Outcome:
    """The outcome of a sample that an engine could not even hand to a worker, or whose worker died."""
    return dataclasses.replace(_begun(task), status="failed", error=error.as_row())


def _begun(task: AlignTask) -> Outcome:
    return Outcome(
        sample_id=task.sample_id,
        status="begun",
        source=task.source,
        crops=task.crops,
        source_start=task.start_frame,
        source_end=task.end_frame,
        attempt=task.attempt,
    )


def _place_of(error: Exception) -> str:
    """`ValueError: the message (module.py:12)`."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def size_of_source(path: Path, media: str) -> int | None:
    """Bytes of a file, or of a frame folder's frames together; None where they cannot be looked at."""
    try:
        if remote.spot_of(path) is not None and find_place(path) is None:
            found = remote.look(path)
            if found is None or found.is_folder != (media == "frames"):
                return None
            return _bytes_of_frames(path) if found.is_folder else found.size
        return sum(file.stat().st_size for file in (frame_files(path) if media == "frames" else [path]))
    except (OSError, MediaError):
        return None


def _bytes_of_frames(folder: Path) -> int:
    """Of a folder in a store, whose files need not be fetched for it."""
    files = remote.files_in(folder)
    return sum(files[name].size for name in files if media_of(Path(name)) == "image" and not name.startswith("."))


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
