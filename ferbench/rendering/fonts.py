"""The font of every picture: DejaVu Sans as it comes with matplotlib, so that no system font is needed or used."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from ferbench.rendering.wording import plain


def font_path(*, bold: bool = False) -> Path:
    """The TTF file."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text of this size, in the unit of the size."""
    return float(_measuring(bold).getlength(drawable(text))) * size / _MEASURED_SIZE


_MEASURED_SIZE = 200


@lru_cache(maxsize=2)
def _measuring(bold: bool) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(str(font_path(bold=bold)), _MEASURED_SIZE)


def font(size: float, *, bold: bool = False) -> Any:
    """The font as matplotlib takes it, `size` in points."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=str(font_path(bold=bold)), size=size)


def drawable(text: str) -> str:
    """The text with every character the font lacks written as `\\u8868`: an id in any script stays tellable."""
    return "".join(character if _has_glyph(character) else _escape(character) for character in plain(text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


@lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    return bool(_charmap().get_char_index(ord(character)))


@lru_cache(maxsize=1)
def _charmap() -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(font_path()))
