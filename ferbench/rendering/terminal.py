"""Reports as terminal tables: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ferbench import remote
from ferbench.metrics import METRICS, PROBABILITY_METRICS
from ferbench.metrics.table import UNITS
from ferbench.rendering.findings import findings_table
from ferbench.rendering.wording import (
    VIEW_NAMES,
    abbreviations,
    absent_note,
    bracketed,
    counted,
    distinct_metrics,
    elided,
    level_of,
    measured,
    percent,
    plain,
    shown_views,
    units_of,
)
from ferbench.report import Report

MOST_FAILURES = 10
MOST_CONFUSIONS = 10
MOST_NAME_CHARACTERS = 16
FOLD_METRICS = ("war", "uar", "macro_f1", "weighted_f1")
NO_PREDICTION = "no\npred."
"""Heading of the samples without a prediction, in as few columns as an abbreviated class name."""


def report_tables(report: Report) -> list[RenderableType]:
    """Headline numbers, folds, classes, confusion matrix, absent classes, failures; only those with something to say."""
    tables: list[RenderableType] = [_headline_table(report, view) for view in shown_views(report)]
    if len(report.folds) > 1:
        tables += [_fold_table(report, view) for view in shown_views(report)]
    tables += [_class_table(report), _confusion_table(report)]
    note = absent_note(report)
    if note:
        tables.append(Text(note))
    if report.failures:
        tables.append(_failure_table(report))
    return tables


def audit_tables(report: Report) -> list[RenderableType]:
    """What the audits found, to be printed before any number; a line when they found nothing."""
    if report.audits:
        return [findings_table(report.audits)]
    return [Text("audits: nothing found")]


def summary_table(title: str, rows: Mapping[str, str]) -> RenderableType:
    """Names and values under a title."""
    table = _table()
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(_cell(name), _cell(value))
    return _titled(title, table)


def print_tables(renderables: Iterable[RenderableType], console: Console) -> None:
    """Print them one below the other."""
    for renderable in renderables:
        console.print(renderable)
        console.print()


def _headline_table(report: Report, view: str) -> RenderableType:
    """Percents, then plain numbers, then those of the probabilities, with a line between; intervals of the pooled ones."""
    many = len(report.folds) > 1
    table = _table()
    table.add_column("metric", no_wrap=True)
    titles = ["pooled", *(f"{level_of(each)} over\n{units_of(each)}" for each in report.intervals)]
    # Broken by hand, so that two kinds of intervals fit beside them in 80 columns.
    for name in [*titles, *(["mean of\nfolds", "± sd"] if many else [])]:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for unit in UNITS:
        for key, title in distinct_metrics(unit).items():
            mean, deviation = report.over_folds(key, view)
            numbers = [measured(report.pooled.values[view][key], unit)]
            numbers += [bracketed(each.pooled[view].get(key), unit) for each in report.intervals]
            numbers += [measured(mean, unit), measured(deviation, unit)] if many else []
            table.add_row(_cell(title), *numbers)
        table.add_section()
    if view == "detected" and report.calibration is not None:
        for key, row in PROBABILITY_METRICS.items():
            table.add_row(_cell(row.title), measured(report.pooled.probability[key], row.unit))
    scored = f"{report.num_scored:,} of {counted(report.num_samples, 'sample')} scored"
    title = f"{scored}, {counted(len(report.folds), 'fold')}" if view == "detected" else VIEW_NAMES[view]
    return _titled(f"{title}; percent, or plain with three decimals", table)


def _fold_table(report: Report, view: str) -> RenderableType:
    """The metrics that most papers print; the page has them all."""
    table = _table()
    table.add_column("fold", overflow="fold")
    for name in ("n", "scored", *(METRICS[metric].title for metric in FOLD_METRICS)):
        table.add_column(name, justify="right", no_wrap=True)
    for fold in report.folds:
        table.add_row(
            _cell(elided(plain(fold.name), MOST_NAME_CHARACTERS)),
            f"{int(fold.confusion.support('all').sum())}",
            f"{int(fold.confusion.matrix.sum())}",
            *(percent(fold.values[view][metric]) for metric in FOLD_METRICS),
        )
    return _titled(f"per fold, {VIEW_NAMES[view]}; percent", table)


def _class_table(report: Report) -> RenderableType:
    both = len(shown_views(report)) > 1
    table = _table()
    table.add_column("class", no_wrap=True)
    columns = {"support": "support", "predicted": "predicted", "precision": "precision", "recall": "recall", "f1": "F1"}
    if both:
        # Broken by hand, so that 16 letters of class name fit beside them in 80 columns.
        columns = {"support": "support", "unscored": NO_PREDICTION, "predicted": "predicted",
                   "precision": "precision", "recall": "recall", "recall_all": "recall,\nall", "f1": "F1"}  # fmt: skip
    for heading in columns.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report.per_class():
        cells = [str(row[key]) if isinstance(row[key], int) else percent(row[key]) for key in columns]
        name = elided(plain(row["class"]), MOST_NAME_CHARACTERS)
        table.add_row(_cell(name), *cells, style="" if row["support"] else "dim")
    title = "per class, pooled" + (", over scored samples unless it says all" if both else "") + "; percent"
    return _titled(title, table)


# --- the confusion matrix ----------------------------------------------------------------------------------------------


class _FirstThatFits:
    """Prints the first of several tables that is not wider than the console, or the last one."""

    def __init__(self, *choices: RenderableType) -> None:
        self._choices = choices

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(width=100_000)
        for choice in self._choices[:-1]:
            if console.measure(choice, options=unlimited).maximum <= options.max_width:
                yield choice
                return
        yield self._choices[-1]


def _confusion_table(report: Report) -> RenderableType:
    names = report.labels.names
    headings = [[plain(name) for name in names], *(abbreviations(names, letters) for letters in (5, 4, 3))]
    tables = [
        _matrix_table(report, row, gap) for row, gap in zip([*headings, headings[-1]], (2, 2, 2, 2, 1), strict=True)
    ]
    return _titled(
        "confusion matrix, pooled: rows true, columns predicted", _FirstThatFits(*tables, _largest_confusions(report))
    )


def _matrix_table(report: Report, headings: list[str], gap: int) -> Table:
    confusion = report.pooled.confusion
    has_extra = bool(confusion.unscored.any())
    table = _table(gap)
    table.add_column("", no_wrap=True)
    for heading in [*headings, NO_PREDICTION] if has_extra else headings:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    present = confusion.present("all")
    for label, name in enumerate(report.labels.names):
        cells = [Text(str(count)) for count in confusion.matrix[label].tolist()]
        cells[label].stylize("bold")
        if has_extra:
            cells.append(Text(str(int(confusion.unscored[label]))))
        title = _cell(elided(plain(name), MOST_NAME_CHARACTERS))
        table.add_row(title, *cells, style="" if present[label] else "dim")
    return table


def _largest_confusions(report: Report) -> RenderableType:
    size = len(report.labels)
    table = _table()
    for name in ("true", "predicted as"):
        table.add_column(name, overflow="fold")
    table.add_column("samples", justify="right", no_wrap=True)
    matrix = report.pooled.confusion.matrix.copy()
    np.fill_diagonal(matrix, 0)
    # A stable sort of the negated counts: ties stay in the order of the classes.
    for position in np.argsort(-matrix, axis=None, kind="stable")[:MOST_CONFUSIONS].tolist():
        true, predicted = divmod(position, size)
        if matrix[true, predicted]:
            names = report.labels.names
            table.add_row(_cell(names[true]), _cell(names[predicted]), str(int(matrix[true, predicted])))
    note = f"{size} classes are wider than this terminal; the {MOST_CONFUSIONS} largest confusions:"
    return Group(Text(note), table)


# --- failures ----------------------------------------------------------------------------------------------------------


def _failure_table(report: Report) -> RenderableType:
    table = _table()
    table.add_column("sample", overflow="fold", ratio=2)
    table.add_column("why", overflow="fold", ratio=3)
    for sample_id, error in report.failures[:MOST_FAILURES]:
        table.add_row(_cell(sample_id), _cell(error))
    if len(report.failures) > MOST_FAILURES:
        table.add_row(f"and {len(report.failures) - MOST_FAILURES:,} more", "")
    return _titled(f"{counted(len(report.failures), 'sample')} without a prediction", table)


def _table(gap: int = 2) -> Table:
    # The box puts one space between columns; the padding adds the others.
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))


def _titled(title: str, body: RenderableType) -> RenderableType:
    """A title of its own line: a table's own title is broken to the width of the table."""
    return Group(Text(plain(title), style="bold"), body)


def _cell(text: str) -> Text:
    """Text from data: a `Text` is not read as rich's markup, so `[red]` in an id stays what it is."""
    return Text(plain(remote.shown(text)))
