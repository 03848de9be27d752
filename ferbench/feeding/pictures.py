"""Frames of a sample as training reads them: the pixels of `ferbench.media`, JPEG files by the quicker decoder."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench import remote
from ferbench.errors import MediaError
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameChooser, FrameReader, ReadRequest
from ferbench.media.files import display_name
from ferbench.media.kinds import frame_file_names
from ferbench.media.packs import find_place, picture_bytes
from ferbench.media.stills import MAX_PIXELS, read_still
from ferbench.media.video import assert_fits, choose_frames

Frame = NDArray[np.uint8]
"""(H, W, 3) RGB uint8."""


def read_sample_frames(manifest: Manifest, sample: Sample, choose: FrameChooser, reader: FrameReader) -> list[Frame]:
    """The frames that `choose` asks for, in its order; a frame asked for twice is there twice. Raises MediaError.

    Videos go through the killable `reader`.
    """
    path = manifest.path_of(sample)
    request = ReadRequest(str(path), sample.media, choose, sample.start_frame, sample.end_frame)
    if sample.media == "video":
        batch = reader.read(request)
        return [batch.frames[index] for index in batch.indices]
    names = [""] if sample.media == "image" else frame_file_names(path)
    if not names:
        raise MediaError(f"{display_name(path)}: no images in the folder", reason="no-frames")
    span = request.span()
    try:
        indices = choose_frames(choose, span.length_within(len(names)), span.start)
    except MediaError as error:
        raise MediaError(f"{display_name(path)}: {error.message}", reason=error.reason) from error
    try:
        return read_pictures([os.path.join(path, names[index]) if names[index] else str(path) for index in indices])
    except MediaError as error:
        if sample.media == "image":
            raise
        raise MediaError(f"{display_name(path)}/{error.message}", reason=error.reason) from error


def read_pictures(paths: Sequence[str]) -> list[Frame]:
    """One picture each; each file is read once. Raises MediaError."""
    read: dict[str, Frame] = {}
    for path in paths:
        if path not in read:
            read[path] = read_picture(path)
            assert_fits(len(paths), read[path])
    return [read[path] for path in paths]


def read_picture(path: str) -> Frame:
    """The pixels of `ferbench.media.stills.read_still`, which reads whatever is not a plain whole JPEG file."""
    data = _bytes_of(path)
    if data is not None and _is_plain_jpeg(data):
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if decoded is not None:
            return np.asarray(decoded, np.uint8)
    return read_still(Path(path))


def _bytes_of(path: str) -> bytes | None:
    """The file's bytes; None where it cannot be read, of which `read_still` says why."""
    try:
        place = find_place(path)
        if place is not None:
            return picture_bytes(place)
        remote.ensure(path)
        # A pipe would wait for somebody to write to it.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (OSError, MediaError):
        return None


def _is_plain_jpeg(data: bytes) -> bool:
    """Whole, of three components (or one), and without an EXIF block, which may say that the picture lies on its side."""
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9":
        return False
    place = 2
    while place + 9 < len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):  # start of frame: precision, height, width, components
            height, width = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
            return data[place + 4] == 8 and data[place + 9] in (1, 3) and height * width <= MAX_PIXELS
        if marker == 0xE1:  # EXIF
            return False
        place += 2 + length
    return False
