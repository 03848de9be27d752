"""ReadRequest to FrameBatch: one source, the frames chosen from it, and what there is to know about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import MediaError, UsageError
from ferbench.media.containers import Container, look
from ferbench.media.files import display_name, fetch
from ferbench.media.kinds import frame_files
from ferbench.media.sweep import DecodeFailure
from ferbench.media.video import FrameChooser, Span, assert_fits, choose_frames, read_video

STILLS = "stills"
"""The decoder of images and frame folders."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Which frames of which source."""

    path: str
    """Absolute."""
    media: str
    """`image`, `video` or `frames` (a folder of numbered images)."""
    choose: FrameChooser
    start_frame: int | None = None
    """First frame of the range to choose from, 0-based; None is 0."""
    end_frame: int | None = None
    """Half-open end of the range; None is the end of the source."""
    decoders: tuple[str, ...] = ("decord", "opencv")
    """For videos: tried in this order. Names of `ferbench.media.video.DECODERS`, or "package.module:function"."""

    def attempts(self) -> tuple[str, ...]:
        """The decoders to try."""
        if self.media not in ("image", "video", "frames"):
            raise UsageError(f"media is image, video or frames, not {self.media!r}")
        return self.decoders if self.media == "video" else (STILLS,)

    def span(self) -> Span:
        """The range. Raises MediaError `bad-range` when it is empty."""
        return Span(self.start_frame or 0, self.end_frame)


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """The frames of one request."""

    indices: tuple[int, ...]
    """The chosen frames in clip order, 0-based in the source; duplicates are kept."""
    frames: dict[int, NDArray[np.uint8]]
    """Each chosen frame once, by index: (H, W, 3) RGB uint8, C-contiguous. Sizes may differ in a frame folder."""
    num_frames: int
    """Frames in the requested range that really are there."""
    decoder: str
    """`decord`, `opencv` or `stills`."""
    notes: tuple[str, ...] = ()
    """Sentences for people: a container that lied, a decoder that gave up, a range that was cut."""

    def __repr__(self) -> str:
        shapes = sorted({frame.shape for frame in self.frames.values()})
        return (
            f"FrameBatch({len(self.indices)} indices, {len(self.frames)} frames {shapes}, "
            f"num_frames={self.num_frames}, decoder={self.decoder!r}, notes={self.notes!r})"
        )


def read_frames(request: ReadRequest) -> FrameBatch:
    """Read in this process: for images, frame folders, and videos that are known to be harmless.

    A decoder that hangs or crashes takes the process with it; `FrameReader` reads the same in processes of its own.
    Raises MediaError with one of the reasons `missing-file`, `empty-file`, `unreadable`, `not-a-video`,
    `not-an-image`, `no-frames`, `truncated`, `bad-range`, `decode-failed`, `too-large`, `unsupported`.
    """
    return read_with(request, attempt)


def read_with(request: ReadRequest, attempt: Callable[[ReadRequest, str], FrameBatch]) -> FrameBatch:
    """Try the request's decoders in turn; failures of the first ones are notes on what the next one read."""
    # Texts, not the exceptions: those would keep this frame, and decoders, in a cycle until it is collected.
    failures: list[str] = []
    reason = ""
    decoders = request.attempts()
    fetch(request.path, request.media)
    for decoder in decoders:
        try:
            batch = attempt(request, decoder)
        except DecodeFailure as failure:
            failures.append(failure.message)
            reason = failure.reason
            continue
        past = tuple(f"{failure}: read with {decoder}" for failure in failures)
        return FrameBatch(batch.indices, batch.frames, batch.num_frames, batch.decoder, past + batch.notes)
    if not failures:
        raise UsageError("a video needs at least one decoder")
    raise MediaError(f"{display_name(request.path)}: {'; '.join(failures)}", reason=reason)


def attempt(request: ReadRequest, decoder: str, *, tick: Callable[[], None] = lambda: None) -> FrameBatch:
    """One decoder's try. `tick` is called while it makes progress.

    Raises DecodeFailure when another decoder may do better; its message is a sentence that names the decoder.
    """
    try:
        if request.media == "video":
            return _read_video(request, decoder, tick)
        return _read_stills(request, tick)
    except MediaError as error:
        if error.reason == "bad-range" and not isinstance(error, DecodeFailure):
            raise MediaError(f"{display_name(request.path)}: {error.message}", reason="bad-range") from error
        raise


def _read_stills(request: ReadRequest, tick: Callable[[], None]) -> FrameBatch:
    from ferbench.media.stills import read_still

    path = Path(request.path)
    files = [path] if request.media == "image" else frame_files(path)
    if not files:
        raise MediaError(f"{display_name(request.path)}: no images in the folder", reason="no-frames")
    span = request.span()
    num_frames = span.length_within(len(files))
    indices = choose_frames(request.choose, num_frames, span.start)
    frames = {}
    for index in sorted(set(indices)):
        try:
            frames[index] = read_still(files[index])
        except MediaError as error:
            if request.media == "image":
                raise
            raise MediaError(f"{display_name(request.path)}/{error.message}", reason=error.reason) from error
        assert_fits(len(set(indices)), frames[index])
        tick()
    return FrameBatch(indices, frames, num_frames, STILLS, tuple(_cut_note(span, len(files))))


def _read_video(request: ReadRequest, decoder: str, tick: Callable[[], None]) -> FrameBatch:
    container = look(request.path)
    if container.foreign:
        raise _not_a_video(request.path, container.foreign)
    span = request.span()
    try:
        video = read_video(request.path, request.choose, span, decoder=decoder, tick=tick)
    except DecodeFailure as failure:
        _raise_if_hopeless(request.path, container)
        reason = failure.reason if container.kind else "not-a-video"
        reason = "truncated" if container.cut_short else reason
        raise DecodeFailure(f"{decoder} failed ({failure.message})", reason=reason) from failure
    notes = []
    if container.num_frames is not None and video.total is not None and container.num_frames != video.total:
        notes.append(f"container says {container.num_frames} frames, {video.total} decode")
    if container.cut_short:
        notes.append("the file is cut short: its container reaches beyond its end")
    if video.total is not None:
        notes += _cut_note(span, video.total)
    return FrameBatch(video.indices, video.frames, video.num_frames, decoder, tuple(notes))


def _raise_if_hopeless(path: str, container: Container) -> None:
    """MediaError where the header shows that no decoder can succeed."""
    name = display_name(path)
    if not container.has_index:
        raise MediaError(f"{name}: cut short, its index (the moov box) is not there", reason="truncated")
    if container.has_video is False:
        raise _not_a_video(path, "a file without a video track")
    if container.num_frames == 0:
        raise MediaError(f"{name}: its video track holds no frames", reason="no-frames")


def _not_a_video(path: str, what: str) -> MediaError:
    return MediaError(f"{display_name(path)}: not a video but {what}", reason="not-a-video")


def _cut_note(span: Span, total: int) -> list[str]:
    if span.end is None or span.end <= total:
        return []
    return [f"the range {span} was cut: there are {total} frames"]
