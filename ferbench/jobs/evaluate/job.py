"""The evaluate job: select, predict, write; and whether the very same was done before."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ferbench.errors import MediaError, TooManyFailuresError, UsageError
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.predict import predict
from ferbench.jobs.evaluate.select import select_samples
from ferbench.manifest import Manifest, Sample
from ferbench.media import frame_files
from ferbench.media.packs import find_place
from ferbench.models import MODELS, model_module
from ferbench.predictions import Predictions, read_predictions, write_predictions
from ferbench.storage import sha256_of_file, sha256_of_value

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What came of it."""

    predictions: Predictions
    num_failed: int
    """Samples that failed here; those that had no face were known before."""


def evaluate(manifest: Manifest, manifest_path: Path, out: Path, options: EvaluateOptions) -> EvaluateResult:
    """Run the model and write `out/predictions.parquet`; an earlier file of the very same job is read instead.

    A sample without a face or with unreadable media is a row with its reason. Raises UsageError when `out` holds the
    predictions of another question.
    """
    selected = select_samples(manifest, options)
    known = {sample.sample_id for sample in selected.samples if sample.status == "failed"}
    written = out / PREDICTIONS
    if not options.overwrite and written.exists():
        earlier = read_predictions(written)
        _refuse_another_question(earlier, options, written)
        if earlier.provenance.get("job") == _job_id(manifest, manifest_path, selected.samples, options):
            result = EvaluateResult(earlier, _num_failed(earlier, known))
            if not result.num_failed:  # failures may have been of the moment: they are tried again
                return result
    predictions = predict(manifest, selected, options)
    provenance = {
        **predictions.provenance,
        "job": _job_id(manifest, manifest_path, selected.samples, options),
        "asked": options.asked(),
        "manifest": manifest.name,
        "manifest_path": Path(os.path.relpath(manifest_path.resolve(), out.resolve())).as_posix(),
        "manifest_sha256": sha256_of_file(manifest_path),
    }
    write_predictions(dataclasses.replace(predictions, provenance=provenance), written)
    # Read back, so that a report made now and one made from the file later are the same.
    predictions = read_predictions(written)
    return EvaluateResult(predictions, _num_failed(predictions, known))


def check_failures(result: EvaluateResult, options: EvaluateOptions) -> None:
    """TooManyFailuresError when more samples failed than the user allows, or nothing was scored at all."""
    total = len(result.predictions)
    if result.num_failed > options.max_failures:
        raise TooManyFailuresError(
            f"{result.num_failed} of {total} samples failed in the evaluation and --max-failures allows "
            f"{options.max_failures}; the reasons are in the report"
        )
    if not (result.predictions.predicted >= 0).any():
        raise TooManyFailuresError(f"none of the {total} samples has a prediction; the reasons are in the report")


def _refuse_another_question(earlier: Predictions, options: EvaluateOptions, path: Path) -> None:
    asked = earlier.provenance.get("asked")
    if asked != options.asked():
        there = ", ".join(f"{key} {value}" for key, value in (asked or {}).items() if value not in (None, "", []))
        raise UsageError(
            f"{path} holds predictions of another job ({there or 'unknown'}); choose another -o, or --overwrite"
        )


def _num_failed(predictions: Predictions, known: set[str]) -> int:
    return sum(
        error is not None and sample_id not in known
        for sample_id, error in zip(predictions.sample_ids, predictions.errors, strict=True)
    )


def _job_id(manifest: Manifest, manifest_path: Path, samples: Sequence[Sample], options: EvaluateOptions) -> str:
    """Names everything that decides the numbers, so that a finished evaluation is not done again."""
    from ferbench.models.factories import source_file

    model = Path(options.model)
    arch_file = source_file(options.arch) if options.arch and options.arch not in MODELS else None
    code = model_module(options.model).__file__ if options.model in MODELS else None
    files = [model, model.with_suffix(".toml"), arch_file, Path(code) if code else None]
    return sha256_of_value(
        {
            "manifest": sha256_of_file(manifest_path),
            "media": sha256_of_value([_size_of(manifest, sample) for sample in samples]),
            "files": [sha256_of_file(path) if path and path.is_file() else None for path in files],
            "asked": options.asked(),
            "device": options.device,
            "batch_size": options.batch_size,
            "versions": {name: version(name) for name in ("ferbench", "torch")},
        }
    )


def _size_of(manifest: Manifest, sample: Sample) -> list[Any]:
    """The sample and the bytes of its media, which a changed root or a replaced file changes too."""
    path = manifest.path_of(sample)
    place = find_place(path)
    path = place.pack if place else path
    try:
        sizes = [
            file.stat().st_size for file in (frame_files(path) if sample.media == "frames" and not place else [path])
        ]
    except (OSError, MediaError):
        sizes = []
    return [sample.sample_id, len(sizes), sum(sizes)]
