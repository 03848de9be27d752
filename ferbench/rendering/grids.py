"""The tables of a report as plain cells: what the page and the Markdown both show, said once."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ferbench.metrics import METRICS, PROBABILITY_METRICS
from ferbench.metrics.table import UNITS
from ferbench.recipe import Recipe
from ferbench.rendering.confusion import NO_PREDICTION, row_fractions
from ferbench.rendering.wording import (
    VIEW_NAMES,
    bracketed,
    distinct_metrics,
    level_of,
    measured,
    percent,
    shown_views,
    units_of,
)
from ferbench.report import Report, Score

MOST_CONFUSIONS = 15
MOST_SCORES = 200
"""Folds, or values of an attribute, that a table lists."""
UNIT_WORDS = {"percent": "in percent", "plain": "plain numbers"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `kind` is `name` (the row's heading), `words`, `number`, or `bar` (a percent that is also drawn)."""

    title: str
    kind: str = "number"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of text from anywhere: whoever writes it escapes it."""

    cells: tuple[str, ...]
    muted: bool = False
    starts: bool = False
    """It is the first of a group of rows."""


@dataclass(frozen=True, slots=True)
class Grid:
    """One table."""

    key: str
    """Unique on the page; letters, digits and hyphens."""
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def words_grid(key: str, caption: str, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
    """A table of text; the first column names the row."""
    columns = tuple(Column(title, "name" if number == 0 else "words") for number, title in enumerate(titles))
    return Grid(key, caption, columns, tuple(Row(tuple(row)) for row in rows))


# --- scores ------------------------------------------------------------------------------------------------------------


def headline_grids(report: Report) -> list[Grid]:
    """Every metric of the confusion matrix, a table per unit: pooled and mean of folds, each with its intervals."""
    views, many = shown_views(report), len(report.folds) > 1
    tables = report.intervals
    columns = [Column("metric", "name"), *([Column("over", "words")] if len(views) > 1 else []), Column("pooled")]
    columns += [Column(f"{level_of(table)}, {units_of(table)}") for table in tables]
    if many:
        columns += [Column("mean of folds"), Column("± sd")]
        columns += [Column(f"{level_of(table)}, {units_of(table)}") for table in tables]
    grids = []
    for unit in UNITS:
        rows = []
        for view in views:
            for number, (key, title) in enumerate(distinct_metrics(unit).items()):
                mean, deviation = report.over_folds(key, view)
                cells = [title, *([VIEW_NAMES[view]] if len(views) > 1 else [])]
                cells += [measured(report.pooled.values[view][key], unit)]
                cells += [bracketed(table.pooled[view].get(key), unit) for table in tables]
                if many:
                    cells += [measured(mean, unit), measured(deviation, unit)]
                    cells += [bracketed(table.mean_of_folds[view].get(key), unit) for table in tables]
                rows.append(Row(tuple(cells), starts=number == 0))
        grids.append(Grid(f"metrics-{unit}", f"Every metric, {UNIT_WORDS[unit]}", tuple(columns), tuple(rows)))
    return grids


def probability_grid(report: Report) -> Grid | None:
    """The scores of the probabilities, each with its unit; None where only the predicted classes are known."""
    if report.calibration is None:
        return None
    rows = []
    for key, row in PROBABILITY_METRICS.items():
        values = [value for fold in report.folds if not math.isnan(value := fold.probability[key])]
        mean = statistics.fmean(values) if values else math.nan
        deviation = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
        numbers = [measured(value, row.unit) for value in (report.pooled.probability[key], mean, deviation)]
        rows.append(Row((row.title, row.unit, *numbers[: 3 if len(report.folds) > 1 else 1])))
    columns = [Column("metric", "name"), Column("unit", "words"), Column("pooled")]
    if len(report.folds) > 1:
        columns += [Column("mean of folds"), Column("± sd")]
    return Grid("metrics-probability", "Of the probabilities, over scored samples", tuple(columns), tuple(rows))


def definition_grid(report: Report) -> Grid:
    """What each metric is, all names included."""
    rows = [*METRICS.values(), *(PROBABILITY_METRICS.values() if report.calibration else ())]
    return words_grid(
        "definitions", "What each metric is", ("metric", "definition", "an absent class", "source"),
        [(row.title, row.definition, row.absent_class, row.source) for row in rows],
    )  # fmt: skip


def fold_grids(report: Report) -> list[Grid]:
    """Each fold's scores; none for a single fold."""
    return _score_grids("folds", "fold", "Each fold", report.folds, report) if len(report.folds) > 1 else []


def subgroup_grids(report: Report) -> list[Grid]:
    """The scores of each value of each attribute."""
    grids = []
    for number, attribute in enumerate(dict.fromkeys(group.attribute for group in report.subgroups)):
        scores = [group.score for group in report.subgroups if group.attribute == attribute]
        grids += _score_grids(f"by-{number}", attribute, f"By {attribute}", scores, report)
    return grids


def _score_grids(key: str, heading: str, caption: str, scores: Sequence[Score], report: Report) -> list[Grid]:
    grids = []
    counts = "; n counts all samples" if len(shown_views(report)) > 1 else ""
    if len(scores) > MOST_SCORES:
        counts += f"; the first {MOST_SCORES} of {len(scores):,}, report.json has all"
    for view in shown_views(report):
        for unit in UNITS:
            metrics = {key: METRICS[key].title for key in distinct_metrics(unit)}
            extra = {
                name: row.title
                for name, row in PROBABILITY_METRICS.items()
                if row.unit == unit and view == "detected" and report.calibration is not None
            }
            rows = []
            for score in scores[:MOST_SCORES]:
                total, scored = int(score.confusion.support("all").sum()), int(score.confusion.matrix.sum())
                cells = [score.name, f"{total:,}", f"{scored:,}"]
                cells += [measured(score.values[view][name], unit) for name in metrics]
                cells += [measured(score.probability[name], unit) for name in extra]
                rows.append(Row(tuple(cells), muted=not scored))
            titles = [*metrics.values(), *extra.values()]
            columns = (Column(heading, "name"), Column("n"), Column("scored"), *map(Column, titles))
            said = f"{caption}, over {VIEW_NAMES[view]}, {UNIT_WORDS[unit]}{counts}"
            grids.append(Grid(f"{key}-{view}-{unit}", said, columns, tuple(rows)))
    return grids


# --- classes -----------------------------------------------------------------------------------------------------------


def class_grid(report: Report) -> Grid:
    """Support, precision, recall and F1 of each class."""
    both = len(shown_views(report)) > 1
    kinds = {"class": "name", "precision": "bar", "recall": "bar", "f1": "bar"}
    titles = {"class": "class", "support": "support", "unscored": "no prediction", "predicted": "predicted",
              "precision": "precision", "recall": "recall", "recall_all": "recall, all", "f1": "F1"}  # fmt: skip
    keys = [key for key in titles if both or key not in ("unscored", "recall_all")]
    rows = []
    for row in report.per_class():
        present = bool(row["support"])
        cells = [f"{row[key]:,}" if isinstance(row[key], int) else percent(row[key]) for key in keys[1:]]
        rows.append(Row((row["class"] + ("" if present else " (absent)"), *cells), muted=not present))
    over = ", over scored samples where it does not say all" if both else ""
    return Grid(
        "class-scores", f"Each class, pooled{over}; precision, recall and F1 in percent",
        tuple(Column(titles[key], kinds.get(key, "number")) for key in keys), tuple(rows),
    )  # fmt: skip


def count_grid(report: Report) -> Grid:
    """The confusion matrix, counts."""
    confusion = report.pooled.confusion
    cells = np.concatenate([confusion.matrix, confusion.unscored[:, None]], axis=1)
    texts = [[f"{count:,}" for count in row] for row in cells.tolist()]
    return _matrix_grid("counts", "Samples per true class (rows) and predicted class (columns), pooled", texts, report)


def share_grid(report: Report) -> Grid:
    """The confusion matrix, percent of the true class."""
    present = report.pooled.confusion.present("all")
    texts = [
        [f"{100 * share:.1f}" if here else "–" for share in row]
        for row, here in zip(row_fractions(report.pooled.confusion).tolist(), present, strict=True)
    ]
    return _matrix_grid(
        "shares", "Percent of each true class (rows) per predicted class (columns), pooled", texts, report
    )


def _matrix_grid(key: str, caption: str, texts: list[list[str]], report: Report) -> Grid:
    both = len(shown_views(report)) > 1
    titles = [*report.labels.names, *([NO_PREDICTION] if both else [])]
    present = report.pooled.confusion.present("all")
    rows = [
        Row((name if here else f"{name} (absent)", *(row if both else row[:-1])), muted=not here)
        for name, here, row in zip(report.labels.names, present, texts, strict=True)
    ]
    return Grid(key, caption, (Column("true class", "name"), *map(Column, titles)), tuple(rows))


def confusions_grid(report: Report) -> Grid | None:
    """The largest confusions; None when nothing was confused."""
    names, matrix = report.labels.names, report.pooled.confusion.matrix.copy()
    np.fill_diagonal(matrix, 0)
    shares = row_fractions(report.pooled.confusion)
    rows = []
    # A stable sort of the negated counts: ties stay in the order of the classes.
    for place in np.argsort(-matrix, axis=None, kind="stable")[:MOST_CONFUSIONS].tolist():
        true, predicted = divmod(place, len(names))
        if matrix[true, predicted]:
            count = f"{int(matrix[true, predicted]):,}"
            rows.append(Row((names[true], names[predicted], count, f"{100 * shares[true, predicted]:.1f}")))
    if not rows:
        return None
    columns = (
        Column("true class", "name"), Column("predicted as", "words"), Column("samples"), Column("% of the true class"),
    )  # fmt: skip
    return Grid("confusions", "The largest confusions, pooled", columns, tuple(rows))


def calibration_grid(report: Report) -> Grid | None:
    """The bins of the calibration curve that hold samples."""
    bins = report.calibration
    if bins is None:
        return None
    rows = []
    for number in np.flatnonzero(bins.count).tolist():
        low, high = (f"{100 * edge:.1f}" for edge in bins.edges[number : number + 2])
        sure, right = float(bins.confidence[number]), float(bins.accuracy[number])
        gap = f"{100 * (right - sure):+.2f}".replace("-", "−")
        rows.append(Row((f"{low} to {high}", f"{int(bins.count[number]):,}", percent(sure), percent(right), gap)))
    columns = (
        Column("confidence", "name"), Column("samples"), Column("mean confidence"), Column("accuracy"), Column("gap"),
    )  # fmt: skip
    return Grid("calibration-bins", "Bins of confidence, pooled over scored samples, in percent", columns, tuple(rows))


# --- samples and settings ----------------------------------------------------------------------------------------------


def mistake_grid(report: Report) -> Grid:
    """The most confident mistakes."""
    names = report.labels.names
    known = any(mistake.confidence is not None for mistake in report.mistakes)
    rows = [
        Row((mistake.sample_id, names[mistake.target], names[mistake.predicted],
             *([percent(mistake.confidence)] if known else [])))
        for mistake in report.mistakes
    ]  # fmt: skip
    columns = [Column("sample", "name"), Column("true class", "words"), Column("predicted as", "words")]
    columns += [Column("confidence")] if known else []
    caption = "The most confident mistakes; confidence in percent" if known else "Mistakes"
    return Grid("mistake-list", caption, tuple(columns), tuple(rows))


def failure_grid(report: Report, *, most: int) -> Grid:
    """The first samples without a prediction."""
    return words_grid("failure-list", "Samples without a prediction", ("sample", "why"), report.failures[:most])


def recipe_grid(recipe: Recipe) -> Grid:
    """Everything that decided the pixels of the faces."""
    columns = (Column("stage", "words"), Column("setting", "name"), Column("value", "words"))
    rows = [
        Row((stage, key, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)))
        for stage, settings in recipe.stages
        for key, value in settings
    ]
    return Grid("recipe-settings", "Resolved settings", columns, tuple(rows))
