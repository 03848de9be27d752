"""Samples of an aligned manifest with their crops, as a page shows them: pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from ferbench.labels import canonical_name
from ferbench.manifest import Manifest
from ferbench.rendering.samples import Crop, SampleRow, failed_mask, origin_mark, select_samples, tile


def reasons_of(errors: Iterable[str]) -> list[tuple[str, int]]:
    """(reason, count), the commonest first; the reason is what stands before the first colon."""
    counts = Counter(error.partition(":")[0] for error in errors)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def face_list(manifest: Manifest, predicted: Mapping[str, str], *, most: int) -> dict[str, Any]:
    """What `report_face_list.html` shows: at most `most` samples, the unusual first; `predicted`: sample_id -> class."""
    selection = select_samples(manifest, most=most)
    failed = manifest.where(pa.array(failed_mask(manifest)))
    return {
        "total": selection.total,
        "failed": selection.failed,
        "reasons": reasons_of(error or "failed" for error in failed.column("error")),
        "legend": [origin_mark(origin) for origin in selection.origins],
        "rows": [_face_row(row, predicted.get(row.sample_id)) for row in selection.rows],
    }


def _face_row(row: SampleRow, predicted: str | None) -> dict[str, Any]:
    verdict = None
    if predicted is not None and row.class_name is not None:
        # The manifest and the model may spell a class differently.
        verdict = "right" if canonical_name(predicted) == canonical_name(row.class_name) else "wrong"
    return {
        "row": row,
        "predicted": predicted,
        "verdict": verdict,
        "crops": [shown_crop(row, crop) for crop in row.crops],
    }


def shown_crop(row: SampleRow, crop: Crop) -> dict[str, Any]:
    """What `crop_strip` of report_macros.html shows: a small JPEG as a data URI, its size, words, and its mark."""
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


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
