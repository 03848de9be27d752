"""`leaks`: a subject, a group, a file, its bytes or a whole validation part on both sides of a split or of any fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.checks.context import Context, rest
from ferbench.checks.rows import face_columns
from ferbench.checks.sides import (
    NONE,
    PARTS,
    TEST,
    Codes,
    Crossings,
    Sides,
    codes_of,
    crossings,
    frame_ranges,
    joined,
    range_codes,
    rows_of_codes,
    validation_crossings,
)
from ferbench.findings import Finding

_WHAT = {"subject": "a person is learnt by heart in training and recognised in the test",
         "group": "samples of one recording or scene resemble each other beyond the expression"}  # fmt: skip
_OURS = "make folds that keep it whole: ferbench make-splits --group {column}"
_THEIRS = "the published split has it so: results compare with published ones, and are too good for new faces; say so"
_BYTES = "remove one of them, or keep both on one side"


def no_sides(context: Context) -> str:
    """Why there is nothing to compare."""
    return "" if context.sides else "the manifest has no split and no folds"


def check_leaks(context: Context) -> list[Finding]:
    """Everything that is on more than one side, each with a sample of either side."""
    findings: list[Finding] = []
    source = _source_of(context)
    for sides in context.sides:
        found, sides = _validation_is_test(context, sides, source)
        findings += found
        for column in ("subject", "group"):
            if context.manifest.has_values(column):
                findings += _crossing_values(context, sides, column)
        findings += _crossing_sources(context, sides, source)
    return findings


def is_published(context: Context) -> bool:
    """Whether the split is the dataset's own: as its reader found it, or made by one of its published protocols."""
    manifest = context.manifest
    if manifest.protocol:
        return manifest.protocol.get("kind") == "published"
    return context.card is not None and "imported" not in manifest.provenance


# --- people and groups -------------------------------------------------------------------------------------------------


def _crossing_values(context: Context, sides: Sides, column: str) -> list[Finding]:
    codes = codes_of(context.manifest.table.column(column))
    found = crossings(codes, sides.part)
    published = is_published(context)
    advice = f"{_WHAT[column]}; {_THEIRS if published else _OURS.format(column=column)}"
    most = context.options.per_rule
    findings = []
    # What touches the test part spoils results; what crosses train and validation, the choice of a model.
    in_test = np.full(len(found), sides.kind == "fold") | (sides.part[found.last] == TEST)
    for severity, some in (
        ("warning" if published else "error", found.where(in_test)),
        ("warning", found.where(~in_test)),
    ):
        for first, last, size in zip(some.first[:most], some.last[:most], some.sizes[:most], strict=True):
            where = sides.pair(int(first), int(last), context.sample_id(first), context.sample_id(last))
            message = f"{column} {context.value(column, int(last))!r} is {where}"
            findings.append(
                Finding(severity, f"leak-{column}", message, advice, sample=context.sample_id(last), count=int(size))
            )
        findings += rest(severity, f"leak-{column}", len(some) - most, f"values of {column}", advice)
    return [*findings, *_crossing_validation(context, sides, column, codes)]


def _crossing_validation(context: Context, sides: Sides, column: str, codes: Codes) -> list[Finding]:
    """Train against the validation parts of folds; one finding, since it spoils the choice of a model, not the result."""
    values, folds = validation_crossings(codes, sides)
    if not len(values):
        return []
    row = int(np.flatnonzero(codes == values[0])[0])
    message = (
        f"{len(np.unique(values)):,} values of {column} train and validate in the same fold, first: "
        f"{context.value(column, row)!r} in {sides.names.get(int(folds[0]), f'fold {folds[0]}')}"
    )
    advice = f"carve the validation part by {column}, or say that it selects on known ones"
    return [Finding("warning", f"leak-{column}", message, advice, count=len(np.unique(values)))]


# --- files -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """What each row was cut from. For aligned faces that is the video they come from, not the folder of crops."""

    column: str
    path: Codes
    sha256: Codes
    starts: Codes
    ends: Codes
    ranges: Codes


def _source_of(context: Context) -> _Source:
    manifest = context.manifest
    names = ("source", "source_start", "source_end")
    aligned = manifest.recipe is not None and set(names) <= set(manifest.table.column_names)
    column, start, end = names if aligned else ("path", "start_frame", "end_frame")
    sha256 = codes_of(manifest.table.column("sha256"))
    return _Source(
        column, codes_of(manifest.table.column(column)), sha256, *frame_ranges(manifest, start, end),
        range_codes(manifest, start, end),
    )  # fmt: skip


def _validation_is_test(context: Context, sides: Sides, source: _Source) -> tuple[list[Finding], Sides]:
    """A validation part that is the test part; the sides come back without it, so that it is said once and not per row."""
    advice = "a model selected on the test part has no test: carve validation out of train (make-splits --validation)"
    if sides.kind == "fold":
        rows, folds = sides.validates or (np.empty(0, np.int64), np.empty(0, np.int64))
        both = rows[sides.part[rows] == folds]
        if not len(both):
            return [], sides
        message = f"{len(both):,} samples select and are tested in the same fold, first: {context.sample_id(both[0])}"
        return [Finding("error", "validation-is-test", message, advice, count=len(both))], sides
    validation, test = (np.flatnonzero(sides.part == PARTS.index(part)) for part in ("validation", "test"))
    for what, keys in (("paths", source.path), ("bytes", source.sha256)):
        codes = joined(keys, source.ranges)
        ours, theirs = np.unique(codes[validation]), np.unique(codes[test])
        if len(ours) and NONE not in ours and np.array_equal(ours, theirs):
            message = f"the validation part is the test part: {len(validation):,} samples with the same {what}"
            part = np.where(sides.part == PARTS.index("validation"), NONE, sides.part)
            found = Finding("error", "validation-is-test", message, advice, count=len(validation))
            return [found], Sides(sides.kind, part, sides.names)
    return [], sides


def _crossing_sources(context: Context, sides: Sides, source: _Source) -> list[Finding]:
    by_path = crossings(source.path, sides.part)
    by_bytes = crossings(source.sha256, sides.part)
    # Bytes under one path were found by the path.
    by_bytes = by_bytes.where(source.path[by_bytes.first] != source.path[by_bytes.last])
    return [
        *_listed(context, sides, source, "leak-source", source.path, by_path),
        *_listed(context, sides, source, "leak-bytes", source.sha256, by_bytes),
    ]


def _listed(
    context: Context, sides: Sides, source: _Source, rule: str, codes: Codes, found: Crossings
) -> list[Finding]:
    """Errors where the same frames are on both sides; warnings where one video's different frames, or faces, are."""
    errors: list[Finding] = []
    warnings: list[Finding] = []
    counts = {"error": 0, "warning": 0}
    most = context.options.per_rule
    has_faces = bool(face_columns(context.manifest))
    for rows in rows_of_codes(codes, found.codes, sides.part):
        pair = overlapping(rows, sides, source.starts, source.ends)
        one, other = pair or _farthest(rows, sides.part)
        touches = sides.is_test(int(max(sides.part[one], sides.part[other])))
        severity = "error" if pair and touches and not has_faces else "warning"
        counts[severity] += 1
        listed = errors if severity == "error" else warnings
        if len(listed) < most:
            listed.append(_finding(context, sides, source, rule, severity, (one, other), bool(pair), len(rows)))
    return [
        *errors, *rest("error", rule, counts["error"] - len(errors), "files", _BYTES),
        *warnings, *rest("warning", rule, counts["warning"] - len(warnings), "files", _BYTES),
    ]  # fmt: skip


def _finding(
    context: Context, sides: Sides, source: _Source, rule: str, severity: str, pair: Sequence[int], same: bool, count: int
) -> Finding:  # fmt: skip
    one, other = pair
    where = sides.pair(one, other, context.sample_id(one), context.sample_id(other))
    path = context.value(source.column, other)
    if rule == "leak-bytes":
        what = f"the bytes of {path} are also those of {context.value(source.column, one)}: they are {where}"
    elif same:
        what = f"{path}, the same frames, is {where}"
    else:
        what = f"{path}, with different frames, is {where}"
    advice = _BYTES if same else "frames of one video resemble each other: keep a video on one side, or group by it"
    return Finding(severity, rule, what, advice, sample=context.sample_id(other), count=count)


def _farthest(rows: Codes, part: Codes) -> tuple[int, int]:
    """A row of the first and one of the last side."""
    return int(rows[np.argmin(part[rows])]), int(rows[np.argmax(part[rows])])


def overlapping(rows: Codes, sides: Sides, starts: Codes, ends: Codes) -> tuple[int, int] | None:
    """Two of the rows on different sides whose frame ranges overlap, the later side second; those that touch test first."""
    part = sides.part[rows]
    if sides.kind == "split":
        found = _sweep(rows, part == TEST, starts, ends)
        if found:
            return found
    found = _sweep(rows, part, starts, ends)
    if found is None:
        return None
    one, other = sorted(found, key=lambda row: int(sides.part[row]))
    return one, other


def _sweep(
    rows: Codes, part: Codes | NDArray[np.bool_], starts: Codes, ends: Codes
) -> tuple[int, int] | None:  # fmt: skip
    """By start, against the two farthest ends so far that are on different sides: one of them is not on this row's."""
    reach: list[tuple[int, int, int]] = []  # (end, side, row), the farthest first
    for place in np.argsort(starts[rows], kind="stable"):
        row, side = int(rows[place]), int(part[place])
        for end, other_side, other in reach:
            if other_side != side and starts[row] < end:
                return (other, row) if other_side < side else (row, other)
        reach.append((int(ends[row]), side, row))
        best: dict[int, tuple[int, int, int]] = {}
        for entry in sorted(reach, reverse=True):
            best.setdefault(entry[1], entry)
        reach = list(best.values())[:2]
    return None
