"""`rows`: what is listed twice, has no label, or was given up by an earlier job."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferbench.checks.context import Context, counted_words, rest
from ferbench.checks.sides import Codes, codes_of, joined, range_codes, rows_of_codes
from ferbench.findings import Finding
from ferbench.manifest import Manifest


def check_rows(context: Context) -> list[Finding]:
    """Duplicate rows, conflicting labels, unlabelled rows, failed rows by reason."""
    return [*_duplicates(context), *_unlabelled(context), *_failed(context)]


def face_columns(manifest: Manifest) -> list[str]:
    """Columns that tell the faces of one picture apart, as ExpW's list has them: its number, its box."""
    return [name for name in manifest.table.column_names if name == "face" or name.startswith("box_")]


def frame_codes(manifest: Manifest) -> Codes:
    """(N,) equal where path and frame range are."""
    return joined(codes_of(manifest.table.column("path")), range_codes(manifest))


def _row_codes(manifest: Manifest) -> Codes:
    """(N,) equal where path, frame range and face are."""
    codes = frame_codes(manifest)
    for name in face_columns(manifest):
        codes = joined(codes, codes_of(manifest.table.column(name)))
    return codes


def _duplicates(context: Context) -> list[Finding]:
    manifest, codes = context.manifest, _row_codes(context.manifest)
    labels = manifest.table.column("label").fill_null(-1).to_numpy().astype(np.int64)
    counts = np.bincount(codes, minlength=1)
    twice = np.flatnonzero(counts > 1)
    most = context.options.per_rule
    repeats: list[Finding] = []
    conflicts: list[Finding] = []
    num_conflicts = _conflicting(codes, labels, counts)
    for rows in rows_of_codes(codes, twice, np.zeros_like(codes)):
        path = context.value("path", rows[0])
        first, others = context.sample_id(rows[0]), [context.sample_id(row) for row in rows[1:4]]
        differing = [row for row in rows if labels[row] != labels[rows[0]]]
        if differing and len(conflicts) < most:
            names = [_class_name(manifest, int(labels[row])) for row in (rows[0], differing[0])]
            message = (
                f"{path} is listed as {names[0]} ({first!r}) and as {names[1]} ({context.sample_id(differing[0])!r})"
            )
            conflicts.append(
                Finding("error", "label-conflict", message, "one of them is wrong", sample=first, count=len(rows))
            )
        elif not differing and len(repeats) < most:
            message = (
                f"{path} is listed {len(rows)} times, with the same frames: also as {', '.join(map(repr, others))}"
            )
            repeats.append(
                Finding("warning", "duplicate-row", message, "it counts more than once", sample=first, count=len(rows))
            )
        if len(conflicts) >= min(most, num_conflicts) and len(repeats) >= most:
            break
    left = rest("error", "label-conflict", num_conflicts - len(conflicts), "sources", "one of them is wrong")
    left += rest(
        "warning", "duplicate-row", len(twice) - num_conflicts - len(repeats), "sources", "they count more than once"
    )
    return [*conflicts, *repeats, *left]


def _conflicting(codes: Codes, labels: Codes, counts: Codes) -> int:
    """How many repeated codes have more than one label."""
    repeated = counts[codes] > 1
    pairs = np.unique(np.stack([codes[repeated], labels[repeated]], axis=1), axis=0)
    return int((np.unique(pairs[:, 0], return_counts=True)[1] > 1).sum()) if len(pairs) else 0


def _class_name(manifest: Manifest, label: int) -> str:
    return repr(manifest.labels.names[label]) if label >= 0 else "unlabelled"


def _unlabelled(context: Context) -> list[Finding]:
    missing = context.manifest.table.column("label").is_null().to_numpy()
    if not missing.any():
        return []
    first = context.sample_id(int(np.flatnonzero(missing)[0]))
    count = int(missing.sum())
    message = f"{count:,} of {len(missing):,} samples have no label, first: {first}"
    for sides in context.sides:
        parts = [(name, int((missing & (sides.part == part)).sum())) for part, name in sides.names.items()]
        if shown := counted_words(parts):
            advice = "they are trained on and tested on as nothing; leave them out, or label them"
            return [Finding("warning", "unlabelled", f"{message}; by part: {shown}", advice, count=count)]
    return [Finding("note", "unlabelled", message, "no split will hold them", count=count)]


def _failed(context: Context) -> list[Finding]:
    rows = np.flatnonzero(context.failed())
    if not len(rows):
        return []
    errors = context.manifest.table.column("error").take(pa.array(rows)).fill_null("unknown: no reason recorded")
    reasons = pc.list_element(pc.split_pattern(errors, ":", max_splits=1), 0)
    findings = []
    for entry in pc.value_counts(reasons.combine_chunks()).to_pylist():
        index = pc.index(reasons, entry["values"]).as_py()
        message = (
            f"{entry['counts']:,} samples failed, first: {context.sample_id(rows[index])}: {errors[index].as_py()}"
        )
        advice = "evaluation counts them as samples without a prediction"
        findings.append(Finding("warning", f"failed-{entry['values']}", message, advice, count=entry["counts"]))
    return findings
