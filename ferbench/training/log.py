"""The log of a training: one CSV row per epoch, curves as PNG, and TensorBoard where it is installed and asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ferbench.errors import MissingExtraError
from ferbench.storage import write_bytes, write_text

LOG, CURVES = "log.csv", "curves.png"


def write_log(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """All epochs so far, atomically; the columns are the first row's."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / LOG, text.getvalue())


def write_curves(rows: Sequence[Mapping[str, Any]], folder: Path, *, best_epoch: int, title: str) -> None:
    """Loss, and the scores of the train and the validation part, over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 3), layout="constrained")
    loss, score = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) < 30 else ""
    loss.plot(epochs, [row["train_loss"] for row in rows], color="#1f5f99", marker=marker, markersize=3)
    loss.set_ylabel("training loss")
    lines = {"train_war": ("train WAR", "#7a828c", "--"), "validation_war": ("validation WAR", "#1f5f99", "-"),
             "validation_uar": ("validation UAR", "#c2571a", "-")}  # fmt: skip
    for column, (label, colour, style) in lines.items():
        if column in rows[0]:
            values = [100 * row[column] for row in rows]
            score.plot(epochs, values, style, color=colour, label=label, marker=marker, markersize=3)
    score.axvline(best_epoch, color="#9aa4b0", linewidth=0.8, linestyle=":", label=f"kept: epoch {best_epoch}")
    score.set_ylabel("percent")
    score.set_ylim(0, 100)
    score.legend(fontsize=7, frameon=False)
    for axes in (loss, score):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=9)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_bytes(folder / CURVES, buffer.getvalue())


def tensorboard_writer(folder: Path) -> Any:
    """A writer of TensorBoard's events; MissingExtraError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("--tensorboard needs it: pip install tensorboard") from error
    return SummaryWriter(str(folder / "tensorboard"))
