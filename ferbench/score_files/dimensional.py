"""Valence and arousal: one pair of numbers per frame or picture.

    valence,arousal                          one `<video>.txt` per video, line k after the names is frame k, from 1
    0.12,-0.30
    -5,-5                                    the annotations' sign for a frame that is not scored

    image_location,valence,arousal           one file for all videos, or any CSV with a sample, valence and arousal
    video1/00001.jpg,0.12,-0.30

A CSV may hold both sides: `valence` is the truth beside `valence_pred`, and the prediction beside `valence_true`.

Source: the ABAW competitions' VA sets and submission instructions (Kollias et al., CVPRW 2022 to 2024).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.datasets.frame_labels import five_digits
from ferbench.errors import DataError, PredictionsError
from ferbench.findings import Finding
from ferbench.score_files import cells
from ferbench.score_files.columns import ROLES, simple_name
from ferbench.score_files.delimited import line_finder, read_delimited
from ferbench.score_files.joining import match_names
from ferbench.score_files.peek import look_at

DIMENSIONS = ("valence", "arousal")
NOT_ANNOTATED = -5.0
"""Aff-Wild2's value of frames without an annotation; a frame with it in either dimension is not scored."""
_BOTH = "(valence|arousal)"
_TRUTH_WORDS = "(true|gt|target|truth|label|y_true|ground_truth|actual)"
_PREDICTION_WORDS = "(pred|predicted|prediction|y_pred|est)"
_TRUE = re.compile(f"{_TRUTH_WORDS}_{_BOTH}|{_BOTH}_{_TRUTH_WORDS}")
_PREDICTED = re.compile(f"{_PREDICTION_WORDS}_{_BOTH}|{_BOTH}_{_PREDICTION_WORDS}")


@dataclass(frozen=True, slots=True, eq=False)
class DimensionalRows:
    """N rows of one or several files; NaN where a cell is empty."""

    place: str
    where: Callable[[int], str]
    names: pa.Array | None
    """(N,) string."""
    predicted: NDArray[np.float64] | None
    """(N, 2) valence and arousal."""
    truth: NDArray[np.float64] | None
    """(N, 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class DimensionalPairs:
    """What is scored: M annotated samples."""

    names: tuple[str, ...]
    target: NDArray[np.float64]
    """(M, 2) valence and arousal."""
    predicted: NDArray[np.float64]
    """(M, 2), NaN in both where there is no prediction."""
    not_annotated: int
    """Samples that were left out for want of an annotation."""
    findings: tuple[Finding, ...] = ()


def is_dimensional(path: Path, columns: Mapping[str, str] | None = None) -> bool:
    """Whether a file, or the first text file of a folder, names valence and arousal in its first line."""
    if path.suffix.lower() in (".parquet", ".npz") or (
        columns and set(columns) & {"predicted", "logits", "probabilities"}
    ):
        return False
    lines = look_at(path).lines
    found = (
        {part for name in re.split(r"[,;\t ]+", lines[0]) for part in simple_name(name).split("_")} if lines else set()
    )
    return set(DIMENSIONS) <= found


def read_dimensional(path: Path, columns: Mapping[str, str] | None = None) -> DimensionalRows:
    """Read a file, or the text files of a folder; PredictionsError names file and line of what is no pair of numbers."""
    if not path.is_dir():
        return _read_file(path, columns or {}, is_video=path.suffix.lower() == ".txt")
    files = sorted(file for file in path.glob("*.txt") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise PredictionsError(f"{path}: no text file is in it")
    parts = [_read_file(file, columns or {}, is_video=True) for file in files]
    starts = np.cumsum([0, *(len(part.names) if part.names is not None else 0 for part in parts)])

    def where(row: int) -> str:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return parts[part].where(row - int(starts[part]))

    return DimensionalRows(
        str(path), where, pa.concat_arrays([part.names for part in parts]),
        _stacked([part.predicted for part in parts]), _stacked([part.truth for part in parts]),
    )  # fmt: skip


def _stacked(parts: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _read_file(path: Path, given: Mapping[str, str], *, is_video: bool) -> DimensionalRows:
    table, named, titled = read_delimited(path, set(given.values()))
    if not named:
        raise PredictionsError(f"{path}:1: the first line must name the columns, such as valence,arousal")
    where = line_finder(path, titled)
    simple = {simple_name(name): name for name in table.column_names}
    plain = [simple.get(dimension, "") for dimension in DIMENSIONS]
    truth = _columns_like(_TRUE, simple)
    predicted = _columns_like(_PREDICTED, simple)
    if all(plain):
        if predicted and truth:
            pass
        elif predicted:
            truth = truth or plain
        else:
            predicted = plain
    if not predicted and not truth:
        raise PredictionsError(
            f"{path}:1: no columns of valence and arousal among {', '.join(table.column_names[:20])}"
        )
    sample = given.get("sample") or next((simple[name] for name in ROLES["sample"] if name in simple), "")
    if sample and sample not in table.column_names:
        raise PredictionsError(
            f"{path}: there is no column {sample!r}; its columns are {', '.join(table.column_names)}"
        )
    names = None
    if sample:
        names = cells.texts(_one(table.column(sample)), what=sample, where=where)
        empty = pc.index(pc.is_null(names), True).as_py()
        if empty >= 0:
            raise PredictionsError(f"{where(empty)}: column {sample!r} is empty; every row needs its sample")
    elif is_video:
        digits = five_digits(np.arange(1, len(table) + 1, dtype=np.int32))
        names = pc.binary_join_element_wise(pa.scalar(path.stem), digits, "/")
    return DimensionalRows(
        str(path), where, names, _pairs(table, predicted, where) if predicted else None,
        _pairs(table, truth, where) if truth else None,
    )  # fmt: skip


def _columns_like(pattern: re.Pattern[str], simple: Mapping[str, str]) -> list[str]:
    found: dict[str, str] = {}
    for name, column in simple.items():
        match = pattern.fullmatch(name)
        if match:
            found.setdefault(match[2] or match[3], column)
    return [found[dimension] for dimension in DIMENSIONS] if len(found) == 2 else []


def _one(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _pairs(table: pa.Table, columns: Sequence[str], where: Callable[[int], str]) -> NDArray[np.float64]:
    return np.stack([cells.numbers(_one(table.column(name)), what=name, where=where) for name in columns], axis=1)


def pair_up(rows: DimensionalRows, truth: DimensionalRows | None) -> DimensionalPairs:
    """Predictions beside their truth, by sample and never by order; the truth may be in the rows themselves.

    Raises PredictionsError where either side is missing, a sample is there twice, or no row is a sample of the truth.
    """
    if rows.predicted is None:
        raise PredictionsError(
            f"{rows.place}: it has true values and no predicted ones; call those valence_pred, arousal_pred"
        )
    if truth is None:
        if rows.truth is None:
            raise PredictionsError(
                f"{rows.place}: it has no true values; give --truth FOLDER with the annotations, or columns valence_true "
                "and arousal_true"
            )
        names = rows.names if rows.names is not None else pa.array([str(row + 1) for row in range(len(rows.truth))])
        _refuse_doubles(rows)
        return _kept(names, rows.truth, rows.predicted, [])
    target = truth.predicted if truth.truth is None else truth.truth
    if rows.names is None or truth.names is None or target is None:
        raise PredictionsError(
            f"{rows.place if rows.names is None else truth.place}: rows are joined by sample, never by order; a column "
            "of samples is needed, or a text file per video"
        )
    _refuse_doubles(rows)
    _refuse_doubles(truth)
    match = match_names(rows.names, truth.names, None, where=rows.where)
    known = np.flatnonzero(match.samples >= 0)
    if not len(known):
        raise PredictionsError(
            f"{rows.place}: none of its samples is in {truth.place}; first {rows.names[0].as_py()[-120:]!r}, but samples "
            f"are like {truth.names[0].as_py()!r}"
        )
    predicted = np.full(target.shape, np.nan)
    predicted[match.samples[known]] = rows.predicted[known]
    findings = []
    unknown = len(rows.names) - len(known)
    if unknown:
        first = rows.names[int(np.flatnonzero(match.samples < 0)[0])].as_py()
        more = ", …" if unknown > 1 else ""
        message = f"{unknown} rows of {rows.place} are no sample of {truth.place}: {first[-120:]!r}{more}"
        findings.append(Finding("warning", "unknown-sample", message, "left out", count=unknown))
    return _kept(truth.names, target, predicted, findings)


def _refuse_doubles(rows: DimensionalRows) -> None:
    if rows.names is None:
        return
    encoded = rows.names.dictionary_encode().indices.to_numpy()
    order = np.argsort(encoded, kind="stable")
    again = np.flatnonzero(encoded[order[1:]] == encoded[order[:-1]])
    if len(again):
        first, second = int(order[again[0]]), int(order[again[0] + 1])
        raise PredictionsError(
            f"{rows.where(first)} and {rows.where(second)}: sample {rows.names[first].as_py()[-200:]!r} is there twice"
        )


def _kept(
    names: pa.Array, target: NDArray[np.float64], predicted: NDArray[np.float64], findings: list[Finding]
) -> DimensionalPairs:
    annotated = np.isfinite(target).all(axis=1) & (target != NOT_ANNOTATED).all(axis=1)
    rows = np.flatnonzero(annotated)
    if not len(rows):
        raise DataError("no sample has an annotation of valence and arousal", reason="predictions")
    usable = np.isfinite(predicted).all(axis=1) & (predicted != NOT_ANNOTATED).all(axis=1)
    predicted = np.where(usable[:, None], predicted, np.nan)
    missing = rows[~usable[rows]]
    if len(missing):
        first = names[int(missing[0])].as_py()
        more = ", …" if len(missing) > 1 else ""
        message = f"{len(missing)} of {len(rows)} annotated samples have no prediction: {first!r}{more}"
        findings.append(
            Finding("warning", "missing-prediction", message, "the scores are of the others alone", count=len(missing))
        )
    outside = int((np.abs(target[rows]) > 1).any(axis=1).sum())
    if outside:
        message = f"{outside} of {len(rows)} annotations are outside -1..1"
        findings.append(
            Finding("warning", "range", message, "is this the scale of valence and arousal?", count=outside)
        )
    return DimensionalPairs(
        tuple(names.take(pa.array(rows)).to_pylist()), target[rows], predicted[rows], len(target) - len(rows),
        tuple(findings),
    )  # fmt: skip
