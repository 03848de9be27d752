"""`score` of valence and arousal: CCC, RMSE and Pearson's correlation of both, and the mean CCC of ABAW."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferbench.errors import UsageError
from ferbench.findings import Finding
from ferbench.metrics import DIMENSIONAL_METRICS
from ferbench.score_files.dimensional import DIMENSIONS, pair_up, read_dimensional
from ferbench.storage import write_json

REPORT = "dimensional.json"


@dataclass(frozen=True, slots=True)
class DimensionalReport:
    """Scores over all samples at once, as the ABAW competitions take them, not averaged over videos."""

    num_samples: int
    """Samples with an annotation."""
    num_scored: int
    """Of those, samples with a prediction."""
    not_annotated: int
    values: Mapping[str, Mapping[str, float]]
    """`values["valence"]["ccc"]`; NaN where undefined."""
    findings: tuple[Finding, ...]

    @property
    def mean_ccc(self) -> float:
        """(CCC of valence + CCC of arousal) / 2."""
        return sum(self.values[dimension]["ccc"] for dimension in DIMENSIONS) / len(DIMENSIONS)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where undefined."""
        return {
            "num_samples": self.num_samples,
            "num_scored": self.num_scored,
            "not_annotated": self.not_annotated,
            "dimensions": {
                dimension: {name: _plain(value) for name, value in values.items()}
                for dimension, values in self.values.items()
            },
            "mean_ccc": _plain(self.mean_ccc),
            "metrics": {name: row.definition for name, row in DIMENSIONAL_METRICS.items()},
            "audits": [finding.as_dict() for finding in self.findings],
        }


def score_dimensional(
    paths: Sequence[Path],
    out: Path | None = None,
    *,
    truth: Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> DimensionalReport:
    """Score one file or folder of valence and arousal; with `out`, write `dimensional.json` there.

    Raises UsageError for several files, PredictionsError naming file, line and rule for what cannot be scored.
    """
    if len(paths) != 1:
        raise UsageError("valence and arousal are scored one file or folder at a time")
    pairs = pair_up(read_dimensional(paths[0], columns), read_dimensional(truth) if truth else None)
    scored = np.isfinite(pairs.predicted).all(axis=1)
    values = {
        dimension: {
            name: row.function(pairs.target[scored, column], pairs.predicted[scored, column])
            for name, row in DIMENSIONAL_METRICS.items()
        }
        for column, dimension in enumerate(DIMENSIONS)
    }
    report = DimensionalReport(len(pairs.names), int(scored.sum()), pairs.not_annotated, values, pairs.findings)
    if out is not None:
        write_json(out / REPORT, report.as_dict())
    return report


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
