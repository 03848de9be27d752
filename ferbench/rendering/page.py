"""The report as one self-contained HTML file: it loads nothing from anywhere, and prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferbench.findings import by_severity, count_severities
from ferbench.manifest import Manifest
from ferbench.metrics import METRICS
from ferbench.recipe import Recipe
from ferbench.rendering import grids
from ferbench.rendering.calibration import curve_drawing
from ferbench.rendering.face_list import face_list, reasons_of, shown_crop
from ferbench.rendering.html import html_of
from ferbench.rendering.matrix import NUM_SHADES, matrix_drawing, shade_colours
from ferbench.rendering.mistakes import few_crops, shown_mistakes
from ferbench.rendering.wording import (
    absent_note,
    bracketed,
    counted,
    distinct_metrics,
    level_of,
    measured,
    shown_views,
    units_of,
    without_probabilities,
)
from ferbench.report import Report
from ferbench.storage import write_text

HEADLINES = ("war", "uar", "macro_f1")
"""The metrics that are also shown large."""
MOST_SAMPLES = 40
MOST_FAILURES = 200
FEW_CLASSES = 12
"""Up to so many classes, every percent has room in the matrix, and the largest confusions are seen at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Everything on the page; text is taken as text, never as HTML."""

    title: str
    report: Report
    notices: tuple[str, ...] = ()
    """Sentences shown before anything else."""
    aligned: Manifest | None = None
    """Adds the faces: samples of it with their crops."""
    recipe: Recipe | None = None
    facts: tuple[tuple[str, str], ...] = ()
    """Provenance as (name, value): versions, device, command line."""
    predicted: Mapping[str, str] = field(default_factory=dict)
    """sample_id -> name of the predicted class, shown with the faces."""
    profile: tuple[tuple[str, str], ...] = ()
    """What the model costs as (name, value)."""
    figures: tuple[str, ...] = ()
    """Names of the figures that lie in `figures/` beside the page."""
    audited: bool = False
    """The audits ran: when they found nothing, the page says so."""


def render_page(page: Page) -> str:
    """The HTML text; the same page gives the same text."""
    report = page.report
    shown = sections_of(page)
    context = {
        "page": page,
        "report": report,
        "shown": shown,
        "sections": list(shown.items()),
        "audits": by_severity(report.audits),
        "severities": severities_text(report),
        "cards": [_card(report, name) for name in HEADLINES],
        "headline_grids": grids.headline_grids(report),
        "score_notes": score_notes(report),
        "definitions": grids.definition_grid(report),
        "fold_grids": grids.fold_grids(report),
        "class_grid": grids.class_grid(report),
        "drawing": matrix_drawing(report),
        "matrix_words": matrix_words(report),
        "light_shades": shade_colours(dark=False),
        "dark_shades": shade_colours(dark=True),
        "num_shades": NUM_SHADES,
        "confusions": grids.confusions_grid(report) if len(report.labels) > FEW_CLASSES else None,
        "count_grid": grids.count_grid(report),
        "share_grid": grids.share_grid(report),
        "curve": None if report.calibration is None else curve_drawing(report.calibration),
        "ece": measured(report.pooled.probability["ece"], "percent"),
        "probability_grid": grids.probability_grid(report),
        "calibration_grid": grids.calibration_grid(report),
        "without_probabilities": without_probabilities(report),
        "subgroup_grids": grids.subgroup_grids(report),
        "mistake_words": mistake_words(report),
        "mistakes": [] if page.aligned is None else _mistakes(page),
        "mistake_grid": grids.mistake_grid(report),
        "faces": None if page.aligned is None else face_list(page.aligned, page.predicted, most=MOST_SAMPLES),
        "failure_grid": grids.failure_grid(report, most=MOST_FAILURES),
        "reasons": reasons_of(error for _, error in report.failures),
        "recipe_grid": page.recipe and grids.recipe_grid(page.recipe),
        "profile_grid": page.profile
        and grids.words_grid("costs", "What the model costs", ("what", "value"), page.profile),
        "fact_grid": page.facts and grids.words_grid("facts", "What made these numbers", ("what", "value"), page.facts),
        "counted": counted,
    }
    return html_of("report.html", context)


def write_page(page: Page, path: Path) -> None:
    """Write the page, atomically."""
    write_text(path, render_page(page))


SECTIONS = {
    "audits": "Audits", "numbers": "Headline numbers", "folds": "Per fold", "classes": "Per class",
    "confusion": "Confusion matrix", "calibration": "Calibration", "subgroups": "Subgroups",
    "mistakes": "Worst mistakes", "faces": "Faces", "failures": "What failed", "recipe": "Recipe", "profile": "Profile",
    "provenance": "Provenance",
}  # fmt: skip
"""Anchor -> title, in the order of the page and of the Markdown."""


def sections_of(page: Page) -> dict[str, str]:
    """Anchor -> title of the sections that this page has something to say in."""
    report = page.report
    optional = {
        "audits": page.audited or report.audits, "folds": len(report.folds) > 1, "subgroups": report.subgroups,
        "mistakes": report.mistakes, "faces": page.aligned is not None, "failures": report.failures,
        "recipe": page.recipe, "profile": page.profile, "provenance": page.facts,
    }  # fmt: skip
    return {section: title for section, title in SECTIONS.items() if optional.get(section, True)}


# --- words that the Markdown shares ------------------------------------------------------------------------------------


def severities_text(report: Report) -> str:
    """`1 error, 2 warnings`."""
    found = count_severities(report.audits)
    return ", ".join(counted(count, severity) for severity, count in found.items() if count)


def score_notes(report: Report) -> list[str]:
    """What the columns of the tables of scores mean, as sentences."""
    both = len(shown_views(report)) > 1
    views = "scored samples are those with a prediction" + (
        "; over all samples, one without a prediction counts as an error of its class" if both else ""
    )
    notes = [
        "Pooled is the metric of the sum of the folds’ confusion matrices; mean of folds is the mean of the per-fold "
        f"values, and ± sd their sample standard deviation (n − 1). They are different numbers. {views.capitalize()}. An "
        "en dash is a value that is not defined."
    ]
    notes += [
        f"{level_of(table)}, {units_of(table)}: {table.method}; {counted(table.num_units, units_of(table)[:-1])}, "
        f"{table.replicates:,} replicates, seed {table.seed}."
        for table in report.intervals
    ]
    if len(report.intervals) > 1:
        clusters = units_of(report.intervals[-1])
        notes.append(
            f"Samples of one {clusters[:-1]} resemble each other: the intervals over {clusters} allow for "
            "that, those over samples do not."
        )
    absent = absent_note(report)
    return [*notes, *([f"{absent}."] if absent else [])]


def matrix_words(report: Report) -> str:
    """What the matrix shows."""
    cells = "count, and percent of the true class" if len(report.labels) <= FEW_CLASSES else "counts other than 0"
    extra = " Samples without a prediction are a column of their own." if report.num_scored < report.num_samples else ""
    return (
        f"Rows are true, columns predicted; {cells}. The stronger the colour, the larger the share of the row.{extra}"
    )


def mistake_words(report: Report) -> str:
    """How many mistakes there are, and which of them are shown."""
    shown, total = len(report.mistakes), int(report.num_scored - report.pooled.confusion.hits.sum())
    sure = any(mistake.confidence is not None for mistake in report.mistakes)
    order = "the most confident first; confidence is the softmax of the logits" if sure else "in the order of their ids"
    cut = f"{shown:,} of " if shown < total else ""
    return f"{cut}{counted(total, 'mistake')}, {order}."


def _card(report: Report, name: str) -> dict[str, Any]:
    unit = METRICS[name].unit
    lines = [
        f"{level_of(table)} {bracketed(table.pooled['detected'].get(name), unit)} over "
        f"{counted(table.num_units, units_of(table)[:-1])}"
        for table in report.intervals
    ]
    if len(report.folds) > 1:
        mean, deviation = report.over_folds(name, "detected")
        lines.append(f"mean of folds {measured(mean, unit)} ± sd {measured(deviation, unit)}")
    if len(shown_views(report)) > 1:
        lines.append(f"pooled, all samples: {measured(report.pooled.values['all'][name], unit)}")
    value = measured(report.pooled.values["detected"][name], unit)
    return {"title": distinct_metrics()[name], "value": value, "lines": lines}


# --- faces -------------------------------------------------------------------------------------------------------------


def _mistakes(page: Page) -> list[dict[str, Any]]:
    found = []
    for shown in shown_mistakes(page.report, page.aligned):
        row = few_crops(shown.row) if shown.row else None
        found.append({"shown": shown, "crops": [shown_crop(row, crop) for crop in row.crops] if row else []})
    return found
