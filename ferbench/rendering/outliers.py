"""Which samples' faces are unlike the others': they are looked at first."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench.manifest import Manifest

UNUSUAL = 3.5
"""Modified z-score above which a value is an outlier (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993)."""
FEWEST = 8
"""With fewer values than this none is unusual."""
COLUMNS = {
    "face_score": (-1, 0.01, "detector score {:.2f}, usual {:.2f}"),
    "face_size": (-1, 2.0, "face of {:.0f} px, usual {:.0f}"),
    "sharpness": (-1, 5.0, "sharpness {:.0f}, usual {:.0f}"),
    "yaw": (0, 3.0, "turned by {:.0f} degrees, usual {:.0f}"),
    "jump": (1, 0.05, "jumps {:.1f} face widths, usual {:.1f}"),
    "face_share": (-1, 0.02, "a face in {:.0%} of the frames, usual {:.0%}"),
}
"""Quality column of an aligned manifest -> (which side is bad: low -1, high 1, both 0; the least spread that its noise
has, so that equal values are not made special by rounding; how it is said)."""


def unusual_values(manifest: Manifest) -> dict[str, dict[int, float]]:
    """Quality column -> row -> modified z-score of the rows whose value is unusual.

    A value's distance from the median is measured in median absolute deviations (times 0.6745, as the z-score of a normal
    distribution), with a floor per column.
    """
    found = {}
    for column, (side, least, _) in COLUMNS.items():
        if column not in manifest.table.column_names:
            continue
        values = _values(manifest, column)
        if (~np.isnan(values)).sum() < FEWEST:
            continue
        distance = values - float(np.nanmedian(values))
        spread = max(float(np.nanmedian(np.abs(distance))), least)
        score = np.nan_to_num(0.6745 * (np.abs(distance) if side == 0 else side * distance) / spread)
        found[column] = {row: float(score[row]) for row in np.flatnonzero(score > UNUSUAL).tolist()}
    return found


def outliers(manifest: Manifest) -> dict[int, str]:
    """Row -> what is unusual about it, the most unusual first; {} for a manifest without quality columns."""
    worst: dict[int, float] = {}
    said: dict[int, str] = {}
    for column, rows in unusual_values(manifest).items():
        values = _values(manifest, column)
        usual = float(np.nanmedian(values))
        usual = 0.0 if abs(usual) < 0.5 and column == "yaw" else usual  # not "-0"
        for row, score in rows.items():
            if score > worst.get(row, 0.0):
                worst[row] = score
                said[row] = COLUMNS[column][2].format(values[row], usual)
    return {row: said[row] for row in sorted(said, key=lambda row: (-worst[row], row))}


def _values(manifest: Manifest, column: str) -> NDArray[np.float64]:
    return np.asarray(manifest.table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
