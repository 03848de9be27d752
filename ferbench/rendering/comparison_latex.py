"""A comparison as a LaTeX table that needs only the booktabs package; text from data is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ferbench.rendering.comparison import (
    Cell,
    Column,
    Comparison,
    Row,
    chunks,
    figure,
    legend,
    metric_title,
    p_text,
    signed,
)
from ferbench.rendering.wording import plain

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---", "↓": r"$\downarrow$",
    "³": r"\textsuperscript{3}", "²": r"\textsuperscript{2}", "×": r"$\times$", "…": r"\ldots{}", "’": "'",
}  # fmt: skip
"""Characters that mean something to LaTeX, and typographic ones that its fonts may lack."""


def comparison_latex(comparison: Comparison) -> str:
    """A `table` environment per table. Every line that starts with % is a comment and says where the numbers come from."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield r"% Needs \usepackage{booktabs}. A wide one: table* in two columns, or \resizebox from graphicx."
    yield from (f"% {plain(line)}" for line in comparison.provenance_lines)
    yield from _main_table(comparison)
    if comparison.paired:
        yield ""
        yield from _paired_table(comparison)


def _main_table(comparison: Comparison) -> Iterator[str]:
    columns = comparison.columns
    yield r"\begin{table}[t]"
    yield r"\centering"
    yield rf"\caption{{{_caption(comparison)}}}"
    yield r"\label{tab:comparison}"
    yield r"\small\setlength{\tabcolsep}{4pt}"
    yield rf"\begin{{tabular}}{{l{'r' * len(columns)}}}"
    yield r"\toprule"
    parts = chunks(columns)
    heads = [
        rf"\multicolumn{{{len(part)}}}{{c}}{{{escaped(comparison.head_of(part[0]).dataset)}"
        rf"{_marks(comparison.head_of(part[0]).marks)}}}"
        for part in parts
    ]
    yield _table_row(["", *heads])
    start, rules = 2, []
    for part in parts:
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(part) - 1}}}")
        start += len(part)
    yield " ".join(rules)
    yield _table_row(["Method", *(escaped(column.title) for column in columns)])
    yield r"\midrule"
    for row in comparison.runs:
        yield from _rows(row, columns)
    if comparison.published:
        yield r"\midrule"
        yield _table_row([rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{published}}}}"])
        for row in comparison.published:
            yield from _rows(row, columns)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    # One after the other on a line: the notes of many published rows would be longer than the page.
    yield from _small_print(rf"\textsuperscript{{{mark}}}~{escaped(text)}" for mark, text in comparison.notes.items())
    yield r"\end{table}"


def _small_print(sentences: Iterable[str]) -> Iterator[str]:
    lines = list(sentences)
    if lines:
        yield r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize\raggedright"
        yield from lines
        yield r"\end{minipage}"


def _caption(comparison: Comparison) -> str:
    heads = [f"{head.dataset}: {head.summary}." for head in comparison.groups]
    told = legend(comparison, best="bold", second="underlined", reference="italic")
    return escaped(" ".join([*heads, *told]))


def _rows(row: Row, columns: Sequence[Column]) -> Iterator[str]:
    """The row, and its intervals below it: beside the values they would not fit the page."""
    found = [(column, row.cells.get(column)) for column in columns]
    yield _table_row([f"{escaped(row.label)}{_marks(row.marks)}", *(_cell(cell, row) for _, cell in found)])
    if any(cell and cell.interval for _, cell in found):
        yield _table_row(["", *(_interval(cell, column) for column, cell in found)])


def _interval(cell: Cell | None, column: Column) -> str:
    if not cell or not cell.interval:
        return ""
    low, high = (figure(end, column.metric) for end in (cell.interval.low, cell.interval.high))
    return rf"{{\scriptsize[{escaped(low)}, {escaped(high)}]}}"


def _cell(cell: Cell | None, row: Row) -> str:
    if cell is None:
        return "--"
    text = escaped(cell.text)
    if cell.best:
        text = rf"\textit{{{text}}}" if row.published else rf"\textbf{{{text}}}"
    elif cell.second:
        text = rf"\underline{{{text}}}"
    if cell.deviation:
        text += rf" $\pm$ {escaped(cell.deviation)}"
    return text + _marks(cell.marks)


def _paired_table(comparison: Comparison) -> Iterator[str]:
    yield r"\begin{table}[t]"
    yield r"\centering"
    yield rf"\caption{{{escaped(comparison.paired_note)}}}"
    yield r"\label{tab:comparison-paired}"
    yield r"\footnotesize\setlength{\tabcolsep}{3pt}"
    yield r"\begin{tabular}{llllrrrrrrr}"
    yield r"\toprule"
    yield _table_row([
        "Dataset", "Metric", "A", "B", "A $-$ B", "Interval", "$p$", "Holm", "McNemar $p$", "Holm", "$n$",
    ])  # fmt: skip
    yield r"\midrule"
    refused = []
    for row in comparison.paired:
        head = [escaped(text) for text in (row.dataset, metric_title(row.metric), row.first, row.second)]
        if row.refused:
            refused.append(f"{head[2]} $-$ {head[3]} on {head[0]} not compared: {escaped(row.refused)}.")
            continue
        ends = row.interval
        low, high = (escaped(signed(end, row.metric)) for end in (ends.low, ends.high)) if ends else ("--", "--")
        values = [escaped(p_text(value)) for value in (row.p_value, row.p_holm, row.mcnemar, row.mcnemar_holm)]
        yield _table_row([
            *head, escaped(signed(row.difference, row.metric)), rf"{{}}[{low}, {high}]", *values, f"{row.num_samples:,}",
        ])  # fmt: skip
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield from _small_print(dict.fromkeys(refused))
    yield r"\end{table}"


def _table_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _marks(marks: Sequence[str]) -> str:
    return rf"\textsuperscript{{{','.join(marks)}}}" if marks else ""


def escaped(text: str) -> str:
    """Text of which no character is a command of LaTeX, on one line."""
    return "".join(_ESCAPES.get(character, character) for character in plain(text))
