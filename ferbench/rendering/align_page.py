"""What an align job made, as one self-contained HTML page: the unusual faces first, how good they are, what failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ferbench.manifest import Manifest
from ferbench.rendering import grids
from ferbench.rendering.face_list import face_list
from ferbench.rendering.grids import Column, Grid, Row
from ferbench.rendering.html import html_of
from ferbench.rendering.outliers import unusual_values
from ferbench.rendering.samples import failed_mask
from ferbench.rendering.wording import counted
from ferbench.storage import write_text

MOST_SAMPLES, MOST_FAILURES = 60, 200
QUALITY = {
    "face_score": ("detector score", "{:.3f}"),
    "face_size": ("face size, px", "{:.0f}"),
    "sharpness": ("sharpness", "{:.0f}"),
    "yaw": ("yaw, degrees", "{:.0f}"),
    "jump": ("largest jump, face widths", "{:.2f}"),
    "face_share": ("share of frames with a face", "{:.2f}"),
}
"""Quality column -> how it is headed, and how its values are written."""


def align_page(manifest: Manifest) -> str:
    """The HTML text; the same manifest and crops give the same text."""
    faces = face_list(manifest, {}, most=MOST_SAMPLES)
    quality, failures = quality_grid(manifest), failure_grid(manifest)
    sections = {
        "summary": "Summary",
        "quality": "Quality",
        "faces": "Faces",
        "failures": "What failed",
        "recipe": "Recipe",
    }
    shown = {"quality": quality, "failures": failures, "recipe": manifest.recipe}
    return html_of(
        "align_report.html",
        {
            "title": f"Faces of {manifest.name}",
            "sections": [(key, title) for key, title in sections.items() if shown.get(key, True)],
            "summary": summary_grid(manifest),
            "quality": quality,
            "faces": faces,
            "failures": failures,
            "recipe": manifest.recipe,
            "recipe_grid": manifest.recipe and grids.recipe_grid(manifest.recipe),
            "counted": counted,
            **dict.fromkeys(
                ("light_shades", "dark_shades", "drawing"), ()
            ),  # of the confusion matrix, which is not here
        },
    )


def write_align_page(manifest: Manifest, path: Path) -> None:
    """Write the page, atomically."""
    write_text(path, align_page(manifest))


def summary_grid(manifest: Manifest) -> Grid:
    """Samples by class, and how many of each have faces."""
    failed = failed_mask(manifest)
    labels = manifest.table.column("label").fill_null(-1).to_numpy().astype(np.int64)
    names = [*manifest.labels.names, "no label"]
    rows = []
    for label, name in [*enumerate(manifest.labels.names), (-1, names[-1])]:
        own = labels == label
        if own.any() or label >= 0:
            cells = (name, f"{int(own.sum()):,}", f"{int((own & ~failed).sum()):,}", f"{int((own & failed).sum()):,}")
            rows.append(Row(cells, muted=not own.any()))
    total = (f"{len(manifest):,}", f"{int((~failed).sum()):,}", f"{int(failed.sum()):,}")
    rows.append(Row(("all", *total), starts=True))
    columns = (Column("class", "name"), Column("samples"), Column("aligned"), Column("failed"))
    return Grid("summary", "Samples by class", columns, tuple(rows))


def quality_grid(manifest: Manifest) -> Grid | None:
    """Median and range of each quality column, and how many samples are unusual in it; None where there are none."""
    rows = []
    unusual = unusual_values(manifest)
    for column, (title, form) in QUALITY.items():
        if column not in manifest.table.column_names:
            continue
        values = manifest.table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        values = values[~np.isnan(values)]
        if len(values):
            points = np.percentile(values, [0, 5, 50, 95, 100])
            rows.append(
                Row(
                    (
                        title,
                        *(_without_minus_zero(form.format(point)) for point in points),
                        f"{len(unusual.get(column, ())):,}",
                    )
                )
            )
    if not rows:
        return None
    columns = ("lowest", "5th percentile", "median", "95th percentile", "highest", "unusual")
    return Grid(
        "quality", "Per sample, over those with faces", (Column("what", "name"), *map(Column, columns)), tuple(rows)
    )


def _without_minus_zero(text: str) -> str:
    return text.lstrip("-") if not text.strip("-0.") else text


def failure_grid(manifest: Manifest) -> Grid | None:
    """The failed samples with their reasons; None where none failed."""
    failed = manifest.where(pa.array(failed_mask(manifest)))
    if not len(failed):
        return None
    rows = list(zip(failed.column("sample_id"), failed.column("error"), strict=True))[:MOST_FAILURES]
    return grids.words_grid(
        "failed", "Samples without faces", ("sample", "why"), [(name, error or "failed") for name, error in rows]
    )
