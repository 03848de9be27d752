"""The figures of a report as files for a paper: PDF whose text is text, and PNG of 300 dots per inch.

Sizes are those of a column of a paper (3.35 in) or of the page (7 in). They have no titles, since a paper's caption says
what they show. Shades differ in lightness and bars in hatching, so that they can be told apart in grey print and by
readers who do not see all colours.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ferbench.rendering.calibration import calibration_figure
from ferbench.rendering.class_bars import class_figure
from ferbench.rendering.confusion import confusion_figure
from ferbench.report import Report
from ferbench.storage import remove, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300
FORMATS = ("pdf", "png")


def _confusion(report: Report) -> Figure | None:
    return confusion_figure(report.pooled.confusion, report.labels)


FIGURES: dict[str, Callable[[Report], Figure | None]] = {
    "confusion": _confusion,
    "per_class": class_figure,
    "calibration": calibration_figure,
}
"""File name -> what draws it, or None where the report has nothing to draw."""


def figure_bytes(figure: Figure, kind: str, *, dpi: int = DPI) -> bytes:
    """A figure as `pdf` or `png`; the same figure gives the same bytes: no date, no name of who wrote it."""
    import matplotlib

    buffer = io.BytesIO()
    metadata = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}[kind]
    # Fonts as TrueType, not as drawings: text can be searched and edited, and publishers refuse Type 3.
    with matplotlib.rc_context({"pdf.fonttype": 42, "hatch.linewidth": 0.6}):
        figure.savefig(buffer, format=kind, dpi=dpi, facecolor="white", transparent=False, metadata=metadata)
    return buffer.getvalue()


def write_figures(report: Report, folder: Path) -> list[str]:
    """Write what can be drawn as `folder/NAME.pdf` and `.png`, and remove what an earlier report left; the names drawn."""
    drawn = []
    for name, draw in FIGURES.items():
        figure = draw(report)
        for kind in FORMATS:
            path = folder / f"{name}.{kind}"
            if figure is None:
                remove(path)
            else:
                write_bytes(path, figure_bytes(figure, kind))
        if figure is not None:
            drawn.append(name)
    return drawn
