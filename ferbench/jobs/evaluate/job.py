"""The evaluate job: select, predict, write; whether the very same was done before, or begun."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ferbench.errors import TooManyFailuresError, UsageError
from ferbench.jobs.evaluate.journal import NAME as JOURNAL
from ferbench.jobs.evaluate.journal import Journal
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.predict import measure, predict
from ferbench.jobs.evaluate.runs import plan_runs
from ferbench.jobs.evaluate.select import Selected, media_of, select_samples
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.manifest import Manifest
from ferbench.models import MODELS, model_module
from ferbench.predictions import Predictions, read_predictions, write_predictions
from ferbench.storage import sha256_of_file, sha256_of_value, storage_errors

PREDICTIONS = "predictions.parquet"
LOCK = ".ferbench-evaluate.lock"


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What came of it."""

    predictions: Predictions
    num_failed: int
    """Samples that failed here; those that had no face were known before."""


def evaluate(
    manifest: Manifest, manifest_path: Path, out: Path, options: EvaluateOptions, *, views: ViewOptions | None = None
) -> EvaluateResult:
    """Run the model and write `out/predictions.parquet`; an earlier file of the very same job is read instead.

    A job that was stopped continues, and ends in the same bytes. A sample without a face or with unreadable media is a
    row with its reason. Raises UsageError when `out` holds the predictions of another question, or another run is
    writing there.
    """
    views = views or ViewOptions()
    selected = select_samples(manifest, options)
    plan_runs(selected.samples, selected.folds, options)  # a model that is not there is found before anything is made
    known = {sample.sample_id for sample in selected.samples if sample.status == "failed"}
    job = _job_id(manifest_path, selected, options, views)
    media = media_of(manifest, selected.samples)
    question = sha256_of_value({**job, "media": media})
    written = out / PREDICTIONS
    if not options.overwrite and written.exists():
        earlier = read_predictions(written)
        _refuse_another_question(earlier, options.asked(views), written)
        if earlier.provenance.get("job") == question:
            result = EvaluateResult(earlier, _num_failed(earlier, known))
            if not result.num_failed:  # failures may have been of the moment: they are tried again
                return _profiled(result, manifest, selected, options, written)
    with _locked(out):
        journal = Journal(out / JOURNAL, sha256_of_value(job))
        if options.overwrite:
            journal.close(finished=True)
        journal.open()
        is_finished = False
        try:
            predictions = predict(manifest, selected, options, views=views, journal=journal, media=media)
            provenance = {
                **predictions.provenance,
                "job": question,
                "asked": options.asked(views),
                "manifest": manifest.name,
                "manifest_path": Path(os.path.relpath(manifest_path.resolve(), out.resolve())).as_posix(),
                "manifest_sha256": sha256_of_file(manifest_path),
            }
            write_predictions(dataclasses.replace(predictions, provenance=provenance), written)
            # Read back, so that a report made now and one made from the file later are the same.
            predictions = read_predictions(written)
            num_failed = _num_failed(predictions, known)
            is_finished = num_failed == 0  # what failed is tried again next time, and only that
        finally:
            journal.close(finished=is_finished)
    return EvaluateResult(predictions, num_failed)


def _profiled(
    result: EvaluateResult, manifest: Manifest, selected: Selected, options: EvaluateOptions, written: Path
) -> EvaluateResult:
    """A finished job measured, where that is asked for and was not yet: the numbers of the samples stay as they are."""
    if not options.profile or "profile" in result.predictions.provenance:
        return result
    provenance = {**result.predictions.provenance, "profile": measure(manifest, selected, options)}
    write_predictions(dataclasses.replace(result.predictions, provenance=provenance), written)
    return EvaluateResult(read_predictions(written), result.num_failed)


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


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other runs out of the folder; UsageError when one is at work. The kernel lets go for a killed run."""
    from filelock import FileLock, Timeout

    existed = out.exists()
    path = out / LOCK
    with storage_errors(out, "locking it"):
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(f"another evaluation is writing to {out}; wait for it to end") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before letting go: whoever comes next makes a lock of its own
        lock.release()
        if not existed and not any(out.iterdir()):
            out.rmdir()  # nothing came of it


def _refuse_another_question(earlier: Predictions, asked: dict[str, object], path: Path) -> None:
    before = earlier.provenance.get("asked")
    if before != asked:
        there = ", ".join(f"{key} {value}" for key, value in (before or {}).items() if value not in (None, "", []))
        raise UsageError(
            f"{path} holds predictions of another job ({there or 'unknown'}); choose another -o, or --overwrite"
        )


def _num_failed(predictions: Predictions, known: set[str]) -> int:
    return sum(
        error is not None and sample_id not in known
        for sample_id, error in zip(predictions.sample_ids, predictions.errors, strict=True)
    )


def _job_id(manifest_path: Path, selected: Selected, options: EvaluateOptions, views: ViewOptions) -> dict[str, object]:
    """Everything but the media that decides the numbers, so that a finished evaluation is not done again."""
    runs = plan_runs(selected.samples, selected.folds, options)
    return {
        "manifest": sha256_of_file(manifest_path),
        "files": [_hashes(run.model, run.arch) for run in runs],
        "asked": options.asked(views),
        "device": options.device,
        "batch_size": options.batch_size,
        "audits": [options.audit_clips, options.seed],
        "versions": {name: version(name) for name in ("ferbench", "torch")},
    }


def _hashes(model: str, arch: str) -> Sequence[str | None]:
    from ferbench.models.factories import source_file

    path = Path(model)
    arch_file = source_file(arch) if arch and arch not in MODELS else None
    code = model_module(model).__file__ if model in MODELS else None
    files = [path, path.with_suffix(".toml"), arch_file, Path(code) if code else None]
    return [sha256_of_file(file) if file and file.is_file() else None for file in files]
