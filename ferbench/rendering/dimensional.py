"""Scores of valence and arousal as terminal tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from ferbench.metrics import DIMENSIONAL_METRICS
from ferbench.rendering.wording import counted


def dimensional_tables(
    values: Mapping[str, Mapping[str, float]], *, mean_ccc: float, num_scored: int, num_samples: int
) -> list[RenderableType]:
    """A row per dimension, a column per metric, and the mean CCC below."""
    table = Table(box=SIMPLE_HEAD, title=f"valence and arousal, {counted(num_scored, 'sample')}", title_justify="left")
    table.add_column("")
    for row in DIMENSIONAL_METRICS.values():
        table.add_column(row.title, justify="right")
    for dimension, own in values.items():
        table.add_row(dimension, *(_number(own[name]) for name in DIMENSIONAL_METRICS))
    table.add_section()
    table.add_row("mean", _number(mean_ccc), *("" for _ in list(DIMENSIONAL_METRICS)[1:]))
    without = num_samples - num_scored
    said = [f"{counted(without, 'annotated sample')} without a prediction, not in these scores"] if without else []
    return [table, *said]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
