"""The contact sheet: one picture that shows at a glance whether the faces of an align job are faces.

demo: 12 of 345 samples shown · 3 failed · recipe 0123456789ab
[]  no face in this frame: landmarks of the nearest frame that has one
-------------------------------------------------------------------------
sample id            [crop] [crop] [crop] [crop] [crop] [crop] [crop] [crop]
happy
12 of 16 frames with a face
-------------------------------------------------------------------------
sample id            no-face: no face found in any of the 16 frames
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ferbench.manifest import Manifest
from ferbench.rendering.fonts import drawable, font_path
from ferbench.rendering.samples import (
    MOST_CROPS,
    TILE_HEIGHT_PX,
    SampleRow,
    Selection,
    origin_mark,
    select_samples,
    tile,
)
from ferbench.rendering.wording import counted
from ferbench.storage import write_bytes

MARGIN_PX, GAP_PX, ROW_GAP_PX = 16, 4, 10
TEXT_WIDTH_PX = 280
FRAME_PX = 3
LINE_HEIGHT = 1.3
WHITE, INK, GREY, RULE, RED = "#ffffff", "#1a1a1a", "#5f6368", "#e3e3e3", "#b3261e"


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    font: ImageFont.FreeTypeFont
    colour: str

    @property
    def height(self) -> int:
        return round(self.font.size * LINE_HEIGHT)


class _Fonts:
    """The three faces of type on a sheet. The basic layout engine, which every Pillow has: the same pixels everywhere."""

    def __init__(self) -> None:
        basic = ImageFont.Layout.BASIC
        self.title = ImageFont.truetype(str(font_path(bold=True)), 18, layout_engine=basic)
        self.name = ImageFont.truetype(str(font_path(bold=True)), 14, layout_engine=basic)
        self.text = ImageFont.truetype(str(font_path()), 13, layout_engine=basic)


def contact_sheet(manifest: Manifest, *, most: int = 60) -> NDArray[np.uint8]:
    """A row per sample: its id, class and reading on the left, then up to eight crops. (height, width, 3) RGB.

    A failed sample is a row with its reason. Of more than `most` samples the failed ones come first, up to half the
    rows; the rest are evenly spread over the manifest.
    """
    selection = select_samples(manifest, most=most)
    fonts = _Fonts()
    tiles = [[_framed(tile(crop), crop.origin) for crop in row.crops] for row in selection.rows]
    crops_width = max([MOST_CROPS * (TILE_HEIGHT_PX + GAP_PX), *(_strip_width(strip) for strip in tiles)])
    width = TEXT_WIDTH_PX + crops_width + 3 * MARGIN_PX
    texts = [_row_lines(row, fonts) for row in selection.rows]
    reasons = [_reason_lines(row, fonts, crops_width) for row in selection.rows]
    heights = [
        max(TILE_HEIGHT_PX if strip else 0, _height(text), _height(reason))
        for strip, text, reason in zip(tiles, texts, reasons, strict=True)
    ]
    title = _wrapped(_title(manifest, selection), fonts.title, width - 2 * MARGIN_PX, INK, most_lines=2)
    top = MARGIN_PX + _height(title) + ROW_GAP_PX // 2
    legend_height = len(selection.origins) * round(fonts.text.size * 1.6)
    sheet = Image.new("RGB", (width, top + legend_height + sum(heights) + (2 * len(heights) + 1) * ROW_GAP_PX), WHITE)
    draw = ImageDraw.Draw(sheet)
    _write(draw, title, MARGIN_PX, MARGIN_PX)
    _write_legend(draw, selection.origins, fonts, top)
    top += legend_height
    for strip, text, reason, height in zip(tiles, texts, reasons, heights, strict=True):
        draw.line([(MARGIN_PX, top + ROW_GAP_PX // 2), (width - MARGIN_PX, top + ROW_GAP_PX // 2)], fill=RULE)
        top += ROW_GAP_PX + ROW_GAP_PX // 2
        _write(draw, text, MARGIN_PX, top)
        left = TEXT_WIDTH_PX + 2 * MARGIN_PX
        _write(draw, reason, left, top)
        for image in strip:
            sheet.paste(image, (left, top))
            left += image.width + GAP_PX
        top += height + ROW_GAP_PX // 2
    return np.asarray(sheet, dtype=np.uint8)


def write_contact_sheet(manifest: Manifest, path: Path) -> None:
    """Write the sheet as JPEG, atomically; the same manifest and crops give the same bytes."""
    buffer = io.BytesIO()
    # Full colour resolution: halved, it blurs the red text and the thin frames.
    Image.fromarray(contact_sheet(manifest)).save(buffer, "JPEG", quality=88, subsampling=0)
    write_bytes(path, buffer.getvalue())


def _title(manifest: Manifest, selection: Selection) -> str:
    shown = len(selection.rows)
    parts = [f"{manifest.name}: {counted(selection.total, 'sample')}"]
    if shown < selection.total:
        parts = [f"{manifest.name}: {shown:,} of {counted(selection.total, 'sample')} shown"]
    if selection.failed:
        missing = selection.failed_shown < selection.failed
        parts.append(
            f"{selection.failed:,} failed" + (f", {selection.failed_shown:,} of them shown" if missing else "")
        )
    if manifest.recipe is not None:
        parts.append(f"recipe {manifest.recipe.id}")
    return " · ".join(parts)


def _row_lines(row: SampleRow, fonts: _Fonts) -> list[_Line]:
    name = _fitted(drawable(row.sample_id), fonts.name, TEXT_WIDTH_PX)
    lines = [_Line(name, fonts.name, INK)]
    if row.class_name is not None:
        lines.append(_Line(_fitted(drawable(row.class_name), fonts.text, TEXT_WIDTH_PX), fonts.text, INK))
    if row.frames and row.error is None:
        lines.append(_Line(row.frames, fonts.text, GREY))
    if row.notes:
        lines += _wrapped(row.notes, fonts.text, TEXT_WIDTH_PX, GREY, most_lines=3)
    return lines


def _reason_lines(row: SampleRow, fonts: _Fonts, width: int) -> list[_Line]:
    return [] if row.error is None else _wrapped(row.error, fonts.text, width, RED, most_lines=4)


def _write(draw: ImageDraw.ImageDraw, lines: list[_Line], left: int, top: int) -> None:
    for line in lines:
        draw.text((left, top), line.text, font=line.font, fill=line.colour)
        top += line.height


def _write_legend(draw: ImageDraw.ImageDraw, origins: list[str], fonts: _Fonts, top: int) -> None:
    for origin in origins:
        colour, meaning = origin_mark(origin)
        draw.rectangle([MARGIN_PX, top + 1, MARGIN_PX + 15, top + 16], outline=colour, width=FRAME_PX)
        draw.text((MARGIN_PX + 24, top + 1), drawable(meaning), font=fonts.text, fill=GREY)
        top += round(fonts.text.size * 1.6)


def _framed(image: Image.Image, origin: str) -> Image.Image:
    if origin != "detected":
        box = [0, 0, image.width - 1, image.height - 1]
        ImageDraw.Draw(image).rectangle(box, outline=origin_mark(origin)[0], width=FRAME_PX)
    return image


def _strip_width(strip: list[Image.Image]) -> int:
    return sum(image.width + GAP_PX for image in strip)


def _height(lines: list[_Line]) -> int:
    return sum(line.height for line in lines)


# --- text that fits ----------------------------------------------------------------------------------------------------


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text, its middle elided until it is at most `width` pixels wide."""
    head, tail = (len(text) + 1) // 2, len(text) // 2
    fitted = text
    while font.getlength(fitted) > width and tail:
        head, tail = (head - 1, tail) if head > tail else (head, tail - 1)
        fitted = f"{text[:head]}…{text[len(text) - tail :]}"
    return fitted


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont, width: int, colour: str, *, most_lines: int
) -> list[_Line]:  # fmt: skip
    """The text in lines of at most `width` pixels; words too long for a line are elided, as is what is too much."""
    lines = [""]
    for word in drawable(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_fitted(word, font, width))
    lines = [line for line in lines if line]
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], _fitted(" ".join(lines[most_lines - 1 :]), font, width)]
    return [_Line(line, font, colour) for line in lines]
