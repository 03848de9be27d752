"""The confusion matrix as a picture: rows true, columns predicted, coloured by the fraction of the row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferbench.labels import LabelSet
from ferbench.metrics import Confusion
from ferbench.rendering.fonts import drawable, font_path
from ferbench.rendering.wording import counted, elided
from ferbench.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, ABSENT = "#1a1a1a", "#5f6368", "#ececec"
NO_PREDICTION = "no prediction"
MOST_NAME_CHARACTERS = 30
EXTRA_COLUMN_GAP = 0.3
"""Cells between the last class and the column of samples without a prediction."""


@dataclass(frozen=True, slots=True)
class _Style:
    """What depends on the number of classes; lengths in inches, type in points."""

    cell: float
    count: float
    percent: float
    """0 writes no percent."""
    label: float
    rotation: int


def _style(size: int) -> _Style:
    if size <= 8:
        return _Style(cell=0.78, count=11, percent=8, label=10.5, rotation=40)
    if size <= 12:
        return _Style(cell=0.66, count=9.5, percent=7, label=10, rotation=40)
    if size <= 24:
        return _Style(cell=0.42, count=7, percent=0, label=8.5, rotation=90)
    return _Style(cell=0.29, count=5.5, percent=0, label=7.5, rotation=90)


def confusion_png(confusion: Confusion, labels: LabelSet, *, title: str, dpi: int = 150) -> bytes:
    """PNG bytes; the same inputs give the same bytes.

    A cell holds its count and, up to 12 classes, its percent of all samples of the true class; samples without a
    prediction are a column of their own, so each row adds up to 100 percent. Rows of absent classes are hatched.
    """
    from matplotlib.figure import Figure

    style = _style(len(labels))
    fractions = row_fractions(confusion)
    has_extra = bool(confusion.unscored.any())
    width = len(labels) + (1 + EXTRA_COLUMN_GAP if has_extra else 0)
    figure = Figure(figsize=(style.cell * width, style.cell * len(labels)), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), facecolor="white")
    axes.set(xlim=(0, width), ylim=(len(labels), 0))
    axes.grid(False)
    _paint(axes, fractions[:, :-1], left=0)
    if has_extra:
        _paint(axes, fractions[:, -1:], left=len(labels) + EXTRA_COLUMN_GAP)
    _hatch_absent(axes, confusion, has_extra=has_extra)
    _write_cells(axes, confusion, fractions, style)
    _write_names(axes, confusion, labels, style, has_extra=has_extra)
    _write_title(axes, confusion, title, style)
    if not style.percent:
        _paint_scale(axes, style, width=width)
    buffer = io.BytesIO()
    # Software=None: matplotlib would write its version into the file.
    figure.savefig(
        buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.2, facecolor="white", transparent=False,
        metadata={"Software": None},
    )  # fmt: skip
    return buffer.getvalue()


def write_confusion_png(confusion: Confusion, labels: LabelSet, path: Path, *, title: str, dpi: int = 150) -> None:
    """Write the picture, atomically."""
    write_bytes(path, confusion_png(confusion, labels, title=title, dpi=dpi))


def row_fractions(confusion: Confusion) -> NDArray[np.float64]:
    """(K, K + 1) counts over all samples of the true class, the last column those without a prediction; 0 if absent."""
    counts = np.concatenate([confusion.matrix, confusion.unscored[:, None]], axis=1)
    result: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return result


def shades(fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) sRGB 0..1 for fractions 0..1: one blue, light to dark in equal steps of OKLab lightness."""
    lightness = 0.985 - 0.6 * fractions
    # Little colour at the light end: there is none to be had in sRGB without a turn to cyan.
    chroma = 0.2 * fractions * (1 - 0.5 * fractions)
    hue = np.deg2rad(252)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    # Björn Ottosson's OKLab to linear sRGB.
    cone = lab @ np.array(
        [[1, 1, 1], [0.3963377774, -0.1055613458, -0.0894841775], [0.2158037573, -0.0638541728, -1.2914855480]]
    )
    linear = cone**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    srgb: NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return srgb


def text_colour(shade: NDArray[np.float64]) -> str:
    """Black or white, whichever contrasts more with a shade (WCAG relative luminance)."""
    linear = np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


# --- drawing -----------------------------------------------------------------------------------------------------------


def _paint(axes: Axes, fractions: NDArray[np.float64], *, left: float) -> None:
    rows, columns = fractions.shape
    axes.pcolormesh(
        left + np.arange(columns + 1),
        np.arange(rows + 1),
        shades(fractions),
        edgecolors="#dfe3e8",
        linewidth=0.5,
        clip_on=False,
    )


def _hatch_absent(axes: Axes, confusion: Confusion, *, has_extra: bool) -> None:
    from matplotlib.patches import Rectangle

    size = len(confusion.unscored)
    spans = [(0.0, size), (size + EXTRA_COLUMN_GAP, 1)] if has_extra else [(0.0, size)]
    for row in np.flatnonzero(~confusion.present("all")).tolist():
        for left, width in spans:
            axes.add_patch(
                Rectangle((left, row), width, 1, facecolor=ABSENT, edgecolor="#c4c7cc", hatch="////", linewidth=0.5)
            )


def _write_cells(axes: Axes, confusion: Confusion, fractions: NDArray[np.float64], style: _Style) -> None:
    colours = shades(fractions)
    for row, column, count in _counts(confusion):
        # Without the percent below it, a zero says no more than an empty cell, and hundreds of them drown the others.
        if not style.percent and not count:
            continue
        size = len(confusion.unscored)
        x = column + 0.5 + (EXTRA_COLUMN_GAP if column == size else 0)
        colour = text_colour(colours[row, column])
        above = 0.1 if style.percent else 0
        shrunk = min(1.0, 4 / len(str(count))) if not style.percent else 1.0
        _text(axes, x, row + 0.5 - above, str(count), style.count * shrunk, colour)
        if style.percent:
            _text(axes, x, row + 0.76, f"{100 * fractions[row, column]:.1f}%", style.percent, colour)


def _counts(confusion: Confusion) -> Iterator[tuple[int, int, int]]:
    """(row, column, count) of the cells of classes that occur; the column after the last is without a prediction."""
    has_extra = bool(confusion.unscored.any())
    for row in np.flatnonzero(confusion.present("all")).tolist():
        for column, count in enumerate(confusion.matrix[row].tolist()):
            yield row, column, count
        if has_extra:
            yield row, len(confusion.unscored), int(confusion.unscored[row])


def _write_names(axes: Axes, confusion: Confusion, labels: LabelSet, style: _Style, *, has_extra: bool) -> None:
    names = [elided(drawable(name), MOST_NAME_CHARACTERS) for name in labels.names]
    middles = [label + 0.5 for label in range(len(labels))]
    present = confusion.present("all")
    rows = [name if here else f"{name} (absent)" for name, here in zip(names, present, strict=True)]
    columns = [*names, NO_PREDICTION] if has_extra else names
    column_middles = [*middles, len(labels) + EXTRA_COLUMN_GAP + 0.5] if has_extra else middles
    font = _font(style.label)
    axes.set_yticks(middles, labels=rows, fontproperties=font, color=INK)
    axes.set_xticks(column_middles, labels=columns, fontproperties=font, color=INK, rotation=style.rotation)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(parse_math=False, usetex=False)
    for label in axes.get_xticklabels():
        label.set(rotation_mode="anchor", ha="right", va="center" if style.rotation == 90 else "top")
    for label, here in zip(axes.get_yticklabels(), present, strict=True):
        label.set_color(INK if here else GREY)
    axes.tick_params(length=0, pad=6)
    axes.spines[:].set_visible(False)
    heading = _font(style.label + 1, bold=True)
    axes.set_ylabel("true class", fontproperties=heading, color=INK, labelpad=10, usetex=False)
    axes.set_xlabel("predicted class", fontproperties=heading, color=INK, labelpad=10, usetex=False)


def _write_title(axes: Axes, confusion: Confusion, title: str, style: _Style) -> None:
    """Title and what the numbers are, above the first column, at a fixed distance in points."""
    scored, total = int(confusion.matrix.sum()), int(confusion.support("all").sum())
    lines = [counted(total, "sample") + (f", {total - scored:,} without a prediction" if scored < total else "")]
    if style.percent:
        lines[0] += ": count, and percent of the true class"
    else:
        lines[0] += ": counts other than 0"
    for text, size, bold, up in ((lines[0], 9.5, False, 10), (title, 14, True, 27)):
        axes.annotate(
            drawable(text), (0, 1), xycoords="axes fraction", xytext=(0, up), textcoords="offset points",
            fontproperties=_font(size, bold=bold), color=INK if bold else GREY, parse_math=False, usetex=False,
        )  # fmt: skip


def _paint_scale(axes: Axes, style: _Style, *, width: float) -> None:
    """The colour scale, where cells are too small for percents."""
    scale = axes.inset_axes((1 + 0.8 / width, 0, 0.6 / width, 1))
    scale.pcolormesh([0, 1], np.linspace(0, 1, 101), shades(np.linspace(0, 1, 100))[:, None])
    scale.set_xticks([])
    scale.set_yticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"], fontproperties=_font(style.label))
    scale.yaxis.tick_right()
    scale.yaxis.set_label_position("right")
    scale.set_ylabel("percent of the true class", fontproperties=_font(style.label), color=INK, usetex=False)
    scale.tick_params(length=0, colors=INK)
    scale.spines[:].set_visible(False)


def _text(axes: Axes, x: float, y: float, text: str, size: float, colour: str) -> None:
    axes.text(x, y, text, fontproperties=_font(size), color=colour, ha="center", va="center", usetex=False)


def _font(size: float, *, bold: bool = False) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=str(font_path(bold=bold)), size=size)
