"""The part with the most confident mistakes, of the model or of a predictions file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import FerbenchError, UsageError
from ferbench.explaining.seen import pictures
from ferbench.explaining.strip_figure import Shown, mistake_strips
from ferbench.jobs.explain.study import Study
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader
from ferbench.predictions import Predictions
from ferbench.rendering.wording import counted
from ferbench.report import ReportOptions, build_report

FRAMES_OF_MISTAKE = 6
MISTAKES_PER_PAGE = 24


@dataclass(frozen=True, slots=True)
class MistakePart:
    """The most confident mistakes."""

    pages: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    total: int
    """Samples that the model gets wrong."""
    scored: int


def make_mistakes(study: Study, predictions: Predictions, title: str) -> MistakePart:
    """Strips of the samples that are wrong with the most confidence; samples are joined by their ids."""
    by_id = study.chosen.by_id
    options = ReportOptions(replicates=0, most_mistakes=study.options.mistakes)
    mistakes = build_report(predictions, options=options).mistakes
    names = predictions.labels.names
    shown = []
    with FrameReader() as reader:
        for mistake in mistakes:
            sample = by_id[mistake.sample_id]
            seen: tuple[NDArray[np.uint8], ...] = ()
            try:
                seen = pictures(study.manifest, sample, reader, most=FRAMES_OF_MISTAKE)
            except UsageError:
                raise
            except FerbenchError as error:
                study.errors.setdefault(sample.sample_id, error.as_row())
            shown.append(
                Shown(mistake.sample_id, names[mistake.target], names[mistake.predicted], mistake.confidence, seen)
            )
    pages = []
    for start in range(0, len(shown), MISTAKES_PER_PAGE):
        name = "mistakes" if len(shown) <= MISTAKES_PER_PAGE else f"mistakes-{start // MISTAKES_PER_PAGE + 1}"
        pages.append(study.keep(name, mistake_strips(shown[start : start + MISTAKES_PER_PAGE], title=title)))
    rows = tuple(
        {
            "sample_id": each.sample_id, "true": each.true, "predicted": each.predicted,
            "confidence": None if each.confidence is None else round(each.confidence, 6),
        }
        for each in shown
    )  # fmt: skip
    predicted = predictions.predicted
    wrong = int(((predicted >= 0) & (predicted != predictions.targets)).sum())
    return MistakePart(tuple(pages), rows, wrong, int((predicted >= 0).sum()))


def joined(predictions: Predictions, by_id: Mapping[str, Sample], manifest: Manifest) -> tuple[Predictions, list[str]]:
    """A file's predictions of the chosen samples, by id, and what must be said of the others.

    Raises UsageError when none is of them, or when the two disagree on what a sample is.
    """
    rows = [row for row, name in enumerate(predictions.sample_ids) if name in by_id]
    if not rows:
        raise UsageError(
            f"none of the {len(predictions)} predictions is of a chosen sample of manifest {manifest.name!r}; is it the "
            f"manifest they were made from? First ids: {predictions.sample_ids[0]!r}, {next(iter(by_id))!r}"
        )
    names = predictions.labels.names
    for row in rows:
        label = by_id[predictions.sample_ids[row]].label
        name = None if label is None else manifest.labels.names[label]
        if name is None or predictions.labels.label_of(name) != predictions.targets[row]:
            raise UsageError(
                f"sample {predictions.sample_ids[row]!r} is {name} in the manifest and {names[predictions.targets[row]]} "
                "in the predictions: they were made from another manifest"
            )
    notices = []
    if len(rows) < len(predictions):
        notices.append(
            f"{counted(len(predictions) - len(rows), 'prediction')} of samples that were not chosen are left out."
        )
    if len(rows) < len(by_id):
        notices.append(f"{counted(len(by_id) - len(rows), 'chosen sample')} have no row in the predictions.")
    take = np.array(rows)
    kept = dataclasses.replace(
        predictions,
        sample_ids=tuple(predictions.sample_ids[row] for row in rows),
        targets=predictions.targets[take],
        logits=predictions.logits[take],
        folds=tuple(predictions.folds[row] for row in rows),
        errors=tuple(predictions.errors[row] for row in rows),
        attributes={name: tuple(values[row] for row in rows) for name, values in predictions.attributes.items()},
    )
    return kept, notices
