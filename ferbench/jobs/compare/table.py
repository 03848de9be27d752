"""From groups of runs to rows and columns: which number stands in a cell, and which is best."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ferbench.intervals import Interval
from ferbench.jobs.compare.caveats import Notes, run_caveats, unscored_caveat
from ferbench.jobs.compare.grouping import Group, common_coverage
from ferbench.jobs.compare.options import VIEWS, CompareOptions
from ferbench.jobs.compare.runs import Run
from ferbench.metrics import METRICS
from ferbench.metrics import VIEWS as ALL_VIEWS
from ferbench.rendering.comparison import LOWER_IS_BETTER, Cell, Column, GroupHead, LongRow, Row, figure
from ferbench.report import Report, ReportOptions, build_report

DEFAULT_METRICS = ("uar", "war")


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A group with the report of each of its runs."""

    group: Group
    reports: tuple[Report, ...]
    metrics: tuple[str, ...]
    statistic: str
    view: str

    @property
    def pairs(self) -> Iterator[tuple[Run, Report]]:
        """Each run with its report."""
        return zip(self.group.runs, self.reports, strict=True)


def score_group(group: Group, options: CompareOptions) -> Scored:
    """Every number of a group. Raises PredictionsError when a run has nothing to score."""
    report_options = ReportOptions(options.replicates, options.level, options.seed, most_mistakes=0)
    reports = tuple(build_report(run.predictions, options=report_options) for run in group.runs)
    of_card = [name for name in (group.card.metrics if group.card else ()) if name in METRICS]
    metrics = tuple(dict.fromkeys(options.metrics or of_card or DEFAULT_METRICS))
    return Scored(group, reports, metrics, group.statistic(options.statistic), VIEWS[options.view])


def head_of(scored: Scored, marks: tuple[str, ...]) -> GroupHead:
    """What stands over the columns of a group."""
    units = dict.fromkeys(report.intervals[-1].unit for report in scored.reports if report.intervals)
    common = common_coverage(scored.group.runs)
    return GroupHead(
        scored.group.dataset, scored.group.title, scored.statistic, scored.group.num_folds, scored.view, len(common),
        scored.metrics, tuple(units), marks,
    )  # fmt: skip


def run_cells(scored: Scored, number: int, notes: Notes) -> list[dict[Column, Cell]]:
    """The cells of each run of group `number`, the best marked."""
    common = common_coverage(scored.group.runs)
    found: list[dict[Column, Cell]] = []
    for run, report in scored.pairs:
        sentences = list(run_caveats(scored.group, run, common))
        sentences += [text for text in [unscored_caveat(report, scored.view, scored.metrics)] if text]
        marks = notes.marks(sentences)
        found.append({Column(number, metric): _cell(scored, report, metric, marks) for metric in scored.metrics})
    ranked = [cells for run, cells in zip(scored.group.runs, found, strict=True) if run.coverage == common]
    for metric in scored.metrics:
        mark_best(ranked, Column(number, metric), with_second=True)
    return found


def mark_best(rows: Sequence[dict[Column, Cell]], column: Column, *, with_second: bool) -> None:
    """Mark the best and the second best of a column. What prints the same is the same: ties are all marked.

    One alone is not best of anything, and a second best needs a third.
    """
    sign = -1 if column.metric in LOWER_IS_BETTER else 1
    there = [cells for cells in rows if column in cells and not math.isnan(cells[column].value)]
    # As printed: 0.63406 and 0.63414 are both 63.41, and one of them in bold would look like a mistake.
    values = {id(cells): sign * float(figure(cells[column].value, column.metric)) for cells in there}
    places = sorted(set(values.values()), reverse=True)
    if len(there) < 2:
        return
    for cells in there:
        place = places.index(values[id(cells)])
        second = with_second and place == 1 and len(there) > 2
        cells[column] = dataclasses.replace(cells[column], best=place == 0, second=second)


def _cell(scored: Scored, report: Report, metric: str, marks: tuple[str, ...]) -> Cell:
    value, deviation = value_of(report, metric, scored.view, scored.statistic)
    return Cell(
        value=value,
        text=figure(value, metric),
        deviation="" if math.isnan(deviation) else figure(deviation, metric),
        interval=interval_of(report, metric, scored.view, scored.statistic),
        marks=marks,
    )


def value_of(report: Report, metric: str, view: str, statistic: str) -> tuple[float, float]:
    """(value, sample standard deviation over folds); NaN for what is undefined, as the deviation of a pooled value."""
    if metric in METRICS and statistic == "mean_of_folds":
        return report.over_folds(metric, view)
    if metric in METRICS:
        return report.pooled.values[view][metric], float("nan")
    if statistic == "pooled":
        return report.pooled.probability[metric], float("nan")
    values = [fold.probability[metric] for fold in report.folds if not math.isnan(fold.probability[metric])]
    mean = statistics.fmean(values) if values else float("nan")
    return mean, statistics.stdev(values) if len(values) > 1 else float("nan")


def interval_of(report: Report, metric: str, view: str, statistic: str) -> Interval | None:
    """The interval over clusters where the run has them, else over samples; None where none was made."""
    if not report.intervals or metric not in METRICS:
        return None
    table = report.intervals[-1]
    return (table.mean_of_folds if statistic == "mean_of_folds" else table.pooled)[view][metric]


def long_rows(scored: Scored) -> Iterator[LongRow]:
    """Every number of a group's runs: both views, every statistic, every fold."""
    for run, report in scored.pairs:
        for metric in scored.metrics:
            for view in ALL_VIEWS if metric in METRICS else ("detected",):
                yield from _long_rows(scored, run, report, metric, view)


def _long_rows(scored: Scored, run: Run, report: Report, metric: str, view: str) -> Iterator[LongRow]:
    def row(statistic: str, value: float, interval: Interval | None, samples: int) -> LongRow:
        ends = interval or Interval(float("nan"), float("nan"))
        head = scored.group
        return LongRow(
            run.label, head.dataset, head.title, metric, view, statistic, value, ends.low, ends.high, samples,
            str(run.path),
        )  # fmt: skip

    total = report.num_samples if view == "all" else report.num_scored
    pooled, _ = value_of(report, metric, view, "pooled")
    yield row("pooled", pooled, interval_of(report, metric, view, "pooled"), total)
    if len(report.folds) < 2:
        return
    mean, deviation = value_of(report, metric, view, "mean_of_folds")
    yield row("mean_of_folds", mean, interval_of(report, metric, view, "mean_of_folds"), total)
    yield row("sd_of_folds", deviation, None, total)
    for fold in report.folds:
        value = fold.values[view][metric] if metric in METRICS else fold.probability[metric]
        yield row(f"fold {fold.name}", value, None, int(fold.confusion.support(view).sum()))


def joined_rows(tables: Sequence[tuple[Scored, Sequence[dict[Column, Cell]]]]) -> list[Row]:
    """One row per label, in the order given, with its cells of every dataset."""
    cells: dict[str, dict[Column, Cell]] = {}
    for scored, found in tables:
        for run, own in zip(scored.group.runs, found, strict=True):
            cells.setdefault(run.label, {}).update(own)
    return [Row(label, own) for label, own in cells.items()]
