"""The confusion matrix as the page draws it: lengths in CSS pixels, shades as classes that follow the reader's colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ferbench.rendering.confusion import (
    EXTRA_COLUMN_GAP,
    NO_PREDICTION,
    row_fractions,
    shades,
    text_colour,
)
from ferbench.rendering.fonts import text_width
from ferbench.rendering.wording import elided, plain
from ferbench.report import Report

NUM_SHADES = 20
MOST_NAME_CHARACTERS = 34
PAD = 8.0
HEADING = 24.0
"""What the words `true class` and `predicted class` take."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell with samples, or one that says 0."""

    x: float
    y: float
    shade: int
    """0..`NUM_SHADES`; only an empty cell is 0."""
    count: str
    percent: str
    """Empty where it has no room."""
    count_size: float
    hit: bool
    words: str
    """What it says to a pointer: true class, predicted class, count, percent."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class name with the middle of its row or column."""

    text: str
    at: float
    absent: bool = False


@dataclass(frozen=True, slots=True)
class MatrixDrawing:
    """Everything the template places."""

    size: float
    """Of a cell."""
    width: float
    height: float
    left: float
    top: float
    columns: float
    """The width of all columns of classes."""
    extra: float | None
    """Left edge of the column of samples without a prediction."""
    rows_height: float
    cells: tuple[Cell, ...]
    rows: tuple[Name, ...]
    totals: tuple[str, ...]
    total_at: float
    """Right edge of the totals."""
    heads: tuple[Name, ...]
    turn: int
    """Degrees by which the column names are turned."""
    label: float
    """Type sizes."""
    count: float
    percent: float
    """0 where no percent is written."""
    scale: bool
    """The colours are explained below."""


def _style(size: int) -> tuple[float, float, float, float, int]:
    """Cell, count, percent and label size, and turn of the column names."""
    if size <= 8:
        return 76, 17, 12, 14.5, 45
    if size <= 12:
        return 60, 14.5, 11, 13.5, 45
    if size <= 24:
        return 36, 12, 0, 12.5, 90
    return 24, 10.5, 0, 11.5, 90


def matrix_drawing(report: Report) -> MatrixDrawing:
    """The pooled confusion matrix: rows true, columns predicted, shaded by the fraction of the row."""
    confusion, names = report.pooled.confusion, [plain(name) for name in report.labels.names]
    size, count_size, percent_size, label, turn = _style(len(names))
    present = confusion.present("all")
    has_extra = bool(confusion.unscored.any())
    shown = [elided(name, MOST_NAME_CHARACTERS) for name in names]
    rows = [name if here else f"{name} (absent)" for name, here in zip(shown, present, strict=True)]
    heads = [*shown, NO_PREDICTION] if has_extra else shown
    left = HEADING + PAD + max(text_width(name, label) for name in rows) + PAD
    extra = left + size * (len(names) + EXTRA_COLUMN_GAP) if has_extra else None
    middles = [left + size * (label_number + 0.5) for label_number in range(len(names))]
    middles += [extra + size / 2] if extra is not None else []
    angle = math.radians(turn)
    lengths = [text_width(name, label) for name in heads]
    top = HEADING + PAD + max(lengths) * math.sin(angle) + label * math.cos(angle)
    totals = [f"{count:,}" for count in confusion.support("all").tolist()]
    columns_end = middles[-1] + size / 2 + PAD + max(text_width(text, label) for text in [*totals, "n"])
    slanted = (middle + length * math.cos(angle) for middle, length in zip(middles, lengths, strict=True))
    width = max(columns_end, *slanted) + PAD
    rows_height = size * len(names)
    scale = not percent_size
    return MatrixDrawing(
        size=size, width=round(width, 1), height=round(top + rows_height + (52 if scale else PAD), 1),
        left=round(left, 1), top=round(top, 1), columns=size * len(names),
        extra=None if extra is None else round(extra, 1), rows_height=rows_height,
        cells=tuple(_cells(report, names, left, top)),
        rows=tuple(
            Name(text, round(top + size * (number + 0.5), 1), not here)
            for number, (text, here) in enumerate(zip(rows, present.tolist(), strict=True))
        ),
        totals=tuple(totals), total_at=round(columns_end, 1),
        heads=tuple(Name(text, round(at, 1)) for text, at in zip(heads, middles, strict=True)),
        turn=turn, label=label, count=count_size, percent=percent_size, scale=scale,
    )  # fmt: skip


def _cells(report: Report, names: list[str], left: float, top: float) -> list[Cell]:
    confusion = report.pooled.confusion
    size, count_size, percent_size, *_ = _style(len(names))
    counts = np.concatenate([confusion.matrix, confusion.unscored[:, None]], axis=1)
    fractions = row_fractions(confusion)
    cells = []
    for row in np.flatnonzero(confusion.present("all")).tolist():
        for column, count in enumerate(counts[row].tolist()):
            is_extra = column == len(names)
            # Without the percent below it, a zero says no more than an empty cell.
            if (is_extra and not confusion.unscored.any()) or not (count or percent_size):
                continue
            share = float(fractions[row, column])
            text = f"{count:,}" if percent_size else str(count)
            percents = f"{100 * share:.1f}%"
            predicted = NO_PREDICTION if is_extra else f"predicted {names[column]}"
            fitting = min(1.0, 0.94 * size / text_width(text, count_size))
            cells.append(
                Cell(
                    x=round(left + size * (column + (EXTRA_COLUMN_GAP if is_extra else 0)), 1),
                    y=round(top + size * row, 1),
                    shade=max(1, round(NUM_SHADES * share)) if count else 0,
                    count=text,
                    percent=percents if percent_size and count else "",
                    count_size=round(count_size * fitting, 1),
                    hit=row == column,
                    words=f"true {names[row]}, {predicted}: {count:,}, {percents}",
                )
            )
    return cells


def shade_colours(*, dark: bool) -> list[tuple[str, str]]:
    """(fill, text colour) of each shade from 0 to `NUM_SHADES`; on a dark page more samples are lighter."""
    fractions = np.linspace(0, 1, NUM_SHADES + 1)
    colours = shades(fractions, dark=dark)
    return [
        ("#" + "".join(f"{round(255 * part):02x}" for part in np.clip(colour, 0, 1).tolist()), text_colour(colour))
        for colour in colours
    ]
