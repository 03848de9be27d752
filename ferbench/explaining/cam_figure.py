"""Class activation maps as figures: a grid with a row per class, and for clips the frames of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferbench.explaining.figures import (
    GREY,
    INK,
    MARGIN,
    RIGHT,
    RIGHT_MARK,
    RULE,
    WRONG,
    WRONG_MARK,
    Saved,
    canvas,
    overlay,
    place,
    save,
    scale_bar,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASSES_PER_PAGE = 8
"""Rows of a grid: what fits on a page of a paper."""
MOST_FRAMES = 8
LABEL_WIDTH, PICTURE, GAP, CELL_GAP = 1.0, 0.74, 0.04, 0.14
TEXT_HEIGHT, BARS_HEIGHT, ROW_GAP, HEAD = 0.17, 0.13, 0.1, 0.48


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One sample with its map."""

    sample_id: str
    true: int
    """Index into the class names."""
    predicted: str
    """Name of the class that the model says."""
    is_right: bool
    confidence: float
    """Softmax of the predicted class, 0..1."""
    subject: str
    """Name of the class that the map explains."""
    frames: tuple[NDArray[np.uint8], ...]
    """T pictures (H, W, 3) RGB."""
    maps: NDArray[np.float32]
    """(T, h, w) in 0..1."""
    is_empty: bool
    """Nothing in the sample speaks for that class at that layer."""

    @property
    def energy(self) -> NDArray[np.float64]:
        """(T,) share of the map in each frame."""
        sums = self.maps.sum(axis=(1, 2), dtype=np.float64)
        return np.asarray(sums / max(float(sums.sum()), 1e-30))

    @property
    def strongest(self) -> int:
        """The frame with the largest share; the middle one for an empty map."""
        return len(self.frames) // 2 if self.is_empty else int(self.energy.argmax())


def cam_grids(samples: Sequence[Explained], names: Sequence[str], *, title: str) -> list[Saved]:
    """Pages of a grid: a row per class that has samples, each as face and map, with what the model says.

    Of a clip the frame with the strongest map is shown, and the map's share of every frame as bars below it.
    """
    present = [label for label in range(len(names)) if any(sample.true == label for sample in samples)]
    pages = [present[start : start + CLASSES_PER_PAGE] for start in range(0, len(present), CLASSES_PER_PAGE)]
    return [
        _page(samples, names, labels, f"{title} ({number} of {len(pages)})" if len(pages) > 1 else title)
        for number, labels in enumerate(pages, 1)
    ]


def _page(samples: Sequence[Explained], names: Sequence[str], labels: Sequence[int], title: str) -> Saved:
    rows = {label: [sample for sample in samples if sample.true == label] for label in labels}
    columns = max(len(row) for row in rows.values())
    has_clips = any(len(sample.frames) > 1 for row in rows.values() for sample in row)
    cell_width = 2 * PICTURE + GAP
    row_height = PICTURE + TEXT_HEIGHT + (BARS_HEIGHT if has_clips else 0) + ROW_GAP
    width = max(2 * MARGIN + LABEL_WIDTH + columns * (cell_width + CELL_GAP) - CELL_GAP, 5.2)
    figure, axes = canvas(width, MARGIN + HEAD + len(labels) * row_height)
    write(axes, MARGIN, MARGIN + 0.08, title, within=width - 2 * MARGIN, size=9, bold=True)
    note = "rows: true class"
    note += "; of a clip the frame with the strongest map; bars: each frame's share" if has_clips else "; face and map"
    write(axes, MARGIN, MARGIN + 0.28, note, within=width - 2.3, size=6.5, colour=GREY)
    scale_bar(axes, width - MARGIN - 1.3 - 0.35, MARGIN + 0.28, width=1.3)
    for number, label in enumerate(labels):
        top = MARGIN + HEAD + number * row_height
        axes.plot([MARGIN, width - MARGIN], [top - ROW_GAP / 2] * 2, color=RULE, linewidth=0.6)
        _write_name(axes, names[label], top)
        for column, sample in enumerate(rows[label]):
            _cell(axes, sample, MARGIN + LABEL_WIDTH + column * (cell_width + CELL_GAP), top, has_clips)
    return save(figure)


def _write_name(axes: Axes, name: str, top: float) -> None:
    """In several lines, broken at its separators, so that compound classes fit."""
    words = name.replace("_", " ").replace("-", " ").split() or [name]
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) < 13:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    for number, line in enumerate(lines[:5]):
        write(axes, MARGIN, top + 0.1 + 0.13 * number, line, within=LABEL_WIDTH - 0.08, size=8, bold=True)


def _cell(axes: Axes, sample: Explained, left: float, top: float, has_clips: bool) -> None:
    shown = sample.strongest
    place(axes, sample.frames[shown], left, top, PICTURE)
    place(axes, overlay(sample.frames[shown], sample.maps[shown]), left + PICTURE + GAP, top, PICTURE)
    below = top + PICTURE
    if has_clips:
        if len(sample.frames) > 1:
            _bars(axes, sample, left, below + 0.02)
        below += BARS_HEIGHT
    _verdict(axes, sample, left, below + TEXT_HEIGHT / 2, within=2 * PICTURE + GAP)


def _verdict(axes: Axes, sample: Explained, x: float, y: float, *, within: float) -> None:
    """What the model says and how sure it is; which class the map is of, where that is another one."""
    mark, colour = (RIGHT_MARK, RIGHT) if sample.is_right else (WRONG_MARK, WRONG)
    text = f"{mark} {sample.predicted} {sample.confidence:.2f}"
    if sample.is_empty:
        text += "; empty map"
    elif sample.subject != sample.predicted:
        text += f"; map of {sample.subject}"
    write(axes, x, y, text, within=within, size=6.5, colour=colour)


def _bars(axes: Axes, sample: Explained, left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    energy, width = sample.energy, (2 * PICTURE + GAP) / len(sample.frames)
    height = BARS_HEIGHT - 0.04
    most = max(float(energy.max()), 1e-30)
    for index, share in enumerate(energy):
        tall = height * float(share) / most
        colour = INK if index == sample.strongest else "#b5bac1"
        axes.add_patch(
            Rectangle((left + index * width, top + height - tall), 0.8 * width, tall, facecolor=colour, linewidth=0)
        )
    axes.plot([left, left + len(sample.frames) * width], [top + height] * 2, color="#b5bac1", linewidth=0.5)


def clip_strips(samples: Sequence[Explained], *, title: str) -> Saved:
    """A row per clip: its frames with the map over them, and each frame's share of it in percent."""
    from ferbench.rendering.samples import spread

    columns = min(max(len(sample.frames) for sample in samples), MOST_FRAMES)
    text_width, size = 1.5, 0.8
    width = 2 * MARGIN + text_width + columns * (size + GAP)
    row_height = size + 0.2
    figure, axes = canvas(width, MARGIN + HEAD + len(samples) * row_height)
    write(axes, MARGIN, MARGIN + 0.08, title, within=width - 2 * MARGIN, size=9, bold=True)
    note = "below each frame: its number, and its share of the map"
    write(axes, MARGIN, MARGIN + 0.28, note, within=width - 2.3, size=6.5, colour=GREY)
    scale_bar(axes, width - MARGIN - 1.3 - 0.35, MARGIN + 0.28)
    for number, sample in enumerate(samples):
        top = MARGIN + HEAD + number * row_height
        write(axes, MARGIN, top + 0.1, sample.sample_id, within=text_width - 0.08, size=6.5)
        _verdict(axes, sample, MARGIN, top + 0.26, within=text_width - 0.08)
        energy = sample.energy
        for column, index in enumerate(spread(len(sample.frames), columns)):
            left = MARGIN + text_width + column * (size + GAP)
            place(axes, overlay(sample.frames[index], sample.maps[index]), left, top, size)
            text = f"{index + 1}  \u00b7  {100 * energy[index]:.0f}%"
            strong = index == sample.strongest
            write(axes, left + size / 2, top + size + 0.07, text, within=size, size=6, colour=INK if strong else GREY,
                  bold=strong, across="center")  # fmt: skip
    return save(figure)
