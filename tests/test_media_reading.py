from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_fixtures import (
    DEMO_MEDIA,
    All,
    Fixed,
    Spread,
    cut,
    index_of,
    patched,
    picture,
    with_edit_list,
    write_sound_only,
    write_video,
)
from PIL import Image

from ferbench.errors import MediaError, UsageError
from ferbench.media import FrameBatch, ReadRequest, read_frames
from ferbench.media.containers import Container, look


def read(path: Path, media: str = "video", choose: Any = All(), **options: Any) -> FrameBatch:  # noqa: B008
    return read_frames(ReadRequest(str(path), media, choose, **options))


def reason_of(path: Path, media: str = "video", **options: Any) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        read(path, media, **options)
    assert str(path.parent) not in caught.value.message
    return caught.value.reason, caught.value.message


def write_frames(folder: Path, names: Sequence[str]) -> Path:
    """Frame i, in the order of names, shows i."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(picture(index)).save(folder / name)
    return folder


# Sources that cannot be read


@pytest.mark.parametrize(
    ("write", "reason", "message"),
    [
        (lambda path: None, "missing-file", "clip.mp4: no such file"),
        (lambda path: path.touch(), "empty-file", "clip.mp4: the file is empty"),
        (lambda path: path.mkdir(), "unreadable", "clip.mp4: not a file"),
        (os.mkfifo, "unreadable", "clip.mp4: not a file"),
        (lambda path: path.symlink_to(path), "unreadable", "Too many levels of symbolic links"),
        (lambda path: path.write_text("héllo\n" * 200), "not-a-video", "clip.mp4: not a video but text"),
        (lambda path: path.write_text("#EXTM3U\n/etc/passwd\n"), "not-a-video", "clip.mp4: not a video but text"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0"), "not-a-video", "clip.mp4: not a video but a PNG image"),
        (lambda path: path.write_bytes(bytes(range(256)) * 40), "not-a-video", "opencv failed"),
        (write_sound_only, "not-a-video", "clip.mp4: not a video but a file without a video track"),
        (lambda path: cut(write_video(path), 0.6), "truncated", "its index (the moov box) is not there"),
        (lambda path: cut(write_video(path, muxer={"movflags": "faststart"}), 0.2), "truncated", "its index"),
        (lambda path: cut(write_video(path.with_suffix(".avi"), codec="mpeg4"), 0.1).rename(path), "truncated", "failed"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_read_says_why(
    tmp_path: Path, write: Callable[[Path], object], reason: str, message: str
) -> None:
    path = tmp_path / "clip.mp4"
    write(path)

    found_reason, found_message = reason_of(path)

    assert found_reason == reason
    assert message in found_message


def test_a_video_track_without_frames_says_so(tmp_path: Path) -> None:
    def no_samples(data: bytearray) -> None:
        for table, count in ((b"stsz", 8), (b"stts", 4), (b"stsc", 4), (b"stco", 4)):
            struct.pack_into(">I", data, data.index(table) + 4 + count, 0)

    path = patched(write_video(tmp_path / "clip.mp4", frames=3), no_samples)

    assert reason_of(path) == ("no-frames", "clip.mp4: its video track holds no frames")


def test_damage_in_the_middle_ends_the_video_there(tmp_path: Path) -> None:
    def damage(data: bytearray) -> None:
        middle = len(data) // 2
        data[middle : middle + len(data) // 20] = bytes(len(data) // 20)

    path = patched(write_video(tmp_path / "clip.mp4", frames=100, muxer={"movflags": "faststart"}), damage)

    batch = read(path)

    assert 10 < batch.num_frames < 90
    assert index_of(batch.frames[5]) == 5
    assert batch.decoder == "opencv"
    assert batch.notes[-1] == f"container says 100 frames, {batch.num_frames} decode"


@pytest.mark.parametrize(
    "name", ["ünï cödé.mp4", "with  spaces & 'quotes'.mp4", "per%03d cent.mp4", "日本語.avi", "-.mp4"]
)
@pytest.mark.parametrize("decoder", ["decord", "opencv"])
def test_any_name_is_read(tmp_path: Path, name: str, decoder: str) -> None:
    path = write_video(tmp_path / "földer : 1" / name, frames=3) if (tmp_path / "földer : 1").mkdir() is None else None
    assert path is not None

    batch = read(path, decoders=(decoder,))

    assert [index_of(frame) for frame in batch.frames.values()] == [0, 1, 2]


@pytest.mark.parametrize("decoder", ["decord", "opencv"])
def test_a_name_that_is_not_utf8_is_read(tmp_path: Path, decoder: str) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    try:
        write_video(tmp_path / "plain.mp4", frames=3).rename(path)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")

    batch = read(path, decoders=(decoder,))

    assert [index_of(frame) for frame in batch.frames.values()] == [0, 1, 2]
    assert reason_of(path.with_suffix(".gone")) == ("missing-file", "caf\ufffd.gone: no such file")


# Ranges and choices


@pytest.mark.parametrize("media", ["video", "frames"])
def test_a_range_is_counted_and_cut_at_the_end(tmp_path: Path, media: str) -> None:
    if media == "video":
        path = write_video(tmp_path / "clip.mp4", frames=20)
    else:
        path = write_frames(tmp_path / "clip", [f"{index}.png" for index in range(20)])

    assert read(path, media, start_frame=5).num_frames == 15
    assert read(path, media, end_frame=5).indices == (0, 1, 2, 3, 4)
    inside = read(path, media, Fixed((0, 9, 0)), start_frame=5, end_frame=15)
    assert (inside.indices, inside.num_frames, inside.notes) == ((5, 14, 5), 10, ())
    assert [index_of(inside.frames[index]) for index in inside.indices] == [5, 14, 5]
    beyond = read(path, media, Fixed((99,)), start_frame=5, end_frame=100)
    assert (beyond.indices, beyond.num_frames) == ((19,), 15)
    assert beyond.notes == ("the range [5, 100) was cut: there are 20 frames",)


@pytest.mark.parametrize("media", ["video", "frames", "image"])
def test_a_range_that_cannot_be_is_an_error(tmp_path: Path, media: str) -> None:
    path = tmp_path / "source"
    if media == "video":
        write_video(tmp_path / "source.mp4", frames=1).rename(path)
    elif media == "frames":
        write_frames(path, ["1.png"])
    else:
        Image.fromarray(picture(0)).save(path, format="png")

    beyond = "source: the range [1, end) starts beyond the end: there are 1 frames"
    assert reason_of(path, media, start_frame=1) == ("bad-range", beyond)
    assert reason_of(path, media, start_frame=3, end_frame=3)[0] == "bad-range"
    assert reason_of(path, media, start_frame=-1)[0] == "bad-range"
    assert read(path, media, start_frame=0, end_frame=1).num_frames == 1


def test_a_range_beyond_the_honest_end_of_a_lying_container_is_an_error(tmp_path: Path) -> None:
    path = with_edit_list(write_video(tmp_path / "clip.mp4"), 5)  # says 40, holds 35

    assert reason_of(path, start_frame=36) == (
        "bad-range", "clip.mp4: the range [36, end) starts beyond the end: there are 35 frames",
    )  # fmt: skip
    assert read(path, start_frame=30, end_frame=38).indices == (30, 31, 32, 33, 34)


class Recording:
    """Remembers the counts it is asked for."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def indices(self, num_frames: int) -> Sequence[int]:
        self.counts.append(num_frames)
        return [num_frames - 1]


def test_the_chooser_is_asked_again_when_the_expected_count_was_wrong(tmp_path: Path) -> None:
    lying, honest = Recording(), Recording()

    read(with_edit_list(write_video(tmp_path / "lying.mp4"), 5), "video", lying, decoders=("opencv",))
    read(write_video(tmp_path / "honest.mp4"), "video", honest)

    assert lying.counts == [40, 35]
    assert honest.counts == [40]


class AtMost:
    """Refuses long videos, as a sampler refuses short ones."""

    def __init__(self, count: int) -> None:
        self.count = count

    def indices(self, num_frames: int) -> Sequence[int]:
        if num_frames > self.count:
            raise MediaError(f"{num_frames} frames", reason="too-long")
        return [0]


def test_a_chooser_may_refuse_the_honest_count_and_only_that(tmp_path: Path) -> None:
    path = with_edit_list(write_video(tmp_path / "clip.mp4"), 5)  # says 40, holds 35

    assert read(path, "video", AtMost(35)).indices == (0,)
    assert reason_of(path, "video", choose=AtMost(34)) == ("too-long", "35 frames")


@pytest.mark.parametrize("media", ["video", "frames"])
def test_an_empty_choice_and_one_out_of_bounds_are_errors(tmp_path: Path, media: str) -> None:
    class Choice(list[int]):
        def indices(self, num_frames: int) -> Sequence[int]:
            return self

    if media == "video":
        path = write_video(tmp_path / "clip.mp4", frames=3)
    else:
        path = write_frames(tmp_path / "clip", ["1.png", "2.png", "3.png"])

    assert reason_of(path, media, choose=Choice())[0] == "no-frames"
    for positions in ([3], [-1, 0]):
        with pytest.raises(ValueError, match="were chosen of 3 frames"):
            read(path, media, Choice(positions))


def test_media_and_decoders_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="media is image, video or frames, not 'movie'"):
        read(tmp_path / "clip.mp4", "movie")
    with pytest.raises(UsageError, match="at least one decoder"):
        read(tmp_path / "clip.mp4", decoders=())


# Stills and frame folders


def test_an_image_is_one_frame(tmp_path: Path) -> None:
    Image.fromarray(picture(9)).save(tmp_path / "face.png")

    batch = read(tmp_path / "face.png", "image", Fixed((0, 0)))

    assert (batch.indices, batch.num_frames, batch.decoder, batch.notes) == ((0, 0), 1, "stills", ())
    assert np.array_equal(batch.frames[0], picture(9))


def test_a_frame_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "clip", [f"frame_{number}.png" for number in range(8, 13)])
    (path / "._frame_8.png").write_bytes(b"junk of a file manager")

    batch = read(path, "frames", Spread(5))

    assert batch.num_frames == 5
    assert [index_of(batch.frames[index]) for index in batch.indices] == [0, 1, 2, 3, 4]


def test_a_frame_that_cannot_be_read_matters_only_when_it_was_chosen(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "clip", ["1.png", "2.png", "3.png"])
    (path / "2.png").write_bytes(b"")

    assert read(path, "frames", Fixed((0, 2))).indices == (0, 2)
    assert reason_of(path, "frames") == ("empty-file", "clip/2.png: the file is empty")


def test_folders_without_frames_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert reason_of(tmp_path / "empty", "frames") == ("no-frames", "empty: no images in the folder")
    assert reason_of(tmp_path / "gone", "frames")[0] == "missing-file"


@pytest.mark.parametrize("media", ["video", "frames"])
def test_more_frames_than_memory_allows_are_refused_with_the_way_out(
    tmp_path: Path, media: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:05d}.png" for number in range(8)]
    path = write_frames(tmp_path / "f", names) if media == "frames" else write_video(tmp_path / "v.mp4", frames=8)
    size = picture(0).nbytes
    monkeypatch.setattr("ferbench.media.video.MAX_BYTES", 8 * size)
    assert len(read(path, media).frames) == 8
    monkeypatch.setattr("ferbench.media.video.MAX_BYTES", 8 * size - 1)
    assert len(read(path, media, Fixed((0, 0, 1, 1, 2, 3, 4, 5))).frames) == 6  # a frame counts once
    reason, message = reason_of(path, media)
    assert reason == "too-large"
    assert "8 frames of" in message
    assert "sample fewer, or cut the video into ranges" in message


def test_a_batch_is_shown_by_its_shapes(tmp_path: Path) -> None:
    batch = read(write_video(tmp_path / "clip.mp4", frames=3), "video", Fixed((0, 2, 2)))

    assert repr(batch) == ("FrameBatch(3 indices, 2 frames [(120, 160, 3)], num_frames=3, decoder='decord', notes=())")


# What containers say


@pytest.mark.parametrize(
    ("name", "video", "expected"),
    [
        ("a.mp4", {}, Container("mp4", num_frames=40, has_video=True)),
        ("a.mov", {"sound": True}, Container("mp4", num_frames=40, has_video=True)),
        ("a.avi", {"codec": "mpeg4"}, Container("avi", num_frames=40, has_video=True)),
        ("a.mkv", {}, Container("matroska")),
        ("a.webm", {"codec": "libvpx"}, Container("matroska")),
        ("a.ts", {}, Container("mpeg-ts")),
        ("a.mpg", {"codec": "mpeg2video"}, Container("mpeg")),
        ("a.flv", {}, Container("flv")),
        ("a.wmv", {"codec": "wmv2"}, Container("asf")),
    ],
)
def test_a_header_says_its_kind_and_count(
    tmp_path: Path, name: str, video: dict[str, Any], expected: Container
) -> None:
    assert look(str(write_video(tmp_path / name, **video))) == expected


def test_a_fragmented_file_makes_no_statement_about_its_count(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", muxer={"movflags": "frag_keyframe+empty_moov"})

    assert look(str(path)) == Container("mp4", has_video=True)


def test_headers_cut_anywhere_are_looked_at_without_a_crash(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")):
        data = write_video(tmp_path / name, frames=2, codec=codec, muxer={}).read_bytes()
        for length in [*range(1, 600, 5), *range(600, len(data), 197)]:
            (tmp_path / "cut").write_bytes(data[:length])

            look(str(tmp_path / "cut"))


def test_damaged_headers_are_looked_at_without_a_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, codec in (("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")):
        muxer = {"movflags": "faststart"} if name == "a.mp4" else {}
        data = write_video(tmp_path / name, frames=2, codec=codec, muxer=muxer).read_bytes()[:2000]
        for _ in range(120):
            damaged = np.frombuffer(data, np.uint8).copy()
            damaged[rng.integers(8, len(data), 4)] = rng.choice(np.array([0, 1, 127, 255, 0x6D], np.uint8), 4)
            (tmp_path / "damaged").write_bytes(damaged.tobytes())

            look(str(tmp_path / "damaged"))


def test_boxes_of_an_impossible_size_are_looked_at_without_a_crash(tmp_path: Path) -> None:
    huge = struct.pack(">I4sQ", 1, b"mdia", 2**64 - 1)
    track = struct.pack(">I4s", 8 + 2 * len(huge), b"trak") + huge * 2
    (tmp_path / "a").write_bytes(struct.pack(">I4s", 8 + len(track), b"moov") + track)

    assert look(str(tmp_path / "a")) == Container("mp4", has_video=False)


def test_the_demo_container_says_98() -> None:
    assert look(str(DEMO_MEDIA / "pyfeat__no_face.mp4")) == Container("mp4", num_frames=98, has_video=True)
