"""One visit to each sample's files, in worker processes: are they there, how many frames are there, what do they show.

Cheap by default: a file is opened and its first bytes are looked at, a frame folder is listed, and a video's header is
believed where it agrees with the manifest. What disagrees, or does not say, is decoded and counted. Where pictures are
compared, each sample's picture is decoded: an image, or the middle frame of a clip.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.checks.phash import PictureHash, hash_picture
from ferbench.errors import FerbenchError, MediaError, StorageError, UsageError
from ferbench.media import FrameReader, ReadRequest, frame_files
from ferbench.media.containers import look
from ferbench.media.files import open_media
from ferbench.media.stills import read_still
from ferbench.media.video import Span

_IMAGE_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\x00", b"MM\x00*", b"GIF8", b"RIFF", b"P1", b"P2", b"P3", b"P4",
                b"P5", b"P6")  # fmt: skip
_NUMBER = re.compile(r"[0-9]+$")


@dataclass(frozen=True, slots=True)
class ProbeTask:
    """One sample to visit."""

    row: int
    place: str
    """Absolute path."""
    media: str
    start_frame: int | None = None
    end_frame: int | None = None
    num_frames: int | None = None
    """As the manifest declares."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a visit found."""

    row: int
    error: str | None = None
    """`reason: message` where the sample cannot be used."""
    num_frames: int | None = None
    """Frames of the sample that are there; None where nobody counted."""
    total: int | None = None
    """Frames of the whole source, where they were counted or its header was believed."""
    misordered: str | None = None
    """How the names of the frames sort wrongly, in words."""
    gaps: str | None = None
    """Which numbers are missing among the names, in words."""
    digest: bytes = b""
    """SHA-256 of the picture's pixels."""
    picture: PictureHash | None = None
    """None for a flat picture, or where none was wanted."""


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """Picklable; `open` makes the worker of a process. A task is a few samples at once."""

    pictures: bool = False
    count: bool = False
    """Count every video, whatever its header says."""
    decode: bool = False
    """Decode every image too, every frame of a folder included."""
    deadline: float = 60.0

    def open(self) -> ProbeWorker:
        """Make this process's worker."""
        return ProbeWorker(self)


class ProbeWorker:
    """Visits samples; its decoder process starts with the first video that needs one."""

    def __init__(self, job: ProbeJob) -> None:
        import cv2

        self._job = job
        self._threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        self._reader = FrameReader(deadline_seconds=job.deadline)

    def close(self) -> None:
        """End the decoder process, and leave this process's threads as they were."""
        import cv2

        self._reader.close()
        cv2.setNumThreads(self._threads)

    def handle(self, task: Sequence[ProbeTask]) -> list[Probe]:
        """Visit a few samples. One that cannot be read is a Probe with an error."""
        return [self._safely(each) for each in task]

    def _safely(self, task: ProbeTask) -> Probe:
        try:
            return {"image": self._image, "frames": self._frames, "video": self._video}[task.media](task)
        except (UsageError, StorageError):
            raise
        except FerbenchError as error:
            return Probe(task.row, error=error.as_row())
        except Exception as error:
            # A bug in ours or in a library: this sample's finding says so, and the others are visited.
            return Probe(task.row, error=f"bug: {type(error).__name__}: {' '.join(str(error).split())}")

    def _image(self, task: ProbeTask) -> Probe:
        probe = Probe(task.row, num_frames=1, total=1)
        if self._job.pictures or self._job.decode:
            return self._with_picture(probe, read_still(Path(task.place)))
        _assert_image(Path(task.place))
        return probe

    def _frames(self, task: ProbeTask) -> Probe:
        folder = Path(task.place)
        files = frame_files(folder)  # of a pack's sample as well
        if not files:
            raise MediaError(f"{folder.name}: no images in the folder", reason="no-frames")
        span = Span(task.start_frame or 0, task.end_frame)
        length = span.length_within(len(files))
        names = [file.name for file in files]
        probe = Probe(task.row, None, length, len(files), misordered_names(names), gaps_in_names(names))
        middle = files[span.start + length // 2]
        for file in files if self._job.decode else sorted({files[0], files[-1]} - {middle}):
            if self._job.decode:
                read_still(file)
            else:
                _assert_image(file)
        if self._job.pictures:
            return self._with_picture(probe, read_still(middle))
        _assert_image(middle)
        return probe

    def _video(self, task: ProbeTask) -> Probe:
        if not (self._job.pictures or self._job.count or self._job.decode):
            stated = look(task.place)
            if stated.foreign:
                raise MediaError(f"{Path(task.place).name}: not a video but {stated.foreign}", reason="not-a-video")
            if stated.has_index and not stated.cut_short and _agrees(task, stated.num_frames):
                length = None if stated.num_frames is None else _length(task, stated.num_frames)
                return Probe(task.row, num_frames=length, total=stated.num_frames)
        batch = self._reader.read(
            ReadRequest(task.place, "video", Middle(), start_frame=task.start_frame, end_frame=task.end_frame)
        )
        total = batch.num_frames if task.start_frame is None and task.end_frame is None else None
        probe = Probe(task.row, num_frames=batch.num_frames, total=total)
        return self._with_picture(probe, batch.frames[batch.indices[0]])

    def _with_picture(self, probe: Probe, image: NDArray[np.uint8]) -> Probe:
        if not self._job.pictures:
            return probe
        digest = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
        return replace(probe, digest=digest, picture=hash_picture(image))


@dataclass(frozen=True, slots=True)
class Middle:
    """Chooses the middle frame."""

    def indices(self, num_frames: int) -> Sequence[int]:
        """One position."""
        return [num_frames // 2]


def _agrees(task: ProbeTask, stated: int | None) -> bool:
    """Whether the manifest says nothing that a video's header does not confirm."""
    if stated is None:
        return task.num_frames is None and task.end_frame is None
    if (task.start_frame or 0) >= stated or (task.end_frame is not None and task.end_frame > stated):
        return False
    return task.num_frames in (None, _length(task, stated))


def _length(task: ProbeTask, total: int) -> int:
    return Span(task.start_frame or 0, task.end_frame).length_within(total)


def _assert_image(path: Path) -> None:
    """MediaError when a file cannot be opened, is empty, or does not begin as an image does."""
    with open_media(path) as file:
        if not file.read(8).startswith(_IMAGE_HEADS):
            raise MediaError(f"{path.name}: no image format that is known here", reason="not-an-image")


def misordered_names(names: Sequence[str]) -> str | None:
    """How names that are in frame order would come out of order when sorted as text; None when they do not.

    `9.jpg` is before `10.jpg`, and as text behind it. Former-DFER, DFER-CLIP and their successors sort as text
    (dataloader/dataset_DFEW.py: glob, then sort).
    """
    for ours, sorted_as_text in zip(names, sorted(names), strict=True):
        if ours != sorted_as_text:
            return f"sorted as text, {sorted_as_text!r} comes before {ours!r}"
    return None


def gaps_in_names(names: Sequence[str]) -> str | None:
    """Which numbers are missing among names in frame order; None when the step is the same everywhere."""
    found = [_NUMBER.search(Path(name).stem) for name in names]
    numbers = np.array([int(match[0][-18:]) if match else -1 for match in found])
    steps = np.diff(numbers)
    if len(steps) < 2 or (numbers < 0).any() or (steps == steps[0]).all():
        return None
    wide = np.flatnonzero(steps > max(1, int(steps.min())))
    if not len(wide):
        return None
    first = int(wide[0])
    more = f", and at {len(wide) - 1} more places" if len(wide) > 1 else ""
    return f"the numbers jump from {names[first]!r} to {names[first + 1]!r}{more}"


class Probes:
    """What was found in every sample's files, as columns over the manifest's rows."""

    def __init__(self, rows: int, *, pictures: bool = False) -> None:
        self.errors: dict[int, str] = {}
        self.misordered: dict[int, str] = {}
        self.gaps: dict[int, str] = {}
        self.num_frames = np.full(rows, -1, np.int64)
        """-1: not counted."""
        self.total = np.full(rows, -1, np.int64)
        size = rows if pictures else 0
        self.has_picture = np.zeros(size, bool)
        self.digests = np.zeros(size, "S32")
        self.bits = np.zeros(size, np.uint64)
        self.shapes = np.zeros((size, 63), np.int8)

    def put(self, probe: Probe) -> None:
        """Keep one."""
        row = probe.row
        for kept, value in ((self.errors, probe.error), (self.misordered, probe.misordered), (self.gaps, probe.gaps)):
            if value is not None:
                kept[row] = value
        for column, number in ((self.num_frames, probe.num_frames), (self.total, probe.total)):
            if number is not None:
                column[row] = number
        if probe.picture is not None:
            self.has_picture[row] = True
            # As hexadecimal text: numpy's byte strings lose zeros at their end. Half of it is more than enough.
            self.digests[row] = probe.digest.hex()[:32].encode()
            self.bits[row] = probe.picture.bits
            self.shapes[row] = np.frombuffer(probe.picture.shape, np.int8)
