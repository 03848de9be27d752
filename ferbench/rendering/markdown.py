"""The report as Markdown: the page's sections and tables in its order, pictures beside it in `figures/`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ferbench.findings import by_severity
from ferbench.rendering import grids
from ferbench.rendering.face_list import reasons_of
from ferbench.rendering.grids import Grid
from ferbench.rendering.page import (
    FEW_CLASSES,
    MOST_FAILURES,
    SECTIONS,
    Page,
    matrix_words,
    mistake_words,
    score_notes,
    sections_of,
    severities_text,
)
from ferbench.rendering.wording import counted, plain, without_probabilities
from ferbench.storage import write_text

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$!&@])")
_LINE_START = re.compile(r"^([-+=]|\d+(?=[.)](\s|$)))")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|mailto|www)([:.])")


def escaped(text: str) -> str:
    """Text from anywhere as one line that Markdown shows as it is: no table cell, link, tag or address comes of it."""
    text = _SPECIAL.sub(r"\\\1", plain(text))
    # An address would become a link without any sign around it.
    text = _ADDRESS.sub(lambda match: f"{match[1]}\u200b{match[2]}", text)
    # A list or a heading's underline would begin here.
    return _LINE_START.sub(lambda match: f"{match[1]}\\" if match[1].isdigit() else f"\\{match[1]}", text)


def render_markdown(page: Page) -> str:
    """The text; the same page gives the same text."""
    return "\n\n".join(_blocks(page)) + "\n"


def write_markdown(page: Page, path: Path) -> None:
    """Write it, atomically."""
    write_text(path, render_markdown(page))


def table_text(grid: Grid) -> str:
    """A grid as a Markdown table under its caption, numbers to the right."""
    marks = ["---" if column.kind in ("name", "words") else "---:" for column in grid.columns]
    lines = [[escaped(column.title) for column in grid.columns], marks]
    lines += [[escaped(cell) for cell in row.cells] for row in grid.rows]
    return f"{escaped(grid.caption)}:\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _blocks(page: Page) -> Iterator[str]:
    report = page.report
    yield f"# {escaped(page.title)}"
    recipe = f", faces of recipe {escaped(page.recipe.id)}" if page.recipe else ""
    yield (
        f"{report.num_scored:,} of {counted(report.num_samples, 'sample')} scored, "
        f"{counted(len(report.labels), 'class', 'classes')}, {counted(len(report.folds), 'fold')}{recipe}."
    )
    for notice in page.notices:
        yield f"> {escaped(notice)}"
    for section in sections_of(page):
        if section == "faces":
            continue  # pictures are in the page only
        yield f"## {SECTIONS[section]}"
        yield from _BLOCKS[section](page)


def _audits(page: Page) -> Iterator[str]:
    if not page.report.audits:
        yield "The audits found nothing."
        return
    yield f"What would make these numbers wrong, or less than they seem: {severities_text(page.report)}."
    for finding in by_severity(page.report.audits):
        sample = f"{escaped(finding.sample)}: " if finding.sample else ""
        count = f" ({finding.count:,})" if finding.count > 1 else ""
        advice = f" → {escaped(finding.advice)}" if finding.advice else ""
        yield f"- **{finding.severity}** {escaped(finding.rule)}: {sample}{escaped(finding.message)}{count}{advice}"


def _numbers(page: Page) -> Iterator[str]:
    yield from map(table_text, grids.headline_grids(page.report))
    yield from (escaped(note) for note in score_notes(page.report))
    yield table_text(grids.definition_grid(page.report))


def _folds(page: Page) -> Iterator[str]:
    yield from map(table_text, grids.fold_grids(page.report))


def _classes(page: Page) -> Iterator[str]:
    yield table_text(grids.class_grid(page.report))
    yield from _picture(
        page, "per_class", "Precision, recall and F1 of each class as bars, the numbers of the table above."
    )


def _confusion(page: Page) -> Iterator[str]:
    yield escaped(matrix_words(page.report))
    yield from _picture(page, "confusion", "Confusion matrix, pooled: the numbers of the tables below.")
    confusions = grids.confusions_grid(page.report) if len(page.report.labels) > FEW_CLASSES else None
    yield from (table_text(confusions),) if confusions else ()
    yield table_text(grids.count_grid(page.report))
    yield table_text(grids.share_grid(page.report))


def _calibration(page: Page) -> Iterator[str]:
    probability, bins = grids.probability_grid(page.report), grids.calibration_grid(page.report)
    if probability is None or bins is None:
        yield without_probabilities(page.report) or ""
        return
    yield table_text(probability)
    yield from _picture(page, "calibration", "Accuracy over confidence, the numbers of the table below.")
    yield table_text(bins)


def _subgroups(page: Page) -> Iterator[str]:
    yield from map(table_text, grids.subgroup_grids(page.report))


def _mistakes(page: Page) -> Iterator[str]:
    yield escaped(mistake_words(page.report))
    yield table_text(grids.mistake_grid(page.report))


def _failures(page: Page) -> Iterator[str]:
    failures = page.report.failures
    reasons = ", ".join(f"{escaped(reason)}: {count}" for reason, count in reasons_of(error for _, error in failures))
    cut = (
        f" The first {MOST_FAILURES} are listed; the predictions file holds all."
        if len(failures) > MOST_FAILURES
        else ""
    )
    yield f"{counted(len(failures), 'sample')} without a prediction ({reasons}).{cut}"
    yield table_text(grids.failure_grid(page.report, most=MOST_FAILURES))


def _recipe(page: Page) -> Iterator[str]:
    if page.recipe:
        yield table_text(grids.recipe_grid(page.recipe))


def _profile(page: Page) -> Iterator[str]:
    yield table_text(grids.words_grid("costs", "What the model costs", ("what", "value"), page.profile))


def _provenance(page: Page) -> Iterator[str]:
    yield table_text(grids.words_grid("facts", "What made these numbers", ("what", "value"), page.facts))


def _picture(page: Page, name: str, words: str) -> Iterator[str]:
    if name in page.figures:
        yield f"![{words}](figures/{name}.png)"


_BLOCKS = {
    "audits": _audits, "numbers": _numbers, "folds": _folds, "classes": _classes, "confusion": _confusion,
    "calibration": _calibration, "subgroups": _subgroups, "mistakes": _mistakes, "failures": _failures,
    "recipe": _recipe, "profile": _profile, "provenance": _provenance,
}  # fmt: skip
