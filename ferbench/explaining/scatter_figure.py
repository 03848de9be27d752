"""Features in two dimensions as a scatter, a colour and marker per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferbench.explaining.figures import GREY, INK, RULE, Saved, canvas, font, mark_of, save, write
from ferbench.rendering.fonts import drawable
from ferbench.rendering.wording import elided

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES = 12
"""Up to so many classes are named in the picture; more get the number that stands in the legend."""
PLOT, HEAD, FOOT = 5.2, 0.55, 0.12
LEGEND_COLUMN = 1.85
ROWS_PER_COLUMN = 26


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """What is drawn."""

    points: NDArray[np.float32]
    """(N, 2)."""
    targets: NDArray[np.int64]
    """(N,) true class of each point."""
    is_right: NDArray[np.bool_]
    """(N,) filled where the model is right, hollow where it is not."""
    names: Sequence[str]
    title: str
    note: str


def scatter(drawn: Scatter) -> Saved:
    """The figure. Only classes with points are in the legend."""
    present = [label for label in range(len(drawn.names)) if (drawn.targets == label).any()]
    columns = -(-len(present) // ROWS_PER_COLUMN)
    width, height = 0.12 + PLOT + 0.15 + columns * LEGEND_COLUMN, HEAD + PLOT + FOOT
    figure, page = canvas(width, height)
    write(page, 0.12, 0.16, drawn.title, within=width - 0.24, size=10, bold=True)
    write(page, 0.12, 0.37, drawn.note, within=width - 0.24, size=7, colour=GREY)
    axes = figure.add_axes((0.12 / width, FOOT / height, PLOT / width, PLOT / height))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)
    _points(axes, drawn, present)
    _tags(axes, drawn, present)
    _legend(page, drawn, present, left=0.12 + PLOT + 0.2)
    return save(figure)


def _points(axes: Axes, drawn: Scatter, present: Sequence[int]) -> None:
    size = float(np.clip(2400 / max(len(drawn.points), 1), 7, 34))
    for label in present:
        colour, marker = mark_of(label)
        for right in (False, True):
            chosen = (drawn.targets == label) & (drawn.is_right == right)
            # Filled ones have a thin white rim, so that they can be told apart where they lie upon each other.
            face, edge, line = (colour, "white", 0.3) if right else ("none", colour, 0.8)
            axes.scatter(
                drawn.points[chosen, 0], drawn.points[chosen, 1], s=size, marker=marker, facecolors=face, edgecolors=edge,
                linewidths=line, rasterized=len(drawn.points) > 5000,
            )  # fmt: skip
    axes.margins(0.06)
    low, high = drawn.points.min(axis=0), drawn.points.max(axis=0)
    half = 0.58 * max(float((high - low).max()), 1e-6)
    middle = (low + high) / 2
    # One unit is as long across as up: distances are all there is in such a picture.
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))


def _tags(axes: Axes, drawn: Scatter, present: Sequence[int]) -> None:
    """The class's name, or number, at its most central sample."""
    from matplotlib.patheffects import withStroke

    for label in present:
        own = drawn.points[drawn.targets == label]
        nearest = own[int(((own - np.median(own, axis=0)) ** 2).sum(axis=1).argmin())]
        text = drawn.names[label] if len(present) <= MOST_NAMES else str(label + 1)
        tag = axes.annotate(
            elided(drawable(text), 22), nearest, xytext=(0, 6), textcoords="offset points", ha="center", va="bottom",
            fontproperties=font(8 if len(present) <= MOST_NAMES else 6.5, bold=True), color=INK, parse_math=False,
            usetex=False,
        )  # fmt: skip
        tag.set_path_effects([withStroke(linewidth=2.2, foreground="white")])


def _legend(page: Axes, drawn: Scatter, present: Sequence[int], *, left: float) -> None:
    step = min(0.2, PLOT / (min(len(present), ROWS_PER_COLUMN) + 2.5))
    for place, label in enumerate(present):
        column, row = divmod(place, ROWS_PER_COLUMN)
        x, y = left + column * LEGEND_COLUMN, HEAD + 0.1 + row * step
        colour, marker = mark_of(label)
        page.plot([x], [y], marker=marker, color=colour, markersize=5, markeredgecolor="white", markeredgewidth=0.3)
        number = f"{label + 1} " if len(present) > MOST_NAMES else ""
        write(page, x + 0.1, y, f"{number}{drawn.names[label]}", within=LEGEND_COLUMN - 0.7, size=7)
        count = int((drawn.targets == label).sum())
        write(page, x + LEGEND_COLUMN - 0.22, y, f"{count:,}", within=0.4, size=6.5, colour=GREY, across="right")
    y = HEAD + 0.1 + (min(len(present), ROWS_PER_COLUMN) + 0.7) * step
    for text, face, edge in (("predicted right", GREY, "white"), ("predicted wrong", "none", GREY)):
        page.plot([left], [y], marker="o", markersize=5, markerfacecolor=face, markeredgecolor=edge, linestyle="none",
                  markeredgewidth=0.8)  # fmt: skip
        write(page, left + 0.1, y, text, within=LEGEND_COLUMN, size=7, colour=GREY)
        y += step
