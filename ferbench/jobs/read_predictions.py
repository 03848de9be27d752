"""Predictions from whatever files there are: ferbench's own, shards of them, or those of other tools."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ferbench import remote
from ferbench.dialects import read_any_manifest
from ferbench.errors import PredictionsError, UsageError
from ferbench.jobs.merge import MergeOptions, merge_shards
from ferbench.jobs.shards import read_shards
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions, read_predictions
from ferbench.score_files import (
    Expected,
    ScoreFileOptions,
    ScoreRows,
    assemble,
    expected_of_manifest,
    expected_of_rows,
    read_score_files,
)
from ferbench.score_files.rows import ClassColumn, stem_of
from ferbench.storage import sha256_of_file


@dataclass(frozen=True, slots=True)
class PredictionsRequest:
    """Which files, and what they are held against."""

    manifest: Path | None = None
    root: Path | None = None
    truth: Path | None = None
    """Labels in any of the formats, instead of a manifest: the folder of ABAW annotations."""
    split: str = ""
    fold: str = ""
    name: str = ""
    """What the model is called; empty is the file's name."""
    file: ScoreFileOptions = field(default_factory=ScoreFileOptions)

    def __post_init__(self) -> None:
        if self.manifest is not None and self.truth is not None:
            raise UsageError("--manifest and --truth both say what the labels are; give one of them")
        if self.manifest is None and (self.split or self.fold):
            raise UsageError("--split and --fold choose samples of a manifest; give --manifest too")


@dataclass(frozen=True, slots=True, eq=False)
class FoundPredictions:
    """Predictions, and where they came from."""

    predictions: Predictions
    manifest: Manifest | None
    """The one they are held against, or were made from where it still is."""
    own: bool
    """One file that ferbench wrote, as it is."""


def read_any_predictions(paths: Sequence[Path], request: PredictionsRequest | None = None) -> FoundPredictions:
    """Read files of one kind; several files of ferbench's own are shards, and every sample must be in them once.

    Raises UsageError and PredictionsError as the readers and `merge` do, naming file, line, value and rule.
    """
    request = request or PredictionsRequest()
    if not paths:
        raise UsageError("say which predictions to score")
    own = [is_own(path) for path in paths]
    if any(own) and not all(own):
        raise PredictionsError(
            f"{paths[own.index(True)]} is ferbench's own and {paths[own.index(False)]} is not; score them one by one"
        )
    manifest = read_any_manifest(request.manifest, root=request.root) if request.manifest else None
    if all(own):
        return _own(paths, request, manifest)
    expected = _expected(request, manifest)
    rows = read_score_files(paths, request.file)
    predictions = assemble(rows, request.file, expected=expected)
    return FoundPredictions(_described(predictions, paths, request, manifest), manifest, own=False)


def is_own(path: Path) -> bool:
    """Whether a file says of itself that it is ferbench's predictions; nothing is said about whether it is whole."""
    if path.suffix.lower() != ".parquet" or not remote.has_file(path):
        return False
    try:
        return b"ferbench.predictions" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return True  # what is broken is named by the reader of our own files


def _own(paths: Sequence[Path], request: PredictionsRequest, manifest: Manifest | None) -> FoundPredictions:
    if len(paths) > 1:
        predictions = merge_shards(
            read_shards(paths), MergeOptions(split=request.split, fold=request.fold), manifest=manifest
        )
        return FoundPredictions(predictions.predictions, manifest, own=False)
    predictions_ = read_predictions(paths[0])
    expected = _expected(request, manifest)
    if expected is None:
        return FoundPredictions(predictions_, recorded_manifest(predictions_, paths[0]), own=True)
    held = assemble(_rows_of(predictions_, paths[0]), ScoreFileOptions(), expected=expected)
    provenance = {**predictions_.provenance, **held.provenance}
    for key in ("audits", "notices"):
        provenance[key] = [*(predictions_.provenance.get(key) or ()), *held.provenance[key]]
    asked = {**_mapping(predictions_.provenance.get("asked")), "split": request.split, "fold": request.fold}
    held = dataclasses.replace(held, provenance={**provenance, "asked": asked})
    return FoundPredictions(held, manifest, own=False)


def recorded_manifest(predictions: Predictions, path: Path) -> Manifest | None:
    """The manifest that a predictions file was made from, where it still is and is still the same."""
    place = remote.meant(str(predictions.provenance.get("manifest_path", "")), path.parent)
    if not remote.has_file(place) or sha256_of_file(place) != predictions.provenance.get("manifest_sha256"):
        return None
    return read_any_manifest(place)


def with_place(predictions: Predictions, request: PredictionsRequest, out: Path) -> Predictions:
    """With the manifest's path as seen from the folder that the predictions are written to."""
    if request.manifest is None:
        return predictions
    place = remote.recorded(request.manifest.resolve(), out.resolve())
    return dataclasses.replace(predictions, provenance={**predictions.provenance, "manifest_path": place})


def _expected(request: PredictionsRequest, manifest: Manifest | None) -> Expected | None:
    if manifest is not None:
        return expected_of_manifest(manifest, split=request.split, fold=request.fold)
    if request.truth is not None:
        rows = read_score_files([request.truth], ScoreFileOptions())
        # What the truth says of its own classes is not what the predictions were said to be.
        said = ScoreFileOptions(classes=request.file.classes, label_base=request.file.label_base)
        return expected_of_rows(rows, ScoreFileOptions() if rows.classes else said)
    return None


def _rows_of(predictions: Predictions, path: Path) -> ScoreRows:
    """Our own rows as those of anybody's file, to be held against another manifest."""
    names = pa.array([*predictions.labels.names, None], pa.string())
    said = pa.array(predictions.predicted, mask=predictions.predicted < 0)
    return ScoreRows(
        place=str(path),
        count=len(predictions),
        where=lambda row: f"{path}, sample {predictions.sample_ids[row]!r}",
        names=pa.array(predictions.sample_ids, pa.string()),
        values=None if predictions.hard else predictions.logits.astype(np.float64),
        kind="logits",
        classes=predictions.labels.names,
        predicted=ClassColumn(names=names.take(said)) if predictions.hard else None,
        targets=ClassColumn(names=names.take(pa.array(predictions.targets))),
        reasons={row: error for row, error in enumerate(predictions.errors) if error is not None},
        facts={"format": "ferbench"},
    )


def _described(
    predictions: Predictions, paths: Sequence[Path], request: PredictionsRequest, manifest: Manifest | None
) -> Predictions:
    """With provenance: which files, of what bytes, against which manifest."""
    provenance: dict[str, Any] = {
        **predictions.provenance,
        "model": request.name or stem_of(str(paths[0].resolve())),
        "files": {path.name: sha256_of_file(path) for path in paths if path.is_file()},
        "versions": {name: version(name) for name in ("ferbench", "numpy")},
    }
    if request.truth is not None:
        provenance["truth"] = request.truth.name
    if manifest is not None and request.manifest is not None:
        provenance |= {
            "manifest": manifest.name,
            "manifest_sha256": sha256_of_file(request.manifest),
            "recipe_id": manifest.recipe.id if manifest.recipe else None,
            "recipe": manifest.recipe.as_dict() if manifest.recipe else None,
            "protocol": dict(manifest.protocol),
            "asked": {"split": request.split, "fold": request.fold},
        }
    return dataclasses.replace(predictions, provenance=provenance)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
