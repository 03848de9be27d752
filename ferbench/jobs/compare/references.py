"""Published figures beside the runs: of the same datasets, from the cards, never ranked with the runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from ferbench.cards import PublishedResult
from ferbench.errors import UsageError
from ferbench.jobs.compare.caveats import Notes
from ferbench.jobs.compare.options import CompareOptions
from ferbench.jobs.compare.table import Scored, mark_best
from ferbench.rendering.comparison import Cell, Column, LongRow, Row


def published_rows(tables: Sequence[Scored], options: CompareOptions, notes: Notes) -> list[Row]:
    """A row per published method, in the order of the cards; its sources, protocol and doubts are footnotes.

    Raises UsageError for a method asked for that no card of these datasets has.
    """
    _refuse_unknown(tables, options)
    shown = [
        (result, {Column(number, metric): _cell(tables[number], result, metric, notes) for metric in metrics})
        for number, result, metrics in _shown(tables, options)
    ]
    ranked = [own for result, own in shown if not result.unranked]
    for column in dict.fromkeys(column for own in ranked for column in own):
        mark_best(ranked, column, with_second=False)
    cells: dict[str, dict[Column, Cell]] = {}
    labels: dict[str, str] = {}
    for result, own in shown:
        labels.setdefault(result.method, result.label)
        cells.setdefault(result.method, {}).update(own)
    return [_row(method, labels[method], own) for method, own in cells.items()]


def published_long(tables: Sequence[Scored], options: CompareOptions) -> Iterator[LongRow]:
    """The same figures for the CSV, as fractions."""
    nan = float("nan")
    for number, result, metrics in _shown(tables, options):
        for metric in metrics:
            value = float(result.figure(metric) or nan) / 100
            yield LongRow(
                result.label, tables[number].group.dataset, result.protocol or "not stated", metric, "", "published",
                round(value, 6), nan, nan, result.samples, result.source,
            )  # fmt: skip


def protocol_caveat(scored: Scored, options: CompareOptions) -> str | None:
    """That the published figures of a dataset follow another protocol than the runs; None when they do not, or none is."""
    # Where a source says no protocol, the figure's own footnote says that.
    followed = dict.fromkeys(result.protocol for _, result, _ in _shown([scored], options) if result.protocol)
    own = scored.group.protocol_name
    if not followed or own in followed:
        return None
    if not scored.group.protocol:
        return "The runs record no protocol: whether the published figures compare with them is not known."
    return (
        f"The runs follow another protocol ({scored.group.title}) than the published figures ({', '.join(followed)}): "
        "they do not compare."
    )


def _shown(tables: Sequence[Scored], options: CompareOptions) -> Iterator[tuple[int, PublishedResult, tuple[str, ...]]]:
    """(number of the group, result, the metrics of the group that it has)."""
    wanted = {name.casefold() for name in options.references}
    for number, scored in enumerate(tables):
        for result in scored.group.card.published if scored.group.card and options.published else ():
            metrics = tuple(metric for metric in scored.metrics if result.figure(metric) is not None)
            if metrics and (not wanted or result.method.casefold() in wanted):
                yield number, result, metrics


def _refuse_unknown(tables: Sequence[Scored], options: CompareOptions) -> None:
    known = dict.fromkeys(
        result.method for scored in tables if scored.group.card for result in scored.group.card.published
    )
    lower = {name.casefold() for name in known}
    unknown = [name for name in options.references if name.casefold() not in lower]
    if unknown:
        there = ", ".join(known) or "none"
        raise UsageError(f"no published method {unknown[0]!r} on the cards of these datasets; they have: {there}")


def _cell(scored: Scored, result: PublishedResult, metric: str, notes: Notes) -> Cell:
    text = result.figure(metric) or ""
    deviation = result.deviation(metric)
    return Cell(
        value=float(text) / 100 if text else math.nan,
        text=text,
        deviation="" if deviation is None else f"{deviation:.2f}",
        marks=notes.marks([_sentence(scored, result)]),
    )


def _sentence(scored: Scored, result: PublishedResult) -> str:
    """How a figure was made, where that is not as the columns say, and where it was read: one footnote."""
    group = scored.group
    # What the heading of the columns says already is left out, so that the same source is one footnote for every dataset.
    made = dataclasses.replace(
        result,
        folds=None if result.folds in (group.num_folds, 1) else result.folds,
        statistic="" if result.statistic == scored.statistic.replace("_", "-") else result.statistic,
        protocol="official" if result.protocol == group.protocol_name else result.protocol,
    ).protocol_note
    unranked = f"Not ranked: {result.unranked}" if result.unranked else ""
    parts = [f"Published{f' ({made})' if made else ''}; source: {result.source}", result.note, unranked]
    return "".join(f"{part.rstrip('.')}. " for part in parts if part).strip()


def _row(method: str, label: str, cells: dict[Column, Cell]) -> Row:
    """A footnote that all cells share stands at the method's name instead."""
    marks = {cell.marks for cell in cells.values()}
    if len(marks) > 1:
        return Row(label, cells, published=True, short=method)
    bare = {column: dataclasses.replace(cell, marks=()) for column, cell in cells.items()}
    return Row(label, bare, published=True, short=method, marks=next(iter(marks)))
