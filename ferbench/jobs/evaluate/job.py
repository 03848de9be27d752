"""The evaluate job: select, predict, write; whether the very same was done before, or begun."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ferbench import remote
from ferbench.errors import TooManyFailuresError, UsageError
from ferbench.jobs.evaluate.journal import Journal
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.predict import measure, predict
from ferbench.jobs.evaluate.runs import plan_runs
from ferbench.jobs.evaluate.select import Selected, select_samples
from ferbench.jobs.evaluate.sharded import (
    PREDICTIONS,
    Media,
    Places,
    ShardRecord,
    digest_of,
    is_of_a_run,
    merged_job_of,
    part_of,
    places_in,
    question_of,
)
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.jobs.locks import locked
from ferbench.manifest import Manifest
from ferbench.media.shard_index import refuse_damaged_shards, shards_of
from ferbench.models import MODELS, model_module
from ferbench.predictions import Predictions, read_predictions, write_predictions
from ferbench.report import ReportOptions
from ferbench.sharding import Share
from ferbench.storage import sha256_of_file, sha256_of_value


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What came of it."""

    predictions: Predictions
    num_failed: int
    """Samples that failed here; those that had no face were known before."""


def evaluate(
    manifest: Manifest,
    manifest_path: Path,
    out: Path,
    options: EvaluateOptions,
    *,
    views: ViewOptions | None = None,
    reporting: ReportOptions | None = None,
) -> EvaluateResult:
    """Run the model and write `out/predictions.parquet`; an earlier file of the very same job is read instead.

    With `options.shard` one part of it, below `out/shards`, which `ferbench merge` joins; `reporting` is kept there for
    the report of the whole. A job that was stopped continues, and ends in the same bytes. A sample without a face or with
    unreadable media is a row with its reason. Raises UsageError when `out` holds the predictions of another question, or
    another run is writing there, DataError when a shard is not what its index says.
    """
    views = views or ViewOptions()
    remote.pull(out, is_of_a_run)
    selected = select_samples(manifest, options)
    plan_runs(selected.samples, selected.folds, options)  # a model that is not there is found before anything is made
    share, part = options.share, part_of(selected, options, views, options.share)
    refuse_damaged_shards(manifest.root, shards_of(part.samples))
    known = {sample.sample_id for sample in part.samples if sample.status == "failed"}
    places = places_in(out, share)
    job = sha256_of_value(_job_id(manifest_path, selected, options, views))
    media = Media(manifest, selected)
    remote.list_samples(manifest.root, [sample.path for sample in part.samples])
    digest = digest_of(media, part)
    remote.forget_listings()
    question = question_of(job, digest)
    earlier = None if options.overwrite else _earlier(places.predictions, options.asked(views))
    if earlier is not None and earlier.provenance.get("job") == question:
        result = EvaluateResult(earlier, num_failed_of(earlier, known))
        if not result.num_failed:  # failures may have been of the moment: they are tried again
            return _profiled(result, manifest, selected, options, places.predictions)
    merged = None if options.overwrite or not share else _earlier(out / PREDICTIONS, options.asked(views))
    if merged is not None and merged_job_of(merged) == job and not num_failed_of(merged, known):
        return EvaluateResult(merged, 0)
    with _locked(out, places, share):
        journal = Journal(places.journal, job, () if options.overwrite else places.beside)
        if options.overwrite:
            journal.close(finished=True)
        journal.open()
        is_finished = False
        try:
            predictions = predict(manifest, selected, options, views=views, journal=journal, media=media, part=part)
            provenance = {
                **predictions.provenance,
                "job": question,
                "asked": options.asked(views),
                "manifest": manifest.name,
                "manifest_path": remote.recorded(manifest_path.resolve(), places.predictions.parent.resolve()),
                "manifest_sha256": sha256_of_file(manifest_path),
            }
            if share:
                record = ShardRecord(
                    share.index, share.of, len(selected.samples), job, digest, options.max_failures,
                    dataclasses.asdict(reporting or ReportOptions(seed=options.seed)),
                )  # fmt: skip
                provenance["shard"] = dataclasses.asdict(record)
            write_predictions(dataclasses.replace(predictions, provenance=provenance), places.predictions)
            # Read back, so that a report made now and one made from the file later are the same.
            predictions = read_predictions(places.predictions)
            num_failed = num_failed_of(predictions, known)
            # What failed is tried again next time, and only that. A part's blocks may yet be wanted by another division.
            is_finished = num_failed == 0 and not share
        finally:
            journal.close(finished=is_finished)
    return EvaluateResult(predictions, num_failed)


def _earlier(path: Path, asked: dict[str, object]) -> Predictions | None:
    """What an earlier run wrote, None where there is nothing; UsageError when it answers another question."""
    if not path.exists():
        return None
    earlier = read_predictions(path)
    _refuse_another_question(earlier, asked, path)
    return earlier


def _profiled(
    result: EvaluateResult, manifest: Manifest, selected: Selected, options: EvaluateOptions, written: Path
) -> EvaluateResult:
    """A finished job measured, where that is asked for and was not yet: the numbers of the samples stay as they are."""
    is_elsewhere = options.share is not None and options.share.index > 1  # the first part measures for all
    if not options.profile or is_elsewhere or "profile" in result.predictions.provenance:
        return result
    provenance = {**result.predictions.provenance, "profile": measure(manifest, selected, options)}
    write_predictions(dataclasses.replace(result.predictions, provenance=provenance), written)
    return EvaluateResult(read_predictions(written), result.num_failed)


def check_failures(result: EvaluateResult, options: EvaluateOptions) -> None:
    """TooManyFailuresError when more samples failed than the user allows, or nothing was scored at all.

    A part may well be a few samples of which none is scored.
    """
    refuse_failures(result, options.max_failures, may_be_none=options.share is not None)


def refuse_failures(result: EvaluateResult, most: int, *, may_be_none: bool = False) -> None:
    """The same with the number that is allowed; `may_be_none` samples have a prediction."""
    total = len(result.predictions)
    if result.num_failed > most:
        raise TooManyFailuresError(
            f"{result.num_failed} of {total} samples failed in the evaluation and --max-failures allows {most}; the "
            "reasons are in the report"
        )
    if not may_be_none and not (result.predictions.predicted >= 0).any():
        raise TooManyFailuresError(f"none of the {total} samples has a prediction; the reasons are in the report")


@contextmanager
def _locked(out: Path, places: Places, share: Share | None) -> Iterator[None]:
    """Keep other runs out of what this one writes; UsageError when one is at work there."""
    existed = out.exists()
    which = f"shard {share} of {out}" if share else str(out)
    try:
        with locked(places.lock, f"another evaluation is writing to {which}; wait for it to end"):
            yield
    finally:
        for folder in dict.fromkeys((places.lock.parent, out)):
            if not existed and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()  # nothing came of it


def _refuse_another_question(earlier: Predictions, asked: dict[str, object], path: Path) -> None:
    before = earlier.provenance.get("asked")
    if before != asked:
        there = ", ".join(f"{key} {value}" for key, value in (before or {}).items() if value not in (None, "", []))
        raise UsageError(
            f"{path} holds predictions of another job ({there or 'unknown'}); choose another -o, or --overwrite"
        )


def num_failed_of(predictions: Predictions, known: Set[str]) -> int:
    """Samples that failed here; `known` are those that had failed before."""
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
