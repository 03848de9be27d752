"""The confusion matrix as a figure for a paper: rows true, columns predicted, shaded by the fraction of the row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferbench.labels import LabelSet
from ferbench.metrics import Confusion
from ferbench.rendering.fonts import drawable, font, text_width
from ferbench.rendering.wording import elided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, ABSENT = "#1a1a1a", "#5f6368", "#ececec"
NO_PREDICTION = "no prediction"
MOST_NAME_CHARACTERS = 30
EXTRA_COLUMN_GAP = 0.3
"""Cells between the last class and the column of samples without a prediction."""
POINTS = 72
"""An inch."""
SMALLEST_CELL, LARGEST_CELL = 8.0, 34.0
"""Points: a few classes do not fill the column, and 200 make a wider figure."""
HEADING = 15.0
"""Points that the words `true class` and `predicted class` take."""
PAD = 3.0


@dataclass(frozen=True, slots=True)
class _Style:
    """What depends on the number of classes: the width in inches, type in points."""

    width: float
    count: float
    percent: float
    """0 writes no percent."""
    label: float
    rotation: int


def _style(size: int) -> _Style:
    if size <= 8:
        return _Style(width=3.35, count=7.5, percent=5.5, label=7.5, rotation=40)
    if size <= 12:
        return _Style(width=5.0, count=7.5, percent=5.5, label=7.5, rotation=40)
    if size <= 24:
        return _Style(width=7.0, count=6.5, percent=0, label=7, rotation=90)
    return _Style(width=7.0, count=4.5, percent=0, label=6, rotation=90)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Lengths in points."""

    cell: float
    columns: float
    """Of cells, the gap before the last one included."""
    left: float
    right: float
    bottom: float

    @staticmethod
    def of(style: _Style, rows: list[str], columns: list[str]) -> _Layout:
        turn = math.radians(style.rotation)
        widest = max(text_width(name, style.label) for name in columns)
        left = HEADING + PAD + max(text_width(name, style.label) for name in rows) + PAD
        # A slanted name reaches to the left of its column, the first one the farthest.
        left = max(left, text_width(columns[0], style.label) * math.cos(turn))
        right = PAD if style.percent else SCALE_GAP + SCALE_WIDTH + 3.4 * style.label + PAD
        count = len(rows) + (1 + EXTRA_COLUMN_GAP if len(columns) > len(rows) else 0)
        cell = (style.width * POINTS - left - right) / count
        cell = min(max(cell, SMALLEST_CELL), LARGEST_CELL)
        return _Layout(cell, count, left, right, HEADING + PAD + 0.6 * style.label + widest * math.sin(turn))


SCALE_GAP, SCALE_WIDTH = 8.0, 6.0


def confusion_figure(confusion: Confusion, labels: LabelSet) -> Figure:
    """A figure as wide as a column of a paper (3.35 in, 5 in from 9 classes, 7 in from 13).

    A cell holds its count and, up to 12 classes, its percent of all samples of the true class; samples without a
    prediction are a column of their own, so each row adds up to 100 percent. Rows of absent classes are hatched.
    """
    from matplotlib.figure import Figure

    style = _style(len(labels))
    names = [elided(drawable(name), MOST_NAME_CHARACTERS) for name in labels.names]
    present = confusion.present("all")
    rows = [name if here else f"{name} (absent)" for name, here in zip(names, present, strict=True)]
    has_extra = bool(confusion.unscored.any())
    columns = [*names, NO_PREDICTION] if has_extra else names
    layout = _Layout.of(style, rows, columns)
    width = layout.left + layout.cell * layout.columns + layout.right
    height = PAD + layout.cell * len(labels) + layout.bottom
    figure = Figure(figsize=(width / POINTS, height / POINTS), facecolor="white")
    place = (layout.left / width, layout.bottom / height, layout.cell * layout.columns / width,
             layout.cell * len(labels) / height)  # fmt: skip
    axes = figure.add_axes(place, facecolor="white")
    axes.set(xlim=(0, layout.columns), ylim=(len(labels), 0))
    axes.grid(False)
    fractions = row_fractions(confusion)
    _paint(axes, fractions[:, :-1], left=0)
    if has_extra:
        _paint(axes, fractions[:, -1:], left=len(labels) + EXTRA_COLUMN_GAP)
    _hatch_absent(axes, confusion, has_extra=has_extra)
    _write_cells(axes, confusion, fractions, style, layout.cell)
    _write_names(axes, rows, columns, style, present)
    for axis, words, where in (("y", "true class", layout.left), ("x", "predicted class", layout.bottom)):
        offset = (-where + HEADING / 2, 0) if axis == "y" else (0, -where + HEADING / 2)
        axes.annotate(
            words, (0, 0.5) if axis == "y" else (0.5, 0), xycoords="axes fraction", xytext=offset,
            textcoords="offset points", rotation=90 if axis == "y" else 0, ha="center", va="center",
            fontproperties=font(style.label, bold=True), color=INK, usetex=False,
        )  # fmt: skip
    if not style.percent:
        _paint_scale(axes, style, width=layout.columns * layout.cell)
    return figure


def row_fractions(confusion: Confusion) -> NDArray[np.float64]:
    """(K, K + 1) counts over all samples of the true class, the last column those without a prediction; 0 if absent."""
    counts = np.concatenate([confusion.matrix, confusion.unscored[:, None]], axis=1)
    result: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return result


def shades(fractions: NDArray[np.float64], *, dark: bool = False) -> NDArray[np.float64]:
    """(..., 3) sRGB 0..1 for fractions 0..1: one blue in equal steps of OKLab lightness, light to dark.

    On a `dark` page dark to light, so that in both the strongest colour is the farthest from the paper.
    """
    if dark:
        lightness, chroma = 0.26 + 0.62 * fractions, 0.02 + 0.25 * fractions * (1 - 0.87 * fractions)
    else:
        # Little colour at the light end: there is none to be had in sRGB without a turn to cyan.
        lightness, chroma = 0.985 - 0.6 * fractions, 0.2 * fractions * (1 - 0.5 * fractions)
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
        linewidth=0.4,
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


def _write_cells(axes: Axes, confusion: Confusion, fractions: NDArray[np.float64], style: _Style, cell: float) -> None:
    colours = shades(fractions)
    for row, column, count in _counts(confusion):
        # Without the percent below it, a zero says no more than an empty cell, and hundreds of them drown the others.
        if not style.percent and not count:
            continue
        size = len(confusion.unscored)
        x = column + 0.5 + (EXTRA_COLUMN_GAP if column == size else 0)
        colour = text_colour(colours[row, column])
        text = f"{count:,}" if style.percent else str(count)
        above = 0.13 if style.percent and count else 0
        fitting = min(1.0, 0.92 * cell / text_width(text, style.count))
        _text(axes, x, row + 0.5 - above, text, style.count * fitting, colour if count else GREY)
        if style.percent and count:
            percents = f"{100 * fractions[row, column]:.1f}%"
            fitting = min(1.0, 0.92 * cell / text_width(percents, style.percent))
            _text(axes, x, row + 0.74, percents, style.percent * fitting, colour)


def _counts(confusion: Confusion) -> Iterator[tuple[int, int, int]]:
    """(row, column, count) of the cells of classes that occur; the column after the last is without a prediction."""
    has_extra = bool(confusion.unscored.any())
    for row in np.flatnonzero(confusion.present("all")).tolist():
        for column, count in enumerate(confusion.matrix[row].tolist()):
            yield row, column, count
        if has_extra:
            yield row, len(confusion.unscored), int(confusion.unscored[row])


def _write_names(axes: Axes, rows: list[str], columns: list[str], style: _Style, present: NDArray[np.bool_]) -> None:
    middles = [label + 0.5 for label in range(len(rows))]
    column_middles = [*middles, len(rows) + EXTRA_COLUMN_GAP + 0.5][: len(columns)]
    name_font = font(style.label)
    axes.set_yticks(middles, labels=rows, fontproperties=name_font, color=INK)
    axes.set_xticks(column_middles, labels=columns, fontproperties=name_font, color=INK, rotation=style.rotation)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(parse_math=False, usetex=False)
    for label in axes.get_xticklabels():
        label.set(rotation_mode="anchor", ha="right", va="center" if style.rotation == 90 else "top")
    for label, here in zip(axes.get_yticklabels(), present, strict=True):
        label.set_color(INK if here else GREY)
    axes.tick_params(length=0, pad=PAD)
    axes.spines[:].set_visible(False)


def _paint_scale(axes: Axes, style: _Style, *, width: float) -> None:
    """The colour scale, where cells are too small for percents."""
    scale = axes.inset_axes((1 + SCALE_GAP / width, 0, SCALE_WIDTH / width, 1))
    scale.pcolormesh([0, 1], np.linspace(0, 1, 101), shades(np.linspace(0, 1, 100))[:, None])
    scale.set_xticks([])
    scale.set_yticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"], fontproperties=font(style.label))
    scale.yaxis.tick_right()
    scale.yaxis.set_label_position("right")
    scale.set_ylabel("percent of the true class", fontproperties=font(style.label), color=INK, usetex=False, labelpad=1)
    scale.tick_params(length=0, colors=INK, pad=2)
    scale.spines[:].set_visible(False)


def _text(axes: Axes, x: float, y: float, text: str, size: float, colour: str) -> None:
    axes.text(x, y, text, fontproperties=font(size), color=colour, ha="center", va="center", usetex=False)
