"""The most confident mistakes as strips of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.explaining.figures import GREY, INK, MARGIN, WRONG, Saved, canvas, place, save, write

HEAD, GAP = 0.36, 0.04


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One mistake."""

    sample_id: str
    true: str
    predicted: str
    confidence: float | None
    """Softmax of the predicted class; None where the predictions hold none."""
    pictures: tuple[NDArray[np.uint8], ...]
    """(H, W, 3) RGB; none where the sample cannot be read any more."""


def mistake_strips(mistakes: Sequence[Shown], *, title: str) -> Saved:
    """Clips as a row of frames each; stills as a table of six columns."""
    frames = max((len(mistake.pictures) for mistake in mistakes), default=1)
    return _rows(mistakes, frames, title) if frames > 1 else _table(mistakes, title)


def _rows(mistakes: Sequence[Shown], frames: int, title: str) -> Saved:
    size, text = 0.78, 2.1
    width = 2 * MARGIN + 0.25 + frames * (size + GAP) + text
    figure, axes = canvas(width, MARGIN + HEAD + len(mistakes) * (size + 0.08))
    write(axes, MARGIN, MARGIN + 0.1, title, within=width - 2 * MARGIN, size=9, bold=True)
    for number, mistake in enumerate(mistakes):
        top = MARGIN + HEAD + number * (size + 0.08)
        write(axes, MARGIN, top + size / 2, str(number + 1), within=0.22, size=7, colour=GREY)
        for column, picture in enumerate(mistake.pictures):
            place(axes, picture, MARGIN + 0.25 + column * (size + GAP), top, size)
        left = MARGIN + 0.25 + frames * (size + GAP) + 0.08
        write(axes, left, top + 0.14, f"true: {mistake.true}", within=text - 0.2, size=7.5, bold=True)
        write(
            axes, left, top + 0.32, f"predicted: {_said(mistake)}", within=text - 0.2, size=7.5, colour=WRONG, bold=True
        )
        write(axes, left, top + 0.5, mistake.sample_id, within=text - 0.2, size=6.5, colour=GREY)
        if not mistake.pictures:
            write(axes, MARGIN + 0.3, top + size / 2, "its frames cannot be read", within=3, size=7, colour=GREY)
    return save(figure)


def _table(mistakes: Sequence[Shown], title: str) -> Saved:
    size, columns = 1.12, 6
    columns = min(columns, max(len(mistakes), 3))
    row_height = size + 0.52
    width = 2 * MARGIN + columns * (size + 2 * GAP)
    figure, axes = canvas(width, MARGIN + HEAD + -(-len(mistakes) // columns) * row_height)
    write(axes, MARGIN, MARGIN + 0.1, title, within=width - 2 * MARGIN, size=9, bold=True)
    for number, mistake in enumerate(mistakes):
        row, column = divmod(number, columns)
        left, top = MARGIN + column * (size + 2 * GAP), MARGIN + HEAD + row * row_height
        if mistake.pictures:
            place(axes, mistake.pictures[0], left, top, size)
        else:
            write(axes, left, top + size / 2, "cannot be read", within=size, size=7, colour=GREY)
        write(axes, left, top + size + 0.09, f"true: {mistake.true}", within=size, size=6.5, colour=INK)
        write(axes, left, top + size + 0.22, f"as: {_said(mistake)}", within=size, size=6.5, colour=WRONG, bold=True)
        write(axes, left, top + size + 0.35, mistake.sample_id, within=size, size=5.5, colour=GREY)
    return save(figure)


def _said(mistake: Shown) -> str:
    return mistake.predicted + ("" if mistake.confidence is None else f" {mistake.confidence:.2f}")
