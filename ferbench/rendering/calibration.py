"""The calibration curve: how often the model was right where it was so sure, with what chance allows for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferbench.metrics import Calibration
from ferbench.rendering.confusion import GREY, INK
from ferbench.rendering.fonts import font
from ferbench.rendering.wording import counted, percent
from ferbench.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.35, 3.6
LABEL, SMALL = 7.5, 6.5
Z_95 = 1.959963984540054


def wilson(bins: Calibration) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B,) ends of the 95 percent interval of each bin's accuracy (Wilson 1927); NaN in an empty bin."""
    count = np.where(bins.count > 0, bins.count, np.nan)
    middle = (bins.accuracy + Z_95**2 / (2 * count)) / (1 + Z_95**2 / count)
    spread = bins.accuracy * (1 - bins.accuracy) / count + Z_95**2 / (4 * count**2)
    half = Z_95 / (1 + Z_95**2 / count) * np.sqrt(spread)
    # Rounding may put an end a hair outside of what a fraction can be.
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def calibration_figure(report: Report) -> Figure | None:
    """One column wide: accuracy over confidence with the diagonal, and the samples of each bin below; None without."""
    from matplotlib.figure import Figure

    bins = report.calibration
    if bins is None:
        return None
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    curve = figure.add_axes((0.14, 0.33, 0.83, 0.65))
    counts = figure.add_axes((0.14, 0.105, 0.83, 0.185))
    filled = bins.count > 0
    sure, right = 100 * bins.confidence[filled], 100 * bins.accuracy[filled]
    low, high = (100 * end[filled] for end in wilson(bins))
    curve.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    curve.vlines(sure, low, high, color="#7fa8d1", linewidth=2.4, zorder=2)
    curve.plot(sure, right, color="#12335a", linewidth=1, marker="o", markersize=3.6, zorder=3)
    curve.text(
        3, 97, f"ECE {percent(report.pooled.probability['ece'])}%", ha="left", va="top", color=INK,
        fontproperties=font(LABEL), usetex=False,
    )  # fmt: skip
    counts.bar(
        100 * bins.edges[:-1], bins.count, width=100 * np.diff(bins.edges), align="edge", color="#7fa8d1",
        edgecolor="white", linewidth=0.6,
    )  # fmt: skip
    _dress(curve, "accuracy, percent", [0, 20, 40, 60, 80, 100])
    most = int(bins.count.max())
    _dress(counts, "samples", [0, most])
    curve.set(xlim=(0, 100), ylim=(0, 100))
    counts.set(xlim=(0, 100), ylim=(0, most))
    curve.set_xticklabels([])
    counts.set_xlabel("confidence, percent", fontproperties=font(LABEL), color=INK, labelpad=2, usetex=False)
    for axes in (curve, counts):
        axes.yaxis.set_label_coords(-0.115, 0.5)
    return figure


def _dress(axes: Axes, label: str, ticks: list[int]) -> None:
    axes.set_xticks(range(0, 101, 20), labels=[str(tick) for tick in range(0, 101, 20)], fontproperties=font(SMALL))
    axes.set_yticks(ticks, labels=[f"{tick:,}" for tick in ticks], fontproperties=font(SMALL))
    axes.set_ylabel(label, fontproperties=font(LABEL), color=INK, usetex=False)
    axes.tick_params(length=2, width=0.5, pad=2, color=GREY, labelcolor=INK)
    axes.grid(True, color="#e3e6ea", linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=GREY, linewidth=0.6)


# --- on the page -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BinDrawing:
    """One bin with samples; lengths in CSS pixels of the drawing."""

    x: float
    y: float
    low: float
    high: float
    left: float
    width: float
    bar: float
    """The height of its bar of samples."""
    words: str


@dataclass(frozen=True, slots=True)
class CurveDrawing:
    """The curve above, the samples below, with one axis of confidence."""

    bins: tuple[BinDrawing, ...]
    most: str
    """Samples of the fullest bin."""
    path: str
    """The points joined, as an SVG path."""


PLOT_LEFT, PLOT_TOP, PLOT, BARS_TOP, BARS = 58.0, 14.0, 380.0, 424.0, 84.0
"""Where the square of the curve and the strip of bars are on the page, in CSS pixels."""


def curve_drawing(bins: Calibration) -> CurveDrawing:
    """The calibration curve as the page places it; the template knows the same lengths."""
    lows, highs = wilson(bins)
    most = int(bins.count.max())
    drawn = []
    for number in np.flatnonzero(bins.count).tolist():
        sure, right, count = float(bins.confidence[number]), float(bins.accuracy[number]), int(bins.count[number])
        edge, end = (float(value) for value in bins.edges[number : number + 2])
        drawn.append(
            BinDrawing(
                x=_across(sure), y=_up(right), low=_up(float(lows[number])), high=_up(float(highs[number])),
                left=_across(edge), width=round(PLOT * (end - edge) - 1, 1), bar=round(BARS * count / most, 1),
                words=f"confidence {percent(sure)}%, accuracy {percent(right)}%, {counted(count, 'sample')}",
            )
        )  # fmt: skip
    path = " ".join(f"{'L' if place else 'M'}{point.x} {point.y}" for place, point in enumerate(drawn))
    return CurveDrawing(tuple(drawn), f"{most:,}", path)


def _across(fraction: float) -> float:
    return round(PLOT_LEFT + PLOT * fraction, 1)


def _up(fraction: float) -> float:
    return round(PLOT_TOP + PLOT * (1 - fraction), 1)
