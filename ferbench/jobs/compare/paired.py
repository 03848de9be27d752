"""Runs of one dataset tested against each other on the same samples, corrected for how many tests there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from ferbench.comparisons import compare_paired, holm
from ferbench.errors import PredictionsError, UsageError
from ferbench.intervals import BootstrapOptions
from ferbench.jobs.compare.options import CompareOptions
from ferbench.jobs.compare.runs import Run
from ferbench.jobs.compare.table import Scored
from ferbench.metrics import METRICS
from ferbench.rendering.comparison import PairedRow
from ferbench.rendering.wording import counted


def paired_rows(tables: Sequence[Scored], options: CompareOptions) -> tuple[tuple[PairedRow, ...], str]:
    """The rows of the paired table and the sentence about its tests; () and "" when no test was asked for.

    Two runs that do not have the same samples and classes are a row with the reason. Raises UsageError for a baseline that
    is no run's label.
    """
    if not (options.paired or options.baseline):
        return (), ""
    labels = dict.fromkeys(run.label for scored in tables for run in scored.group.runs)
    if options.baseline and options.baseline not in labels:
        raise UsageError(
            f"no run is called {options.baseline!r}, so it cannot be the baseline; runs: {', '.join(labels)}"
        )
    rows: list[PairedRow] = []
    methods: dict[str, None] = {}
    for scored in tables:
        for first, second in _pairs(scored, options):
            found, method = _tested(scored, first, second, options)
            rows += found
            methods[method] = None
    corrected = _corrected(rows)
    return corrected, _note(corrected, [method for method in methods if method], options)


def _pairs(scored: Scored, options: CompareOptions) -> Iterator[tuple[Run, Run]]:
    runs = scored.group.runs
    if options.paired:
        yield from combinations(runs, 2)
        return
    baseline = next((run for run in runs if run.label == options.baseline), None)
    if baseline:
        yield from ((run, baseline) for run in runs if run is not baseline)


def _tested(scored: Scored, first: Run, second: Run, options: CompareOptions) -> tuple[list[PairedRow], str]:
    """A row per metric that a confusion matrix gives, and how the bootstrap was made; one row where it is refused."""
    metrics = [metric for metric in scored.metrics if metric in METRICS]
    head = scored.group
    empty = PairedRow(head.dataset, head.title, metrics[0] if metrics else scored.metrics[0], first.label, second.label)
    if not metrics:
        return [replace(empty, refused="only metrics of the confusion matrix are tested in pairs")], ""
    bootstrap = BootstrapOptions(max(options.replicates, 1), options.level, options.seed)
    try:
        result = compare_paired(first.predictions, second.predictions, options=bootstrap, cluster="auto")
    except PredictionsError as error:
        return [replace(empty, refused=error.message)], ""
    table = result.mean_of_folds if scored.statistic == "mean_of_folds" else result.pooled
    if not table:
        return [replace(empty, refused="the runs have the same samples in different folds")], ""
    rows = []
    for metric in metrics:
        found = table[scored.view][metric]
        row = replace(
            empty, metric=metric, difference=found.difference, num_samples=result.num_samples,
            mcnemar=result.mcnemar[scored.view].exact,
        )  # fmt: skip
        rows.append(replace(row, interval=found.interval, p_value=found.p_value) if options.replicates else row)
    return rows, result.method if options.replicates else ""


def _corrected(rows: Sequence[PairedRow]) -> tuple[PairedRow, ...]:
    """With Holm's correction over all bootstrap tests of the table; and over all McNemar tests, of which a pair has one."""
    tested = [place for place, row in enumerate(rows) if row.p_value == row.p_value]
    bootstrap = dict(zip(tested, holm([rows[place].p_value for place in tested]), strict=True))
    pairs = {
        (row.dataset, row.protocol, row.first, row.second): row.mcnemar for row in rows if row.mcnemar == row.mcnemar
    }
    of_pair = dict(zip(pairs, holm(list(pairs.values())), strict=True))
    nan = float("nan")
    return tuple(
        replace(
            row,
            p_holm=bootstrap.get(place, nan),
            mcnemar_holm=of_pair.get((row.dataset, row.protocol, row.first, row.second), nan),
        )
        for place, row in enumerate(rows)
    )


def _note(rows: Sequence[PairedRow], methods: Sequence[str], options: CompareOptions) -> str:
    tests = sum(row.p_value == row.p_value for row in rows)
    pairs = len({(row.dataset, row.protocol, row.first, row.second) for row in rows if row.mcnemar == row.mcnemar})
    if not pairs:
        return ""
    parts = [f"A − B on the same samples; {'; '.join(methods)}"] if methods else ["A − B on the same samples"]
    if tests:
        parts.append(
            f"Intervals of {100 * options.level:g} % and two-sided p of {options.replicates:,} replicates; Holm's "
            f"correction over {counted(tests, 'test')}"
        )
    parts.append(
        "McNemar: exact two-sided p that both are right equally often, Holm's correction over " + counted(pairs, "pair")
    )
    return ". ".join(f"{part[0].upper()}{part[1:]}" for part in parts) + "."
