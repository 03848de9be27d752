"""What a video file's own header says: its container, its frame count, whether the file is all there. No decoding.

Decoders guess where a header is silent and keep quiet where it lies; this is the statement the honest count is held
against. Only structure is read, a few hundred bytes by seeking, whatever the size of the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ferbench.media.files import open_media

_MAX_BOXES = 100_000
"""Boxes looked at per level: two days of one-second fragments, but an end to a file made of tiny ones."""

_SIGNATURES = (
    (0, b"FLV", "flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"OggS", "ogg"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x00\x00\x01\xb3", "mpeg"),
    (0, b"\x47", "mpeg-ts"),
    (4, b"\x47", "mpeg-ts"),  # m2ts: four bytes of arrival time before each packet
)

_FOREIGN = (
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive"),
)


@dataclass(frozen=True, slots=True)
class Container:
    """The statements of one file about itself. None: it does not say."""

    kind: str | None
    """`mp4` (and mov, 3gp), `avi`, `matroska` (and webm), `flv`, `asf`, `ogg`, `mpeg`, `mpeg-ts`."""
    num_frames: int | None = None
    """Frames of the only video track."""
    has_video: bool | None = None
    cut_short: bool = False
    """The container reaches beyond the end of the file: an unfinished copy or recording."""
    has_index: bool = True
    """False for an mp4 without its `moov` box, which no decoder can read."""
    foreign: str | None = None
    """What the file is instead, when it plainly is no video."""


def look(path: str) -> Container:
    """Read the header of a file. Raises MediaError: `missing-file`, `empty-file`, `unreadable`."""
    with open_media(path) as file:
        return _look(file, os.fstat(file.fileno()).st_size)


def _look(file: BinaryIO, size: int) -> Container:
    head = file.read(512)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"):
        return _look_mp4(file, size)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _look_avi(file, size)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _look_matroska(head, size)
    for offset, signature, foreign in _FOREIGN:
        if head[offset:].startswith(signature):
            return Container(None, foreign=foreign)
    # Text is refused before any decoder sees it: FFmpeg would follow a playlist to the files that it names.
    if _is_text(head):
        return Container(None, foreign="text")
    for offset, signature, kind in _SIGNATURES:
        if head[offset:].startswith(signature):
            return Container(kind)
    return Container(None)


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else it is only a character that the 512 bytes cut in two
            return False
    return all(byte >= 32 or byte in b"\t\n\r\x0c\x1b" for byte in head)


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    """Of the payload."""
    end: int


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """The boxes of an mp4 between two offsets; the end of the last may lie beyond."""
    for _ in range(_MAX_BOXES):
        header = _read(file, start, 16) if start + 8 <= end else b""
        if len(header) < 8:
            return
        size, kind = struct.unpack(">I4s", header[:8])
        payload = start + 8
        if size == 1 and len(header) == 16:
            size, payload = struct.unpack(">Q", header[8:])[0], start + 16
        elif size == 0:
            size = end - start
        if size < payload - start:
            return
        yield _Box(kind, payload, start + size)
        start += size


def _look_mp4(file: BinaryIO, size: int) -> Container:
    top = list(_boxes(file, 0, size))
    cut_short = any(box.end > size for box in top if box.kind in (b"mdat", b"moov", b"moof"))
    moov = next((box for box in top if box.kind == b"moov"), None)
    if moov is None or moov.end > size:
        return Container("mp4", cut_short=cut_short, has_index=False)
    inside = list(_boxes(file, moov.start, moov.end))
    tracks = [box for box in inside if box.kind == b"trak"]
    videos = [_num_samples(file, box) for box in tracks if _is_video(file, box)]
    # A fragmented file keeps its counts in the fragments; with several video tracks it is open which one is meant.
    is_plain = len(videos) == 1 and not any(box.kind == b"mvex" for box in inside)
    return Container(
        "mp4", num_frames=videos[0] if is_plain else None, has_video=bool(videos) if tracks else None,
        cut_short=cut_short,
    )  # fmt: skip


def _is_video(file: BinaryIO, track: _Box) -> bool:
    handler = _descendant(file, track, b"mdia", b"hdlr")
    return handler is not None and _read(file, handler.start + 8, 4) == b"vide"


def _num_samples(file: BinaryIO, track: _Box) -> int | None:
    tables = [_descendant(file, track, b"mdia", b"minf", b"stbl", kind) for kind in (b"stsz", b"stz2")]
    for table in filter(None, tables):
        count = _read(file, table.start + 8, 4)
        if len(count) == 4:
            return int.from_bytes(count, "big")
    return None


def _descendant(file: BinaryIO, parent: _Box, *kinds: bytes) -> _Box | None:
    box: _Box | None = parent
    for kind in kinds:
        if box is not None:
            inside = _boxes(file, box.start, min(box.end, parent.end))
            box = next((child for child in inside if child.kind == kind), None)
    return box


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _look_avi(file: BinaryIO, size: int) -> Container:
    cut_short = int.from_bytes(_read(file, 4, 4), "little") + 8 > size
    videos: list[int] = []
    # RIFF AVI > LIST hdrl > LIST strl > strh: walked flat, stepping into lists, until the frames begin.
    offset = 12
    for _ in range(_MAX_BOXES):
        header = _read(file, offset, 12)
        if len(header) < 12 or header[8:12] == b"movi":
            break
        kind, length = struct.unpack("<4sI", header[:8])
        if kind == b"strh" and header[8:12] == b"vids":
            # fccType .. dwStart are 32 bytes, then dwLength.
            videos.append(int.from_bytes(_read(file, offset + 8 + 32, 4), "little"))
        offset += 12 if kind == b"LIST" else 8 + length + length % 2
    # A recorder that never finished leaves the count 0.
    count = videos[0] if len(videos) == 1 and videos[0] else None
    return Container("avi", num_frames=count, has_video=bool(videos) or None, cut_short=cut_short)


def _look_matroska(head: bytes, size: int) -> Container:
    """EBML header, then the segment, whose size is all ones while it is being recorded."""
    length, used = _vint(head, 4)
    segment = 4 + used + length
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return Container("matroska")
    length, used = _vint(head, segment + 4)
    is_open = length == (1 << 7 * used) - 1
    return Container("matroska", cut_short=not is_open and segment + 4 + used + length > size)


def _vint(data: bytes, offset: int) -> tuple[int, int]:
    """An EBML number and the bytes it takes: as many as its first byte has leading zeros, and one."""
    if offset >= len(data) or data[offset] == 0:
        return 0, 1
    used = 9 - data[offset].bit_length()
    return int.from_bytes(data[offset : offset + used], "big") & ((1 << 7 * used) - 1), used
