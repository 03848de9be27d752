from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ferbench.errors import MediaError
from ferbench.media import FoundMedia, find_media, frame_files, looks_like_frames, media_of


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(
    ("name", "media"),
    [
        ("clip.mp4", "video"),
        ("CLIP.AVI", "video"),
        ("a.b.webm", "video"),
        ("face.JPG", "image"),
        ("scan.tiff", "image"),
        ("labels.csv", None),
        ("mp4", None),
        (".mp4", None),
        ("missing folder", None),
    ],
)
def test_a_name_says_what_a_file_is(tmp_path: Path, name: str, media: str | None) -> None:
    assert media_of(tmp_path / name) == media


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["00001.jpg", "00002.jpg"], True),
        (["1.png", "2.png", "10.png"], True),
        (["00001_00001.jpg", "00001_00002.jpg"], True),
        (["frame-12.png", "frame-13.png"], True),
        (["frame_000.png", "frame_001.png", "notes.txt"], True),
        (["img001.jpg", "img002.JPG"], True),
        (["001.jpg", "002.jpg", "._001.jpg", ".DS_Store", "Thumbs.db"], True),
        (["00001.jpg"], False),
        (["anna.jpg", "bert.jpg"], False),
        (["anna1.jpg", "bert2.jpg"], False),
        (["001.jpg", "002.jpg", "cover.jpg"], False),
        (["test_0001_aligned.jpg", "test_0002_aligned.jpg"], False),
        (["1.txt", "2.txt"], False),
        ([], False),
    ],
)
def test_frames_are_images_numbered_after_one_prefix(tmp_path: Path, names: list[str], expected: bool) -> None:
    touch(tmp_path, *names)

    assert looks_like_frames(tmp_path) is expected
    assert media_of(tmp_path) == ("frames" if expected else None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10.jpg", "9.jpg", "1.jpg"], ["1.jpg", "9.jpg", "10.jpg"]),
        (["0010.jpg", "0009.jpg", "0100.jpg"], ["0009.jpg", "0010.jpg", "0100.jpg"]),
        (["f_2.png", "f_10.png", "f_1.png"], ["f_1.png", "f_2.png", "f_10.png"]),
        (["00001_12.jpg", "00001_2.jpg"], ["00001_2.jpg", "00001_12.jpg"]),
        (["01.jpg", "1.jpg", "2.jpg"], ["01.jpg", "1.jpg", "2.jpg"]),
        (["b.jpg", "a.jpg", "c2.jpg", "c1.jpg"], ["a.jpg", "b.jpg", "c1.jpg", "c2.jpg"]),
        (["2.jpg", "1.jpg", "._1.jpg", ".hidden.png", "Thumbs.db", "1.txt"], ["1.jpg", "2.jpg"]),
    ],
)
def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    touch(tmp_path, *names)

    assert [file.name for file in frame_files(tmp_path)] == expected


def test_a_missing_frame_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="gone: no such folder") as caught:
        frame_files(tmp_path / "gone")
    assert caught.value.reason == "missing-file"


def test_a_folder_tree_gives_each_video_image_and_frame_folder_once(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.mp4", "a.jpg", "notes.txt", ".hidden.mp4", "__MACOSX/b.mp4", ".git/c.mp4", "sub dir/ünï cödé.MOV",
        "clip/001.jpg", "clip/002.jpg", "clip/sound.mp4", "clip/deep/x.png", "empty/readme.txt",
    )  # fmt: skip

    assert find_media(tmp_path) == [
        FoundMedia("a.jpg", "image"),
        FoundMedia("b.mp4", "video"),
        FoundMedia("clip", "frames"),
        FoundMedia("clip/deep/x.png", "image"),
        FoundMedia("clip/sound.mp4", "video"),
        FoundMedia("sub dir/ünï cödé.MOV", "video"),
    ]


def test_a_frame_folder_itself_is_found_as_one(tmp_path: Path) -> None:
    assert find_media(touch(tmp_path, "1.png", "2.png")) == [FoundMedia(".", "frames")]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "real/clip.mp4")
    outside = touch(tmp_path / "outside", "far.mp4")
    (root / "again").symlink_to(root / "real")
    (root / "real" / "loop").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "linked").symlink_to(outside)
    (root / "linked too").symlink_to(outside)
    (root / "dangling.mp4").symlink_to(tmp_path / "nowhere.mp4")

    assert [item.path for item in find_media(root)] == ["dangling.mp4", "linked/far.mp4", "real/clip.mp4"]


def test_pipes_and_sockets_are_no_media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")

        assert find_media(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "locked/b.mp4")
    (tmp_path / "locked").chmod(0)
    try:
        found = find_media(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)

    assert found == [
        FoundMedia("a.mp4", "video"),
        FoundMedia("locked", "frames", "unreadable: the folder cannot be listed (Permission denied)"),
    ]


def test_a_folder_that_vanishes_or_cannot_be_opened_at_the_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="gone: no such folder"):
        find_media(tmp_path / "gone")
    with pytest.raises(MediaError, match="the folder cannot be listed") as caught:
        find_media(touch(tmp_path, "file.mp4") / "file.mp4")
    assert caught.value.reason == "unreadable"


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_not_utf8_is_listed_with_an_error(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")

    assert find_media(tmp_path) == [
        FoundMedia("caf\ufffd.mp4", "video", "unreadable: the name is not valid UTF-8; rename it")
    ]
