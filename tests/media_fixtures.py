"""Test media, written with PyAV, and decoders that misbehave. Every frame shows its own index, so it can be named."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ferbench.media.opencv_sweep import OpenCVSweep
from ferbench.media.sweep import Sweep

av.logging.set_level(None)

DEMO_MEDIA = Path(__file__).parents[1] / "manifests" / "demo" / "media"

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class All:
    """Chooses every frame."""

    def indices(self, num_frames: int) -> Sequence[int]:
        return range(num_frames)


@dataclass(frozen=True)
class Fixed:
    """Chooses these positions, whatever the count; those beyond it become the last one."""

    positions: tuple[int, ...]

    def indices(self, num_frames: int) -> Sequence[int]:
        return [min(position, num_frames - 1) for position in self.positions]


@dataclass(frozen=True)
class Spread:
    """The middles of `count` equal parts, as segment samplers choose."""

    count: int

    def indices(self, num_frames: int) -> Sequence[int]:
        return [(2 * part + 1) * num_frames // (2 * self.count) for part in range(self.count)]


# Pictures: a grid of 4 x 4 black and white cells. The first row says which way is up, the others are 12 bits.


def picture(index: int, width: int = 160, height: int = 120) -> Image:
    """(height, width, 3) RGB showing `index`, with some colour so that channel order matters."""
    cells = np.zeros((4, 4), np.uint8)
    cells[0, 0] = 1
    for bit in range(12):
        cells[1 + bit // 4, bit % 4] = index >> bit & 1
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    grey = cells[rows][:, columns] * np.uint8(200) + np.uint8(20)
    image = np.repeat(grey[:, :, None], 3, axis=2)
    image[:, :, 0] += np.uint8(30)
    return image


def index_of(image: Image) -> int:
    """The index a picture shows, after any coding and scaling; -1 when it is not upright."""
    height, width = image.shape[:2]
    middles = [
        [int(image[height * (2 * row + 1) // 8, width * (2 * column + 1) // 8].mean() > 128) for column in range(4)]
        for row in range(4)
    ]
    if middles[0] != [1, 0, 0, 0]:
        return -1
    return sum(middles[1 + bit // 4][bit % 4] << bit for bit in range(12))


def write_video(
    path: Path,
    *,
    frames: int = 40,
    size: tuple[int, int] = (160, 120),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    milliseconds: Sequence[int] | None = None,
    muxer: dict[str, str] | None = None,
    sound: bool = False,
    show: Callable[[int], int] = lambda index: index,
) -> Path:
    """Frame i shows `show(i)`. `milliseconds` are presentation times for a variable rate; else 25 frames a second."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if milliseconds:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        audio: Any = container.add_stream("aac", rate=8000) if sound else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(show(index), *size), format="rgb24")
            if milliseconds:
                frame.pts, frame.time_base = milliseconds[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            silence.rate = 8000
            container.mux(audio.encode(silence))
            container.mux(audio.encode())
    return path


def write_one_picture(path: Path) -> Path:
    """30 frames that are the same to the last bit."""
    return write_video(path, frames=30, codec="libx264rgb", pix_fmt="rgb24", options={"qp": "0"}, show=lambda index: 7)


def write_changing_size(path: Path, codec: str, sizes: Sequence[tuple[int, int]], each: int = 20) -> Path:
    """One stream whose frames change their size on the way, as browsers record it."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuv420p"
        for part, (width, height) in enumerate(sizes):
            encoder: Any = av.CodecContext.create(codec, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), 25
            packets = []
            for index in range(part * each, part * each + each):
                frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in packets + encoder.encode():
                packet.stream = stream
                container.mux(packet)
    return path


def write_sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def sequential(path: Path) -> list[Image]:
    """The truth: every frame PyAV decodes, in order, up to the first packet it cannot decode."""
    frames: list[Image] = []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1  # with more, damaged frames come out differently each time
        try:
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24"))
        except av.error.InvalidDataError:
            pass
    return frames


# Files that lie: bytes changed in place.


def patched(path: Path, change: Callable[[bytearray], object]) -> Path:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first part of a file, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def turned(path: Path, degrees: int) -> Path:
    """Set the display matrix of an mp4: a viewer turns the pictures clockwise by `degrees`."""
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)

    def change(data: bytearray) -> None:
        start = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
        data[start : start + 36] = matrix

    return patched(path, change)


def with_edit_list(path: Path, first_frame: int) -> Path:
    """Make an mp4's edit list begin at a later frame, as phones do when they trim: earlier packets stay in the file."""

    def change(data: bytearray) -> None:
        entry = data.index(b"elst") + 4 + 8  # version, flags and the number of entries
        (media_time,) = struct.unpack_from(">i", data, entry + 4)
        (scale,) = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 12)
        struct.pack_into(">i", data, entry + 4, media_time + first_frame * scale // 25)

    return patched(path, change)


def with_avi_count(path: Path, count: int) -> Path:
    """Make an AVI state another number of frames."""

    def change(data: bytearray) -> None:
        struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, count)
        struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, count)

    return patched(path, change)


# Decoders that misbehave, for `ReadRequest.decoders`. They run in real child processes.


def hang(path: str, *, bounded: bool) -> Sweep:
    """Never answers, and holds Python's lock meanwhile, as decoders written in C can. Leaves its process id."""
    Path(path + ".pid").write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(3600)
    raise AssertionError


def die(path: str, *, bounded: bool) -> Sweep:
    """Crashes."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def leave(path: str, *, bounded: bool) -> Sweep:
    """Ends its process without a crash."""
    os._exit(3)


def noisy(path: str, *, bounded: bool) -> Sweep:
    """Writes to stdout and stderr as native libraries do, then reads."""
    os.write(1, b"chatter on stdout\n")
    os.write(2, b"chatter on stderr\n")
    return OpenCVSweep(path, bounded=bounded)


class Slow(OpenCVSweep):
    """Takes its time, and does go on."""

    def skip(self, count: int) -> int:
        time.sleep(0.22)
        return super().skip(count)

    def read(self) -> Image | None:
        time.sleep(0.03)
        return super().read()


class Stalling(OpenCVSweep):
    """Hangs half way."""

    def skip(self, count: int) -> int:
        time.sleep(0 if self._position < 64 else 3600)
        return super().skip(count)


def tell_process(path: str, *, bounded: bool) -> Sweep:
    """Fails, saying which process it is and whether the caller's modules are in it."""
    main = sys.modules["__main__"]
    raise RuntimeError(f"pid {os.getpid()}, torch {'torch' in sys.modules}, main {hasattr(main, 'IN_MAIN')}")


HANG, DIE, LEAVE, NOISY, SLOW, STALLING, TELL = (
    f"{__name__}:{part.__name__}" for part in (hang, die, leave, noisy, Slow, Stalling, tell_process)
)
