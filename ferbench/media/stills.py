"""One image file to RGB pixels, with Pillow."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ferbench.errors import MediaError
from ferbench.media.files import display_name, open_media

MAX_PIXELS = 2**28
"""Largest image read, 268 megapixels (800 MB as RGB): above any camera, below what a small file made to exhaust memory
unpacks to. Pillow's own limit, 179 megapixels, is below today's phones."""

_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "GIF")
"""Formats tried, whatever the name. Pillow knows more, and hands one of them (EPS) to another program."""

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\x00", b"MM\x00*", b"GIF8", b"RIFF", b"P5", b"P6")

_limit = threading.Lock()


def read_still(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB uint8, C-contiguous: the picture as a viewer shows it.

    Turned upright by its EXIF orientation. Transparent pixels lie on white. Grey becomes three equal channels; 16-bit
    grey is v / 257, rounded; 16-bit colour keeps its upper byte. CMYK is converted without a colour profile. 32-bit
    grey is read by its largest value: up to 1 (floats), 255 or 65535. Of an animation or a multi-page file, the first.

    Raises MediaError: `missing-file`, `empty-file`, `unreadable` (permission, device), `not-an-image`, `truncated`
    (also damaged in the middle), `too-large` (over MAX_PIXELS), `unsupported` (32-bit grey with other values).
    """
    name = display_name(path)
    with open_media(path) as file:
        return _pixels(_opened(file, name), name)


def _opened(file: BinaryIO, name: str) -> Image.Image:
    """The image with its header read and its pixels not yet."""
    head = file.read(8)
    try:
        # Pillow's limit is a global and is checked while the header is read: lifted only for that moment.
        with _limit:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(file, formats=_FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError as error:
        if head.startswith(_SIGNATURES):
            raise MediaError(f"{name}: the header is cut short or damaged", reason="truncated") from error
        raise MediaError(f"{name}: no image format that is known here", reason="not-an-image") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MediaError(f"{name}: the header is damaged ({error})", reason="truncated") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise MediaError(f"{name}: {width}x{height} is over {MAX_PIXELS} pixels", reason="too-large")
    return image


def _pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    try:
        image.load()
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MediaError(f"{name}: cut short or damaged ({error})", reason="truncated") from error
    image = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = _eight_bits(np.asarray(image), name)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"), np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # EXIF data that cannot be parsed say nothing about the orientation; the pixels are fine.
        return image


def _eight_bits(values: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """16-bit and 32-bit grey values (H, W) to 0..255."""
    if values.dtype.itemsize == 2:
        ceiling = 65535.0
    else:
        smallest, largest = float(values.min()), float(values.max())
        ceilings = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
        fitting = [ceiling for ceiling in ceilings if smallest >= 0 and largest <= ceiling]
        if not fitting:
            raise MediaError(
                f"{name}: grey values from {smallest:g} to {largest:g}, no rule to show them in 8 bits",
                reason="unsupported",
            )
        ceiling = fitting[0]
    # Half up, the rule that v / 257 rounded means; np.rint would take half to even.
    return np.asarray(np.floor(values.astype(np.float64) * (255.0 / ceiling) + 0.5), np.uint8)
