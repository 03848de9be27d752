"""A comparison as Markdown: tables that GitHub, GitLab and pandoc render; text from data is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ferbench.rendering.comparison import (
    UNDEFINED,
    Cell,
    Column,
    Comparison,
    Row,
    figure,
    legend,
    metric_title,
    p_text,
    signed,
)
from ferbench.rendering.wording import plain

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")


def comparison_markdown(comparison: Comparison) -> str:
    """The table, its legend and footnotes, the paired tests, and where it comes from."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield from _main_table(comparison)
    yield ""
    for head in comparison.groups:
        marks = _marks(head.marks)
        yield f"- **{escaped(head.dataset)}**: {escaped(head.summary)}.{marks}"
    yield ""
    for sentence in legend(comparison, best="bold", second="underlined", reference="italic"):
        yield f"- {escaped(sentence)}"
    if comparison.notes:
        yield ""
        for mark, sentence in comparison.notes.items():
            yield f"- <sup>{mark}</sup> {escaped(sentence)}"
    if comparison.paired:
        yield ""
        yield from _paired_table(comparison)
    yield ""
    yield from (f"<!-- {_comment(line)} -->" for line in comparison.provenance_lines)


def _main_table(comparison: Comparison) -> Iterator[str]:
    columns = comparison.columns
    names = [f"{escaped(comparison.head_of(column).dataset)} {escaped(column.title)}" for column in columns]
    yield _table_row(["method", *names])
    yield _table_row(["---", *["---:"] * len(columns)])
    for row in comparison.runs:
        yield _row(row, columns)
    if comparison.published:
        yield _table_row(["*published:*", *[""] * len(columns)])
        for row in comparison.published:
            yield _row(row, columns)


def _row(row: Row, columns: Sequence[Column]) -> str:
    cells = [_cell(row.cells.get(column), row, column) for column in columns]
    return _table_row([f"{escaped(row.label)}{_marks(row.marks)}", *cells])


def _cell(cell: Cell | None, row: Row, column: Column) -> str:
    if cell is None:
        return UNDEFINED
    text = escaped(cell.text)
    if cell.best:
        text = f"*{text}*" if row.published else f"**{text}**"
    elif cell.second:
        text = f"<u>{text}</u>"
    if cell.deviation:
        text += f" ± {cell.deviation}"
    if cell.interval:
        text += f" \\[{figure(cell.interval.low, column.metric)}, {figure(cell.interval.high, column.metric)}\\]"
    return text + _marks(cell.marks)


def _paired_table(comparison: Comparison) -> Iterator[str]:
    yield _table_row(
        ["dataset", "metric", "A", "B", "A − B", "interval", "p", "p (Holm)", "McNemar p", "McNemar p (Holm)", "n"]
    )
    yield _table_row(["---"] * 4 + ["---:"] * 7)
    for row in comparison.paired:
        head = [escaped(text) for text in (row.dataset, metric_title(row.metric), row.first, row.second)]
        if row.refused:
            yield _table_row([*head, f"not compared: {escaped(row.refused)}", *[UNDEFINED] * 6])
            continue
        ends = row.interval
        interval = f"\\[{signed(ends.low, row.metric)}, {signed(ends.high, row.metric)}\\]" if ends else UNDEFINED
        values = [escaped(p_text(value)) for value in (row.p_value, row.p_holm, row.mcnemar, row.mcnemar_holm)]
        yield _table_row([*head, signed(row.difference, row.metric), interval, *values, f"{row.num_samples:,}"])
    yield ""
    yield escaped(comparison.paired_note)


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _marks(marks: Sequence[str]) -> str:
    return f"<sup>{','.join(marks)}</sup>" if marks else ""


def escaped(text: str) -> str:
    """Text of which no character is markup: a pipe ends no cell, a star starts no emphasis, a tag is no tag."""
    return _SPECIAL.sub(r"\\\1", plain(text).replace("&", "&amp;")).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _comment(text: str) -> str:
    return plain(text).replace("--", "- -").replace(">", "&gt;")
