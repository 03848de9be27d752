from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ferbench.errors import MediaError
from ferbench.media.stills import MAX_PIXELS, read_still

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def grey16(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], np.uint16))


def test_pixels_are_rgb_and_contiguous(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)

    pixels = read_still(save(tmp_path / "a.png", image))

    assert pixels.tolist() == [[list(RED), list(BLUE)]]
    assert (pixels.dtype, pixels.flags.c_contiguous, pixels.flags.writeable) == (np.uint8, True, True)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm", ".jpg"])
def test_every_format_is_read_whatever_its_name_says(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", Image.new("RGB", (24, 16), (200, 100, 50)))
    renamed = path.rename(tmp_path / "misnamed.png")

    pixels = read_still(renamed)

    assert pixels.shape == (16, 24, 3)
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 3  # JPEG and WebP are lossy


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = RED
    upright[16:, :24] = GREEN
    upright[:16, 24:] = BLUE
    # How a camera stores the upright picture, by EXIF tag 274.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    for suffix in (".png", ".tif"):
        path = save(tmp_path / f"a{suffix}", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)

        assert np.array_equal(read_still(path), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_leaves_the_picture_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (8, 8), RED), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")

    assert read_still(path).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (1, 1), (255, 0, 0, 255)), RED),
        (Image.new("RGBA", (1, 1), (255, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 128)), (127, 127, 127)),
        (Image.new("LA", (1, 1), (0, 0)), WHITE),
        (Image.new("LA", (1, 1), (40, 255)), (40, 40, 40)),
        (Image.new("L", (1, 1), 77), (77, 77, 77)),
        (Image.new("1", (1, 1), 1), WHITE),
    ],
)
def test_transparent_pixels_lie_on_white_and_grey_has_three_channels(
    tmp_path: Path, image: Image.Image, expected: tuple[int, int, int]
) -> None:
    assert read_still(save(tmp_path / "a.png", image)).tolist() == [[list(expected)]]


def test_a_transparent_palette_colour_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)

    assert read_still(save(tmp_path / "a.png", image, transparency=0)).tolist() == [[list(WHITE), list(BLUE)]]
    assert read_still(save(tmp_path / "b.png", image)).tolist() == [[list(RED), list(BLUE)]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_grey_is_divided_by_257_and_rounded(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", grey16(0, 128, 129, 257, 32768, 65535))

    pixels = read_still(path)

    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 2])


def test_16_bit_grey_is_turned_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 3

    assert read_still(save(tmp_path / "a.png", grey16(0, 65535), exif=exif))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 1.5, 255.0]], np.float32), [0, 2, 255]),
        (np.array([[0, 65535]], np.int32), [0, 255]),
        (np.array([[0, 200]], np.int32), [0, 200]),
    ],
)
def test_32_bit_grey_is_read_by_its_largest_value(tmp_path: Path, values: Any, expected: list[int]) -> None:
    assert read_still(save(tmp_path / "a.tif", Image.fromarray(values)))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("values", [[[-1.0, 1.0]], [[0.0, 1e9]], [[0.0, float("nan")]]])
def test_32_bit_grey_outside_every_rule_is_an_error(tmp_path: Path, values: list[list[float]]) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.array(values, np.float32)))

    with pytest.raises(MediaError, match="no rule to show them in 8 bits") as caught:
        read_still(path)
    assert caught.value.reason == "unsupported"


def test_cmyk_is_converted(tmp_path: Path) -> None:
    pixels = read_still(save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=100))

    assert np.abs(pixels.astype(int) - RED).max() <= 3


def test_of_an_animation_the_first_picture_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)]
    path = save(tmp_path / "a.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True)

    assert read_still(path)[0, 0].tolist() == list(RED)


def broken(path: Path, kind: str) -> Path:
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = save(path.with_suffix(f".{kind.split()[0]}"), Image.fromarray(photo))
    data = whole.read_bytes()
    whole.write_bytes(data[: 20 if "header" in kind else len(data) // 2])
    return whole


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "webp", "tif", "ppm", "jpg header", "png header"])
def test_an_image_cut_short_is_truncated(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path / "cut", kind)

    with pytest.raises(MediaError, match=f"^{path.name}: ") as caught:
        read_still(path)
    assert caught.value.reason == "truncated"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty-file"), (b"no picture at all", "not-an-image"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not-an-image")],
)
def test_a_file_that_is_no_image_says_so(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)

    with pytest.raises(MediaError) as caught:
        read_still(path)
    assert caught.value.reason == reason


def test_a_missing_file_and_one_that_cannot_be_opened_say_so(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    for name, reason in (("gone.png", "missing-file"), ("loop.png", "unreadable"), ("folder.png", "unreadable")):
        with pytest.raises(MediaError, match=f"^{name}: ") as caught:
            read_still(tmp_path / name)
        assert caught.value.reason == reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (1, 1)))
    path.chmod(0)

    with pytest.raises(MediaError, match="Permission denied") as caught:
        read_still(path)
    assert caught.value.reason == "unreadable"


def png_of_size(path: Path, width: int, height: int) -> Path:
    """A PNG whose header states a size, and whose pixels are a few bytes."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    path.write_bytes(data)
    return path


def test_an_image_made_to_exhaust_memory_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="65536x65536 is over") as caught:
        read_still(png_of_size(tmp_path / "bomb.png", 65536, 65536))
    assert caught.value.reason == "too-large"


@pytest.mark.filterwarnings("error")
def test_large_camera_pictures_pass_without_a_warning_and_pillows_limit_stays(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    # 200 megapixels, over Pillow's limit; the file holds no pixels, so reading gets as far as those.
    path = png_of_size(tmp_path / "phone.png", 16320, 12240)

    assert MAX_PIXELS > 16320 * 12240
    with pytest.raises(MediaError) as caught:
        read_still(path)
    assert caught.value.reason == "truncated"
    assert limit == Image.MAX_IMAGE_PIXELS


def test_threads_may_read_at_once(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    path = save(tmp_path / "a.png", Image.new("RGB", (64, 64), GREEN))
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.extend((read_still(path) == GREEN).all() for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [True] * 160
    assert limit == Image.MAX_IMAGE_PIXELS
