"""ScoreRows to Predictions: classes by name, samples by name, labels held against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.predictions import COLUMNS, Predictions, one_hot_logits
from ferbench.score_files.classes import NO_LABEL, Classes, labels_of, resolve_classes
from ferbench.score_files.expected import Expected, expected_of_manifest, expected_of_rows
from ferbench.score_files.joining import match_names
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.rows import ScoreRows, stem_of
from ferbench.score_files.values import logits_of

MISSING = "missing-prediction"
MOST_NAMED = 3

__all__ = ["MISSING", "Expected", "assemble", "expected_of_manifest", "expected_of_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """The rows with their classes understood, before any is joined."""

    logits: NDArray[np.float32]
    targets: NDArray[np.int64]
    errors: dict[int, str]
    hard: bool
    kind: str


def assemble(rows: ScoreRows, options: ScoreFileOptions, *, expected: Expected | None = None) -> Predictions:
    """Predictions of the samples of `expected`, or, without it, of the rows that have a label themselves.

    A tested sample that the rows lack is a row with the reason `missing-prediction`. Provenance: what the file was taken
    for under `score_file`, findings under `audits`, sentences for the reader under `notices`. Raises PredictionsError
    where labels differ from the expected ones, a sample is predicted twice and differently, or no row is a sample.
    """
    classes = resolve_classes(rows, options, expected.labels if expected else None)
    findings = list(rows.findings)
    scored = _scored(rows, options, classes, findings)
    rows_used = _without_doubles(rows, scored, findings)
    if expected is None:
        predictions = _by_itself(rows, scored, rows_used, classes)
    else:
        predictions = _held_against(rows, scored, rows_used, classes, expected, findings)
    facts = {
        **rows.facts, "place": rows.place, "values": scored.kind,
        "class order": ", ".join((classes.order or classes.labels).names),
        **({"label base": "1"} if options.label_base else {}),
    }  # fmt: skip
    notices = list(classes.notes)
    if rows.names is None:
        notices.append(
            f"{rows.place} names no samples: whether each is there once, and whose it is, cannot be checked."
        )
    return Predictions(
        sample_ids=predictions.sample_ids, targets=predictions.targets, logits=predictions.logits,
        folds=predictions.folds, errors=predictions.errors, labels=classes.labels,
        attributes=predictions.attributes, hard=scored.hard,
        provenance={
            **predictions.provenance, "score_file": facts, "notices": notices,
            "audits": [finding.as_dict() for finding in findings],
        },
    )  # fmt: skip


def _scored(rows: ScoreRows, options: ScoreFileOptions, classes: Classes, findings: list[Finding]) -> _Scored:
    none = np.full(rows.count, NO_LABEL, np.int64)
    targets = none if rows.targets is None else labels_of(rows.targets, classes, rows, options)
    said = None if rows.predicted is None else labels_of(rows.predicted, classes, rows, options)
    if rows.values is None:
        assert said is not None
        errors = {
            int(row): f"{MISSING}: no class is given in {rows.where(int(row))}"
            for row in np.flatnonzero(said == NO_LABEL)
        }
        errors |= {row: reason for row, reason in rows.reasons.items() if row in errors}
        return _Scored(one_hot_logits(said, num_classes=len(classes.labels)), targets, errors, True, "classes")
    given = logits_of(rows, options)
    order = classes.order or classes.labels
    logits = np.full((rows.count, len(classes.labels)), -np.inf, np.float32)
    for column, label in enumerate(order.mapping_to(classes.labels)):
        if label is not None:
            logits[:, label] = given.logits[:, column]
    logits[np.isnan(given.logits).any(axis=1)] = np.nan
    if said is not None:
        _compare_with_said(rows, logits, said, classes.labels, findings)
    errors = given.errors | {row: reason for row, reason in rows.reasons.items() if row in given.errors}
    return _Scored(logits, targets, errors, False, given.kind)


def _compare_with_said(
    rows: ScoreRows, logits: NDArray[np.float32], said: NDArray[np.int64], labels: LabelSet, findings: list[Finding]
) -> None:
    """A warning where the file's own prediction is not the class of its highest value."""
    usable = (said != NO_LABEL) & ~np.isnan(logits).any(axis=1)
    highest = logits.max(axis=1, initial=-np.inf, where=~np.isnan(logits))
    wrong = np.flatnonzero(usable & (logits[np.arange(len(said)), np.maximum(said, 0)] < highest))
    if len(wrong):
        row = int(wrong[0])
        findings.append(
            Finding(
                "warning", "prediction-differs",
                f"in {len(wrong)} of {int(usable.sum())} rows the predicted class is not the one with the highest value, "
                f"first {rows.where(row)}: {labels.names[said[row]]}, but "
                f"{labels.names[int(np.argmax(logits[row]))]} is highest",
                "the values are scored; a class order that differs shows so", count=len(wrong),
            )
        )  # fmt: skip


def _without_doubles(rows: ScoreRows, scored: _Scored, findings: list[Finding]) -> NDArray[np.int64]:
    """Row numbers with each name once. Equal rows of one name are one; different ones are a PredictionsError."""
    if rows.names is None or pc.count_distinct(rows.names).as_py() == rows.count:
        return np.arange(rows.count)
    encoded = rows.names.dictionary_encode().indices.to_numpy()
    order = np.argsort(encoded, kind="stable")
    again = order[1:][encoded[order[1:]] == encoded[order[:-1]]]
    if not len(again):
        return np.arange(rows.count)
    first = np.full(int(encoded.max()) + 1, -1, np.int64)
    first[encoded[order[::-1]]] = order[::-1]
    for row in np.sort(again).tolist():
        other = int(first[encoded[row]])
        same = np.array_equal(scored.logits[row], scored.logits[other], equal_nan=True)
        if not same or scored.targets[row] != scored.targets[other]:
            raise PredictionsError(
                f"{rows.where(other)} and {rows.where(row)}: sample {rows.names[row].as_py()[-200:]!r} is predicted twice, "
                "and differently; keep one of the two"
            )
    findings.append(
        Finding(
            "warning", "duplicate",
            f"{len(again)} rows repeat a sample with the same values, first {rows.where(int(again.min()))}",
            "counted once; a sampler that fills up the last batch does this, and a score over all rows is wrong",
            count=len(again),
        )
    )  # fmt: skip
    return np.setdiff1d(np.arange(rows.count), again)


def _by_itself(rows: ScoreRows, scored: _Scored, used: NDArray[np.int64], classes: Classes) -> Predictions:
    if rows.targets is None:
        raise PredictionsError(
            f"{rows.place}: it has no labels; give --manifest or --truth, or say which column has them: "
            "--column target=NAME"
        )
    labelled = used[scored.targets[used] != NO_LABEL]
    if not len(labelled):
        raise PredictionsError(f"{rows.place}: no row has a label")
    if rows.names is None:
        width = len(str(rows.count))
        fold_of = rows.folds or (stem_of(rows.place),) * rows.count
        ids = [f"{fold_of[row]}/row-{row + 1:0{width}d}" for row in labelled.tolist()]
    else:
        ids = rows.names.take(pa.array(labelled)).to_pylist()
    chosen = labelled.tolist()
    return Predictions(
        sample_ids=tuple(ids),
        targets=scored.targets[labelled],
        logits=scored.logits[labelled],
        folds=tuple(rows.folds[row] for row in chosen) if rows.folds else ("all",) * len(chosen),
        errors=tuple(scored.errors.get(row) for row in chosen),
        labels=classes.labels,
        attributes={
            name: tuple(values[row] for row in chosen)
            for name, values in rows.attributes.items()
            if name not in COLUMNS
        },
        provenance={"unlabelled": len(used) - len(labelled)},
    )


def _held_against(
    rows: ScoreRows,
    scored: _Scored,
    used: NDArray[np.int64],
    classes: Classes,
    expected: Expected,
    findings: list[Finding],
) -> Predictions:
    if rows.names is None:
        raise PredictionsError(
            f"{rows.place}: it has no sample ids or paths, and rows are joined to a manifest by name, never by order; add "
            "them to the file, or score it without --manifest"
        )
    names = rows.names.take(pa.array(used))
    match = match_names(names, expected.ids, expected.paths, where=lambda row: rows.where(int(used[row])))
    known = match.samples >= 0
    if not known.any():
        raise PredictionsError(
            f"{rows.place}: none of its {len(used)} samples is in {expected.name}; first {names[0].as_py()[-200:]!r}, but "
            f"sample ids are like {expected.ids[0].as_py()!r}"
            + (f" and paths like {expected.paths[0].as_py()!r}" if expected.paths is not None else "")
        )
    row_of = np.full(len(expected.ids), -1, np.int64)
    row_of[match.samples[known]] = used[known]
    tested = expected.tested
    _refuse_other_targets(rows, scored, row_of, classes, expected)
    chosen = np.flatnonzero(tested)
    there = row_of[chosen]
    _tell_who_is_missing(rows, names, match.samples, chosen[there < 0], expected, tested, findings)
    if match.how != "sample id":
        at = int(np.flatnonzero(known)[0])
        findings.append(
            Finding(
                "note", "join",
                f"joined by {match.how}, such as {names[at].as_py()[-120:]!r} to sample "
                f"{expected.ids[int(match.samples[at])].as_py()!r}",
            )
        )  # fmt: skip
    logits = np.full((len(chosen), len(classes.labels)), np.nan, np.float32)
    logits[there >= 0] = scored.logits[there[there >= 0]]
    errors = [
        scored.errors.get(row) if row >= 0 else _why_missing(expected, sample, rows.place)
        for sample, row in zip(chosen.tolist(), there.tolist(), strict=True)
    ]
    names_of = expected.labels.mapping_to(classes.labels)
    targets = np.array([NO_LABEL if label is None else label for label in names_of], np.int64)[expected.targets[chosen]]
    return Predictions(
        sample_ids=tuple(expected.ids.take(pa.array(chosen)).to_pylist()),
        targets=targets,
        logits=logits,
        folds=tuple(str(expected.folds[sample]) for sample in chosen.tolist()),
        errors=tuple(errors),
        labels=classes.labels,
        attributes={
            name: tuple(values[sample] for sample in chosen.tolist())
            for name, values in expected.attributes.items()
            if name not in COLUMNS
        },
        provenance={
            "unlabelled": sum(fold is not None for fold in expected.folds) - len(chosen),
            "joined_by": match.how,
        },
    )


def _why_missing(expected: Expected, sample: int, place: str) -> str:
    failed = expected.errors[sample] if expected.errors else None
    return failed or f"{MISSING}: not in {place}"


def _refuse_other_targets(
    rows: ScoreRows, scored: _Scored, row_of: NDArray[np.int64], classes: Classes, expected: Expected
) -> None:
    """PredictionsError where the file's labels are not the expected ones; says so when a permutation explains it."""
    both = np.flatnonzero((row_of >= 0) & (expected.targets != NO_LABEL))
    both = both[scored.targets[row_of[both]] != NO_LABEL]
    truth = expected.targets[both]  # labels of `expected` are the first of `classes.labels`
    given = scored.targets[row_of[both]]
    wrong = np.flatnonzero(truth != given)
    if not len(wrong):
        return
    names = classes.labels.names
    examples = "; ".join(
        f"{expected.ids[int(both[at])].as_py()!r} is {names[truth[at]]} there and {names[given[at]]} in "
        f"{rows.where(int(row_of[both[at]]))}"
        for at in wrong[:MOST_NAMED].tolist()
    )
    raise PredictionsError(
        f"{rows.place}: {len(wrong)} of {len(both)} labels differ from {expected.name}: {examples}"
        f"{_permutation_hint(given, truth, classes)}",
        reason="target-mismatch",
    )


def _permutation_hint(given: NDArray[np.int64], truth: NDArray[np.int64], classes: Classes) -> str:
    """`; …: --classes a,b,c` where each class of the file is always one and the same class of the truth."""
    pairs = Counter(zip(given.tolist(), truth.tolist(), strict=True))
    mapping = dict(pairs)
    found: dict[int, int] = {}
    for one, other in mapping:
        if found.setdefault(one, other) != other:
            return "; is it the right manifest, and the right fold?"
    names = classes.labels.names
    if len(set(found.values())) < len(found) or classes.order is None or len(found) < len(classes.order):
        return "; is it the right manifest?"
    order = [names[found[label]] for label in classes.order.mapping_to(classes.labels) if label is not None]
    return f"; every one is explained by another class order: --classes {','.join(order)}"


def _tell_who_is_missing(
    rows: ScoreRows, names: pa.Array, samples: NDArray[np.int64], missing: NDArray[np.int64], expected: Expected,
    tested: NDArray[np.bool_], findings: list[Finding],
) -> None:  # fmt: skip
    """Findings: tested samples without a row, rows that are no sample, rows of samples that are not tested."""
    # Who failed before any model saw it is nobody's omission, and keeps the reason it has.
    missing = np.array([at for at in missing.tolist() if not expected.errors or expected.errors[at] is None], np.int64)
    if len(missing):
        findings.append(
            Finding(
                "warning", MISSING,
                f"{len(missing)} of {int(tested.sum())} tested samples are not in {rows.place}: "
                f"{_named(expected.ids.take(pa.array(missing[:MOST_NAMED])).to_pylist(), len(missing))}",
                "counted as samples without a prediction; look at the scores over all samples", count=len(missing),
            )
        )  # fmt: skip
    unknown = np.flatnonzero(samples < 0)
    if len(unknown):
        findings.append(
            Finding(
                "warning", "unknown-sample",
                f"{len(unknown)} rows of {rows.place} are no sample of {expected.name}: "
                f"{_named(names.take(pa.array(unknown[:MOST_NAMED])).to_pylist(), len(unknown))}",
                "left out; is it the right manifest?", count=len(unknown),
            )
        )  # fmt: skip
    elsewhere = int((~tested[samples[samples >= 0]]).sum())
    if elsewhere:
        message = (
            f"{elsewhere} rows of {rows.place} are samples that are not tested here: another part, or without a label"
        )
        findings.append(Finding("note", "not-tested", message, "left out", count=elsewhere))


def _named(names: Sequence[str], count: int) -> str:
    return ", ".join(repr(name[-120:]) for name in names) + (", …" if count > len(names) else "")
