"""Frames of a sample as training reads them: the pixels of `ferbench.media`, JPEG files by the quicker decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ferbench.errors import MediaError
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameChooser, FrameReader, ReadRequest, frame_files
from ferbench.media.files import display_name, open_media
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
    files = [path] if sample.media == "image" else frame_files(path)
    if not files:
        raise MediaError(f"{display_name(path)}: no images in the folder", reason="no-frames")
    span = request.span()
    try:
        indices = choose_frames(choose, span.length_within(len(files)), span.start)
    except MediaError as error:
        raise MediaError(f"{display_name(path)}: {error.message}", reason=error.reason) from error
    try:
        return read_pictures([files[index] for index in indices])
    except MediaError as error:
        if sample.media == "image":
            raise
        raise MediaError(f"{display_name(path)}/{error.message}", reason=error.reason) from error


def read_pictures(paths: Sequence[Path]) -> list[Frame]:
    """One picture each; each file is read once. Raises MediaError."""
    read: dict[Path, Frame] = {}
    for path in paths:
        if path not in read:
            read[path] = read_picture(path)
            assert_fits(len(paths), read[path])
    return [read[path] for path in paths]


def read_picture(path: Path) -> Frame:
    """The pixels of `ferbench.media.stills.read_still`, which reads whatever is not a plain whole JPEG file."""
    with open_media(path) as file:
        data = file.read()
    if _is_plain_jpeg(data):
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if decoded is not None:
            return np.asarray(decoded, np.uint8)
    return read_still(path)


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
        if marker == 0xE1 or marker == 0xEE:  # EXIF; Adobe's colour transform
            return False
        place += 2 + length
    return False
