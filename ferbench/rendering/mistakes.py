"""The most confident mistakes with the faces that the model saw."""

from __future__ import annotations

from dataclasses import dataclass

from ferbench.manifest import Manifest
from ferbench.rendering.samples import SampleRow, rows_of, spread
from ferbench.rendering.wording import percent
from ferbench.report import Report

MOST_CROPS = 4


@dataclass(frozen=True, slots=True)
class ShownMistake:
    """One mistake in words, and the sample it is of; None where the manifest does not have it."""

    sample_id: str
    target: str
    predicted: str
    confidence: str
    """Percent; empty where probabilities are not known."""
    row: SampleRow | None


def shown_mistakes(report: Report, aligned: Manifest | None) -> list[ShownMistake]:
    """Every mistake of the report, with at most `MOST_CROPS` crops each, joined by sample_id."""
    wanted = [mistake.sample_id for mistake in report.mistakes]
    rows = {} if aligned is None else {row.sample_id: row for row in rows_of(aligned, wanted)}
    names = report.labels.names
    return [
        ShownMistake(
            mistake.sample_id, names[mistake.target], names[mistake.predicted],
            "" if mistake.confidence is None else percent(mistake.confidence), rows.get(mistake.sample_id),
        )
        for mistake in report.mistakes
    ]  # fmt: skip


def few_crops(row: SampleRow) -> SampleRow:
    """The same sample with at most `MOST_CROPS` of its crops, spread over the clip."""
    chosen = [row.crops[index] for index in spread(len(row.crops), MOST_CROPS)]
    return SampleRow(row.sample_id, row.class_name, row.error, row.frames, row.notes, row.num_crops, tuple(chosen))
