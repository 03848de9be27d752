"""Precision, recall and F1 of each class as bars, a figure for a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferbench.rendering.confusion import GREY, INK, MOST_NAME_CHARACTERS, POINTS
from ferbench.rendering.fonts import drawable, font, text_width
from ferbench.rendering.wording import elided
from ferbench.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 3.35
LABEL = 7.0
SMALL = 6.0
BARS = (
    ("precision", "precision", "#a6cee3", ""),
    ("recall", "recall", "#3a7fb8", ""),
    ("f1", "F1", "#12335a", "//////"),
)
"""(column of `per_class`, its name, colour, hatching): light, middle and dark, in grey print too."""
HATCH = "#8fb4dc"
BAR = 0.25
"""Of the height of a class."""


def class_figure(report: Report) -> Figure:
    """One column wide (3.35 in), a row of three bars per class, its support at the right; an absent class has no bars."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = report.per_class()
    names = [elided(drawable(row["class"]), MOST_NAME_CHARACTERS) for row in rows]
    supports = [f"{row['support']:,}" if row["support"] else "absent" for row in rows]
    size = LABEL if len(rows) <= 24 else SMALL
    pitch = 22.0 if len(rows) <= 12 else 15.0 if len(rows) <= 24 else 11.5
    left = max(text_width(name, size) for name in names) + 8
    right = max(text_width(text, SMALL) for text in [*supports, "support"]) + 8
    top, bottom = 2.4 * LABEL + 6, 2 * LABEL + 14
    width, height = WIDTH * POINTS, pitch * len(rows) + top + bottom
    figure = Figure(figsize=(width / POINTS, height / POINTS), facecolor="white")
    axes = figure.add_axes((left / width, bottom / height, (width - left - right) / width, pitch * len(rows) / height))
    for number, (key, _, colour, hatch) in enumerate(BARS):
        places = [place + (number - 1) * BAR for place, row in enumerate(rows) if row[key] is not None]
        values = [100 * row[key] for row in rows if row[key] is not None]
        # The hatching takes the colour of the edge; a second, hatched bar keeps the outline thin.
        axes.barh(places, values, height=BAR, color=colour, edgecolor="white", linewidth=0.3, zorder=2)
        if hatch:
            axes.barh(places, values, height=BAR, color="none", edgecolor=HATCH, hatch=hatch, linewidth=0, zorder=3)
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), labels=names, fontproperties=font(size), color=INK)
    axes.set_xticks(range(0, 101, 20), labels=[str(tick) for tick in range(0, 101, 20)], fontproperties=font(SMALL))
    axes.set_xlabel("percent", fontproperties=font(LABEL), color=INK, labelpad=2, usetex=False)
    for label in axes.get_yticklabels():
        label.set(parse_math=False, usetex=False)
    axes.tick_params(length=0, pad=3, colors=INK)
    axes.xaxis.grid(True, color="#d5d9de", linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set(color=GREY, linewidth=0.6)
    for place, (row, text) in enumerate(zip(rows, supports, strict=True)):
        axes.annotate(
            text, (1, place), xycoords=("axes fraction", "data"), xytext=(right - 3, 0), textcoords="offset points",
            ha="right", va="center", fontproperties=font(SMALL), color=INK if row["support"] else GREY, usetex=False,
        )  # fmt: skip
    axes.annotate(
        "support", (1, 1), xycoords="axes fraction", xytext=(right - 3, 3), textcoords="offset points",
        ha="right", va="bottom", fontproperties=font(SMALL), color=GREY, usetex=False,
    )  # fmt: skip
    keys = [
        Patch(facecolor=colour, edgecolor=HATCH if hatch else colour, hatch=hatch, linewidth=0, label=name)
        for _, name, colour, hatch in BARS
    ]
    figure.legend(
        handles=keys, loc="upper left", bbox_to_anchor=(left / width, 1 - 3 / height), ncols=3, frameon=False,
        prop=font(LABEL), borderaxespad=0.2, borderpad=0, handlelength=1.4, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
    return figure
