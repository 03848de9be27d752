"""`score`: every number, table and picture from a predictions file. No torch, no GPU, no faces needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ferbench.cards import card_names, read_card
from ferbench.dialects import read_any_manifest
from ferbench.findings import Finding
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions
from ferbench.recipe import Recipe
from ferbench.report import Report, ReportOptions, build_report
from ferbench.storage import sha256_of_file, write_json

REPORT_JSON, REPORT_HTML, CONFUSION_PNG = "report.json", "report.html", "confusion.png"


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
    audits: Sequence[Finding] = (),
) -> Report:
    """Write report.json, confusion.png and report.html into `out`; with `aligned`, the page shows the faces."""
    from ferbench.rendering.confusion import write_confusion_png
    from ferbench.rendering.page import Page, write_page

    report = build_report(predictions, options=options, audits=audits)
    notices = (*notices_of(predictions.provenance), *report.caveats)
    write_json(out / REPORT_JSON, {"notices": list(notices), **report.as_dict()})
    title = _title(predictions.provenance)
    write_confusion_png(report.pooled.confusion, report.labels, out / CONFUSION_PNG, title=title)
    recipe = predictions.provenance.get("recipe")
    page = Page(
        title=title,
        report=report,
        notices=notices,
        aligned=aligned,
        recipe=Recipe.from_dict(recipe) if recipe else None,
        facts=_facts(predictions.provenance),
        predicted=predicted_names(predictions),
    )
    write_page(page, out / REPORT_HTML)
    return report


def recorded_manifest(predictions: Predictions, path: Path) -> Manifest | None:
    """The manifest that a predictions file was made from, where it still is and is still the same."""
    place = path.parent / str(predictions.provenance.get("manifest_path", ""))
    if not place.is_file() or sha256_of_file(place) != predictions.provenance.get("manifest_sha256"):
        return None
    return read_any_manifest(place)


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


def _facts(provenance: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    spec = provenance.get("input_spec", {})
    protocol = provenance.get("protocol", {})
    facts = [
        ("model", provenance.get("model")),
        ("model input", ", ".join(f"{key} {value}" for key, value in sorted(spec.items()) if value not in ("", []))),
        ("model input stated by", provenance.get("input_spec_source")),
        ("manifest", provenance.get("manifest")),
        ("manifest sha256", provenance.get("manifest_sha256")),
        (
            "protocol",
            ", ".join(f"{key} {value}" for key, value in sorted(protocol.items()) if value not in (None, {}, [])),
        ),
        ("samples without a label, not scored", provenance.get("unlabelled") or None),
        ("device", provenance.get("device")),
        *((f"{name} version", text) for name, text in sorted(provenance.get("versions", {}).items())),
    ]
    return tuple((name, str(value)) for name, value in facts if value)
