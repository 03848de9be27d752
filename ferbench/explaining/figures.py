"""What the figures share: type, colours, and saving as PNG and PDF so that the same picture is the same bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from ferbench.rendering.fonts import drawable, font_path
from ferbench.rendering.wording import elided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, RULE, PAPER = "#1a1a1a", "#5f6368", "#dfe3e8", "#ffffff"
RIGHT, WRONG = "#0b6e4f", "#b3420a"
"""Green and vermilion that colour-blind readers tell apart by lightness too; a mark says the same without colour."""
RIGHT_MARK, WRONG_MARK = "\u2713", "\u2717"
DPI = 200
MARGIN = 0.12
"""Inches around a figure."""

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's colours (2008) without their yellow, which is lost on white."""
MARKERS = ("o", "^", "s", "D", "v", "P", "X")

HEAT = "inferno"
"""matplotlib's: lightness rises evenly, so that it reads the same in grey and to colour-blind eyes. Not jet."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One figure's two files."""

    png: bytes
    pdf: bytes


def mark_of(label: int) -> tuple[str, str]:
    """Colour and marker of a class: 49 pairs, colours first."""
    return PALETTE[label % len(PALETTE)], MARKERS[label // len(PALETTE) % len(MARKERS)]


def font(size: float, *, bold: bool = False) -> Any:
    """The font of every picture, in points."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=str(font_path(bold=bold)), size=size)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure whose coordinates are inches from the top left corner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def write(
    axes: Axes, x: float, y: float, text: str, *, within: float, size: float = 7, colour: str = INK, bold: bool = False,
    across: str = "left",
) -> None:  # fmt: skip
    """One line of text of at most `within` inches: longer text is set up to a fifth smaller, then loses its middle.

    What the font lacks is written as escapes.
    """
    text, within = drawable(text), 0.97 * within  # hinting makes small type a little wider
    size = max(0.8 * size, min(size, size * within / max(text_width(text, size, bold=bold), 1e-6)))
    most = len(text)
    while most > 3 and text_width(elided(text, most), size, bold=bold) > within:
        most -= 1
    axes.text(
        x, y, elided(text, most), fontproperties=font(size, bold=bold), color=colour, ha=across, va="center",
        parse_math=False, usetex=False,
    )  # fmt: skip


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Inches that a line takes in type of `size` points."""
    return float(_measure(bold).getlength(text)) / _MEASURED_AT * size / 72


_MEASURED_AT = 100


@lru_cache(maxsize=2)
def _measure(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path(bold=bold)), _MEASURED_AT, layout_engine=ImageFont.Layout.BASIC)


def place(axes: Axes, picture: NDArray[Any], x: float, y: float, size: float, *, edge: str = "") -> None:
    """A picture (H, W, 3) in a square of `size` inches, whole and in its own proportions."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    left, top = x + (size - width * scale) / 2, y + (size - height * scale) / 2
    right, bottom = left + width * scale, top + height * scale
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="antialiased", aspect="auto")
    if edge:
        from matplotlib.patches import Rectangle

        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=edge, linewidth=1.2))


def overlay(picture: NDArray[np.uint8], values: NDArray[np.float32], *, side: int = 224) -> NDArray[np.uint8]:
    """A map 0..1 of any size over a picture (H, W, 3), as RGB uint8 with a shorter side of at least `side`.

    The face stays, in grey, where the map is low; where it is high the colour covers most of it.
    """
    import matplotlib

    height, width = picture.shape[:2]
    scale = max(1.0, side / min(height, width))
    size = (round(width * scale), round(height * scale))
    grown = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(grown, cv2.COLOR_RGB2GRAY).astype(np.float32)[:, :, None] / 255
    heat = np.clip(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colour = matplotlib.colormaps[HEAT](heat)[:, :, :3]
    covered = _covered(np.asarray(heat, np.float32))[:, :, None]
    return np.asarray(np.round(255 * (grey * (1 - covered) + colour * covered)), np.uint8)


def _covered(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of the face the colour covers: hardly any where the map is low, so that the face can be read."""
    return np.asarray(0.78 * heat**1.25, np.float32)


def scale_bar(axes: Axes, x: float, y: float, *, width: float = 1.3, low: str = "0", high: str = "peak") -> None:
    """The colours of the maps, with what their ends mean."""
    import matplotlib

    steps = np.linspace(0, 1, 128, dtype=np.float32)
    covered = _covered(steps)[:, None]
    colours = 0.55 * (1 - covered) + matplotlib.colormaps[HEAT](steps)[:, :3] * covered
    axes.imshow(colours[None], extent=(x, x + width, y + 0.05, y - 0.05), aspect="auto", interpolation="bilinear")
    write(axes, x - 0.05, y, low, within=0.5, size=6.5, colour=GREY, across="right")
    write(axes, x + width + 0.05, y, high, within=0.5, size=6.5, colour=GREY)


def save(figure: Figure) -> Saved:
    """Both files; no dates and no versions in them."""
    made = []
    for kind, metadata in (
        ("png", {"Software": None}),
        ("pdf", {"CreationDate": None, "Producer": None, "Creator": None}),
    ):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=DPI, facecolor=PAPER, metadata=metadata)
        made.append(buffer.getvalue())
    return Saved(*made)
