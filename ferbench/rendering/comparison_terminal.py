"""A comparison as terminal tables: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ferbench.rendering.comparison import (
    UNDEFINED,
    Cell,
    Column,
    Comparison,
    PairedRow,
    Row,
    chunks,
    figure,
    legend,
    metric_title,
    p_text,
    signed,
)
from ferbench.rendering.wording import elided, plain

MOST_LABEL_CHARACTERS = 30


def comparison_tables(comparison: Comparison) -> list[RenderableType]:
    """The table, what its columns are, its footnotes; and the paired tests. A wide one is cut at datasets, then columns."""
    tables: list[RenderableType] = [_Cut(comparison), _explanations(comparison)]
    if comparison.paired:
        tables.append(_paired_table(comparison))
    return tables


class _Cut:
    """The table as one where it fits the console, else a table per dataset, else as many columns as fit in each."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(width=100_000)

        def fits(columns: Sequence[Column]) -> bool:
            table = _main_table(self._comparison, columns)
            return console.measure(table, options=unlimited).maximum <= options.max_width

        for part in _parts(self._comparison.columns, fits):
            yield _main_table(self._comparison, part)


def _parts(columns: Sequence[Column], fits: Callable[[Sequence[Column]], bool]) -> Iterator[Sequence[Column]]:
    if fits(columns):
        yield columns
        return
    for part in chunks(columns):
        rest = list(part)
        while rest:
            count = len(rest)
            while count > 1 and not fits(rest[:count]):
                count -= 1
            yield rest[:count]
            rest = rest[count:]


def _main_table(comparison: Comparison, columns: Sequence[Column]) -> Table:
    table = _table()
    table.add_column("run", no_wrap=True)
    for column in columns:
        head = comparison.head_of(column)
        heading = f"{elided(plain(head.dataset), 20)}{_marks(head.marks)}\n{column.title}"
        table.add_column(Text(heading), justify="right", no_wrap=True)
    shown = [row for row in comparison.rows if not row.published or any(column in row.cells for column in columns)]
    runs = [row for row in shown if not row.published]
    for number, row in enumerate(runs):
        table.add_row(_label(row), *_cells(row, columns), end_section=number == len(runs) - 1)
    others = [row for row in shown if row.published]
    if others:
        table.add_row(Text("published", style="italic"), *[""] * len(columns))
    for row in others:
        table.add_row(_label(row), *_cells(row, columns))
    return table


def _label(row: Row) -> Text:
    name = row.label if len(row.label) <= MOST_LABEL_CHARACTERS else row.short or row.label
    text = Text(f"{'  ' if row.published else ''}{elided(plain(name), MOST_LABEL_CHARACTERS)}")
    text.append(_marks(row.marks), style="dim")
    return text


def _cells(row: Row, columns: Sequence[Column]) -> list[Text]:
    return [_cell(row.cells.get(column), row, column) for column in columns]


def _cell(cell: Cell | None, row: Row, column: Column) -> Text:
    if cell is None:
        return Text(UNDEFINED)
    text = Text()
    # The star says in a terminal without bold what bold says elsewhere.
    star = "*" if cell.best and not row.published else "+" if cell.best else ""
    style = ("italic" if row.published else "bold") if cell.best else "underline" if cell.second else ""
    text.append(f"{cell.text}{star}", style=style)
    if cell.deviation:
        text.append(f" ± {cell.deviation}")
    text.append(_marks(cell.marks), style="dim")
    if cell.interval:
        low, high = (figure(end, column.metric) for end in (cell.interval.low, cell.interval.high))
        text.append(f"\n[{low}, {high}]", style="dim")
    return text


def _explanations(comparison: Comparison) -> RenderableType:
    lines: list[RenderableType] = [
        Text.assemble((plain(head.dataset), "bold"), f"{_marks(head.marks)}: {plain(head.summary)}")
        for head in comparison.groups
    ]
    told = legend(comparison, best="* is bold and", second="underlined is", reference="+ is italic and")
    lines += [Text(sentence) for sentence in told]
    grid = Table.grid(padding=(0, 1))
    for mark, sentence in comparison.notes.items():
        grid.add_row(Text(mark, style="bold"), Text(plain(sentence)))
    lines += [Text(), grid] if comparison.notes else []
    return Group(*lines)


def _paired_table(comparison: Comparison) -> RenderableType:
    table = _table()
    table.add_column("dataset, metric", overflow="fold")
    table.add_column("A − B", overflow="fold")
    for name in ("difference", "p", "p Holm", "McN.", "Holm", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    refused = []
    for row in comparison.paired:
        if row.refused:
            refused.append(f"{_names(row)} on {plain(row.dataset)} not compared: {plain(row.refused)}")
            continue
        table.add_row(*_paired_cells(row))
    lines: list[RenderableType] = [Text("paired comparison of runs on the same samples", style="bold")]
    lines += [table, Text(plain(comparison.paired_note))] if table.row_count else []
    return Group(*lines, *(Text(line) for line in dict.fromkeys(refused)))


def _paired_cells(row: PairedRow) -> list[Text]:
    difference = signed(row.difference, row.metric)
    if row.interval:
        difference += f"\n[{signed(row.interval.low, row.metric)}, {signed(row.interval.high, row.metric)}]"
    values = [p_text(value) for value in (row.p_value, row.p_holm, row.mcnemar, row.mcnemar_holm)]
    texts = [f"{plain(row.dataset)}\n{metric_title(row.metric)}", _names(row), difference, *values]
    return [Text(text) for text in (*texts, f"{row.num_samples:,}")]


def _names(row: PairedRow) -> str:
    first, second = (elided(plain(name), MOST_LABEL_CHARACTERS) for name in (row.first, row.second))
    return f"{first} − {second}"


def _marks(marks: Sequence[str]) -> str:
    return f" [{','.join(marks)}]" if marks else ""


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
