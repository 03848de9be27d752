"""`score`: every number, table and picture from a predictions file. No torch, no GPU, no faces needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ferbench.cards import card_names, read_card
from ferbench.findings import Finding
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions
from ferbench.recipe import Recipe
from ferbench.report import Report, ReportOptions, build_report
from ferbench.storage import write_json

REPORT_JSON, REPORT_HTML, REPORT_MD, FIGURES = "report.json", "report.html", "report.md", "figures"


def notices_of(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader must be told before any number: what the dataset's card says, and what evaluation found."""
    name = provenance.get("manifest", "")
    of_card = read_card(name).notes if name in card_names() else ()
    return (*of_card, *provenance.get("notices", ()))


def write_report(
    predictions: Predictions,
    out: Path,
    *,
    aligned: Manifest | None = None,
    options: ReportOptions | None = None,
    audits: Sequence[Finding] | None = None,
) -> Report:
    """Write report.json, report.html, report.md and `figures/` into `out`; with `aligned`, the page shows the faces.

    `audits` None says that none ran.
    """
    from ferbench.rendering.facts import profile_facts, provenance_facts
    from ferbench.rendering.figures import write_figures
    from ferbench.rendering.markdown import write_markdown
    from ferbench.rendering.page import Page, write_page

    report = build_report(predictions, options=options, audits=audits or ())
    notices = (*notices_of(predictions.provenance), *report.caveats)
    write_json(out / REPORT_JSON, {"notices": list(notices), **report.as_dict()})
    recipe = predictions.provenance.get("recipe")
    page = Page(
        title=_title(predictions.provenance),
        report=report,
        notices=notices,
        aligned=aligned,
        recipe=Recipe.from_dict(recipe) if recipe else None,
        facts=provenance_facts(predictions.provenance),
        predicted=predicted_names(predictions),
        profile=profile_facts(predictions.provenance.get("profile")),
        figures=tuple(write_figures(report, out / FIGURES)),
        audited=audits is not None,
    )
    write_markdown(page, out / REPORT_MD)
    write_page(page, out / REPORT_HTML)
    return report


def predicted_names(predictions: Predictions) -> dict[str, str]:
    """sample_id -> predicted class, of the samples that have a prediction."""
    names = predictions.labels.names
    return {
        sample_id: names[label]
        for sample_id, label in zip(predictions.sample_ids, predictions.predicted, strict=True)
        if label >= 0
    }


def _title(provenance: Mapping[str, Any]) -> str:
    model, data = provenance.get("model"), provenance.get("manifest")
    return f"{model} on {data}" if model and data else "Scores"
