"""A comparison as a long CSV, one number a line, for further analysis."""

from __future__ import annotations

import csv
import io
import math

from ferbench.rendering.comparison import Comparison, LongRow

COLUMNS = LongRow.__slots__


def comparison_csv(comparison: Comparison) -> str:
    """Header and lines: values are fractions 0..1 (or plain, as the metric's unit is); empty where there is none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in comparison.long:
        writer.writerow([_text(getattr(row, name)) for name in COLUMNS])
    return file.getvalue()


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)
