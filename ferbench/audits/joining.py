"""Predictions against their manifest, joined by sample_id: samples missing, unknown, with another label or fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ferbench.audits.subject import Scored
from ferbench.errors import UsageError
from ferbench.findings import Finding
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions
from ferbench.protocol import scored_in

_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class _Joined:
    """Rows of the manifest by sample_id, and which of them should be scored."""

    rows: Mapping[str, int]
    tested: Sequence[str | None]
    """Per row, the name of the fold it is scored in; None outside the part that was asked for."""
    labels: Sequence[int | None]
    """Per row, as an index into the predictions' labels; None without a label."""


def audit_joining(scored: Scored) -> list[Finding]:
    """Missing and unknown samples, and labels and folds that differ. Nothing without a manifest."""
    if scored.manifest is None:
        return []
    joined = _join(scored, scored.manifest)
    if joined is None:
        return []
    known = [place for place, name in enumerate(scored.predictions.sample_ids) if name in joined.rows]
    findings = [
        *_unknown(scored, joined), *_missing(scored, joined), *_other_labels(scored, joined, known),
        *_other_folds(scored, joined, known),
    ]  # fmt: skip
    return findings


def _join(scored: Scored, manifest: Manifest) -> _Joined | None:
    predictions = scored.predictions
    try:
        tested = scored_in(manifest, **_asked(scored, manifest))
    except UsageError:  # a fold or a part that this manifest does not have: it is not the manifest of these predictions
        return None
    places = manifest.labels.mapping_to(predictions.labels)
    labels = [None if label is None else places[label] for label in manifest.column("label")]
    # A class that the predictions do not have is no label here: -1 differs from every target.
    labels = [
        -1 if place is None and own is not None else place
        for place, own in zip(labels, manifest.column("label"), strict=True)
    ]
    rows = {name: row for row, name in enumerate(manifest.column("sample_id"))}
    return _Joined(rows, tested, labels)


def _asked(scored: Scored, manifest: Manifest) -> dict[str, str]:
    """The part that the predictions are of: as asked for, else as their folds say."""
    asked = scored.provenance.get("asked")
    if isinstance(asked, Mapping):
        return {"split": str(asked.get("split") or ""), "fold": str(asked.get("fold") or "")}
    folds = set(scored.predictions.folds)
    if manifest.has_values("fold"):
        names = {name for name in scored_in(manifest) if name}
        return {"fold": folds.pop()} if len(folds) == 1 and folds <= names else {}
    part = next(iter(folds)) if len(folds) == 1 else ""
    return {"split": part} if manifest.has_values("split") and part in _PARTS else {}


def _unknown(scored: Scored, joined: _Joined) -> list[Finding]:
    unknown = [name for name in scored.predictions.sample_ids if name not in joined.rows]
    outside = [
        name
        for name in scored.predictions.sample_ids
        if name in joined.rows and joined.tested[joined.rows[name]] is None
    ]
    findings = []
    if unknown:
        message = (
            f"{len(unknown):,} predictions are of samples that the manifest does not have, first: {_shown(unknown)}"
        )
        advice = "score them against the manifest they were made from; ids are compared as they are, letter by letter"
        findings.append(Finding("error", "unknown-sample", message, advice, sample=unknown[0], count=len(unknown)))
    if outside:
        message = f"{len(outside):,} predictions are of samples outside the test part, first: {_shown(outside)}"
        advice = "score the test part alone: the others may have been trained on"
        findings.append(Finding("error", "not-in-test", message, advice, sample=outside[0], count=len(outside)))
    return findings


def _missing(scored: Scored, joined: _Joined) -> list[Finding]:
    there = set(scored.predictions.sample_ids)
    expected = [
        name for name, row in joined.rows.items() if joined.tested[row] is not None and joined.labels[row] is not None
    ]
    missing = [name for name in expected if name not in there]
    if not missing:
        return []
    asked = scored.provenance.get("asked")
    limit = asked.get("limit") if isinstance(asked, Mapping) else None
    message = f"{len(missing):,} of {len(expected):,} samples of the test part have no row, first: {_shown(missing)}"
    if limit:
        advice = f"run it without --limit {limit} for a score that can be published"
        return [Finding("warning", "missing-sample", message, advice, sample=missing[0], count=len(missing))]
    advice = "a failed sample is a row with its reason, never a missing row: run evaluate again, or merge all shards"
    return [Finding("error", "missing-sample", message, advice, sample=missing[0], count=len(missing))]


def _other_labels(scored: Scored, joined: _Joined, known: Sequence[int]) -> list[Finding]:
    predictions = scored.predictions
    differing = [
        place
        for place in known
        if joined.labels[joined.rows[predictions.sample_ids[place]]] not in (None, int(predictions.targets[place]))
    ]
    if not differing:
        return []
    first = differing[0]
    row = joined.rows[predictions.sample_ids[first]]
    message = (
        f"the targets of {len(differing):,} of {len(known):,} samples are not the manifest's labels, first: "
        f"{predictions.sample_ids[first]} is {_target(predictions, first)} here and {_label(scored.manifest, row)} there"
    )
    advice = (
        "labels are matched by name: see which of the two files has the classes in another order, and make it again"
    )
    sample = predictions.sample_ids[first]
    return [Finding("error", "other-label", message, advice, sample=sample, count=len(differing))]


def _other_folds(scored: Scored, joined: _Joined, known: Sequence[int]) -> list[Finding]:
    predictions = scored.predictions
    manifest = scored.manifest
    if manifest is None or not manifest.has_values("fold") or set(predictions.folds) == {"all"}:
        return []
    differing = [
        place
        for place in known
        if joined.tested[joined.rows[predictions.sample_ids[place]]] not in (None, predictions.folds[place])
    ]
    if not differing:
        return []
    first = differing[0]
    there = joined.tested[joined.rows[predictions.sample_ids[first]]]
    message = (
        f"{len(differing):,} samples are scored in another fold than the manifest tests them in, first: "
        f"{predictions.sample_ids[first]} in {predictions.folds[first]}, and in {there} there"
    )
    advice = "the model of a fold was trained on the other folds' samples: evaluate with the folds it was trained with"
    sample = predictions.sample_ids[first]
    return [Finding("error", "other-fold", message, advice, sample=sample, count=len(differing))]


def _target(predictions: Predictions, place: int) -> str:
    return predictions.labels.names[int(predictions.targets[place])]


def _label(manifest: Manifest | None, row: int) -> str:
    label: Any = manifest.table.column("label")[row].as_py() if manifest else None
    return manifest.labels.names[label] if manifest and label is not None else "without a label"


def _shown(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
