"""The report as one self-contained HTML file: it loads nothing from anywhere, and prints."""

from __future__ import annotations

import base64
import io
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ferbench.labels import canonical_name
from ferbench.manifest import Manifest
from ferbench.metrics import METRICS
from ferbench.recipe import Recipe
from ferbench.rendering.confusion import confusion_png
from ferbench.rendering.samples import Crop, SampleRow, failed_mask, origin_mark, select_samples, tile
from ferbench.rendering.wording import VIEW_NAMES, absent_note, counted, percent, plain, shown_views
from ferbench.report import Report
from ferbench.storage import write_text

HEADLINES = ("war", "uar", "macro_f1")
"""The metrics that are also shown large."""
MOST_SAMPLES = 60
MOST_FAILURES = 200
CONFUSION_DPI = 150


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


def render_page(page: Page) -> str:
    """The HTML text; the same page gives the same text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        finalize=_finalized,
    )  # fmt: skip
    environment.filters["percent"] = percent
    source = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    report = page.report
    return environment.from_string(source).render(
        page=page,
        report=report,
        views=[(view, VIEW_NAMES[view]) for view in shown_views(report)],
        metrics=METRICS,
        headlines=[name for name in HEADLINES if name in METRICS],
        over_folds=report.over_folds,
        absent=absent_note(report),
        confusion=_confusion(report),
        faces=None if page.aligned is None else _faces(page.aligned, page.predicted),
        failures=report.failures[:MOST_FAILURES],
        reasons=_reasons(error for _, error in report.failures),
        recipe=[] if page.recipe is None else _recipe_rows(page.recipe),
        counted=counted,
    )


def write_page(page: Page, path: Path) -> None:
    """Write the page, atomically."""
    write_text(path, render_page(page))


def _finalized(value: Any) -> Any:
    """What jinja2 does with a value before it escapes it; the output of the template's own macros is left alone."""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _confusion(report: Report) -> dict[str, Any]:
    png = confusion_png(report.pooled.confusion, report.labels, title="Confusion matrix, pooled", dpi=CONFUSION_DPI)
    width, height = struct.unpack(">II", png[16:24])
    # Shown at half its pixels, so that it is sharp on a dense display and on paper.
    confusion = report.pooled.confusion
    rows = [
        {
            "label": label, "name": name, "absent": not present, "counts": confusion.matrix[label].tolist(),
            "unscored": int(confusion.unscored[label]),
        }
        for label, (name, present) in enumerate(zip(report.labels.names, confusion.present("all"), strict=True))
    ]  # fmt: skip
    return {"uri": _data_uri(png, "image/png"), "width": width // 2, "height": height // 2, "rows": rows}


def _reasons(errors: Iterable[str]) -> list[tuple[str, int]]:
    """(reason, count), the commonest first; the reason is what stands before the first colon."""
    counts = Counter(error.partition(":")[0] for error in errors)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _recipe_rows(recipe: Recipe) -> list[tuple[str, str, str]]:
    return [
        (stage, key, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value))
        for stage, settings in recipe.stages
        for key, value in settings
    ]


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


# --- faces -------------------------------------------------------------------------------------------------------------


def _faces(manifest: Manifest, predicted: Mapping[str, str]) -> dict[str, Any]:
    selection = select_samples(manifest, most=MOST_SAMPLES)
    failed = manifest.where(pa.array(failed_mask(manifest)))
    return {
        "total": selection.total,
        "failed": selection.failed,
        "reasons": _reasons(error or "failed" for error in failed.column("error")),
        "legend": [origin_mark(origin) for origin in selection.origins],
        "rows": [_face_row(row, predicted.get(row.sample_id)) for row in selection.rows],
    }


def _face_row(row: SampleRow, predicted: str | None) -> dict[str, Any]:
    verdict = None
    if predicted is not None and row.class_name is not None:
        # The manifest and the model may spell a class differently.
        verdict = "right" if canonical_name(predicted) == canonical_name(row.class_name) else "wrong"
    return {"row": row, "predicted": predicted, "verdict": verdict, "crops": [_crop(row, crop) for crop in row.crops]}


def _crop(row: SampleRow, crop: Crop) -> dict[str, Any]:
    image = tile(crop)
    buffer = io.BytesIO()
    # Encoded anew even where the file is a small JPEG already: nothing but pixels gets from a file into the page.
    image.save(buffer, "JPEG", quality=85)
    marked = crop.origin != "detected"
    colour, meaning = origin_mark(crop.origin)
    words = [f"{row.sample_id}, crop {crop.number} of {row.num_crops}"]
    words += [meaning] if marked else []
    words += ["the file is missing"] if crop.path is None else []
    return {
        "uri": _data_uri(buffer.getvalue(), "image/jpeg"),
        "width": image.width,
        "height": image.height,
        "alt": "; ".join(words),
        "colour": colour if marked else None,
    }
