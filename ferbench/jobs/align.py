"""`align`: a source's samples to aligned faces, a manifest with a row for each, and a picture of them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.detection import weights_sha256
from ferbench.device import choose_device
from ferbench.engines import engine_of
from ferbench.errors import FaceError, FerbenchError, ManifestError, StorageError, TooManyFailuresError, UsageError
from ferbench.jobs.align_options import AlignOptions, RunOptions
from ferbench.jobs.align_sample import AlignJob, AlignTask, Outcome, sha256_of_source
from ferbench.jobs.align_store import CONTACT_SHEET, MANIFEST, AlignStore, Finished, crops_path
from ferbench.manifest import Manifest
from ferbench.progress import progress
from ferbench.recipe import Recipe


@dataclass(frozen=True, slots=True)
class AlignPlan:
    """What a run would do, before it does it."""

    source: Manifest
    """The samples that will have a row, in order."""
    todo: tuple[AlignTask, ...]
    retried: int
    """How many of `todo` failed in an earlier run."""
    recipe: Recipe

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--dry-run --json`."""
        return {
            "samples": len(self.source),
            "media": dict(sorted(Counter(self.source.column("media")).items())),
            "to_do": len(self.todo),
            "to_retry": self.retried,
            "already_done": len(self.source) - len(self.todo),
            "recipe_id": self.recipe.id,
            "recipe": self.recipe.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class AlignResult:
    """What a run did."""

    out: Path
    samples: int
    media: Mapping[str, int]
    """Samples by what they are: video, frames, image."""
    done: int
    """Succeeded in this run."""
    skipped: int
    """Left as an earlier run had them."""
    failed: Mapping[str, int]
    """Failures by reason."""
    noted: int
    """Samples that succeeded with something to note."""
    recipe_id: str
    seconds: float

    @property
    def num_failed(self) -> int:
        """All failures."""
        return sum(self.failed.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "samples": self.samples,
            "media": dict(self.media),
            "done": self.done,
            "skipped": self.skipped,
            "failed": dict(self.failed),
            "noted": self.noted,
            "recipe_id": self.recipe_id,
            "manifest": str(self.out / MANIFEST),
            "contact_sheet": str(self.out / CONTACT_SHEET),
            "seconds": round(self.seconds, 3),
        }


def plan_align(source: Manifest, out: Path, options: AlignOptions, run: RunOptions) -> AlignPlan:
    """What is to be done, given what `out` holds already. Writes nothing."""
    recipe = options.recipe(weights_sha256())
    finished = {} if run.overwrite else AlignStore(out, recipe).finished()
    known = set(source.column("sample_id"))
    strangers = sorted(set(finished) - known)
    if strangers:
        raise UsageError(
            f"{out} holds faces of {len(strangers)} samples that are not in this source, first: {strangers[0]!r}; "
            "choose another output folder, or --overwrite to start anew"
        )
    tasks, keep, retried = [], [], 0
    for number, sample in enumerate(source.samples()):
        crops = crops_path(sample.sample_id, sample.media, options.format)
        earlier = finished.get(sample.sample_id)
        wanted = run.limit is None or number < run.limit
        keep.append(wanted or earlier is not None)
        if not wanted or (earlier and _stands(earlier, out / crops, source.path_of(sample), sample.media)):
            continue
        retried += earlier is not None and not earlier.succeeded
        out_of_reach = sample.error if sample.status == "failed" and not source.recipe else None
        span = (sample.start_frame, sample.end_frame)
        tasks.append(
            AlignTask(sample.sample_id, str(source.path_of(sample)), sample.media, *span, crops, error=out_of_reach)
        )
    _refuse_nested([task.crops for task in tasks])
    return AlignPlan(source.where(keep), tuple(tasks), retried, recipe)


def _stands(earlier: Finished, crops: Path, source: Path, media: str) -> bool:
    """Whether an earlier outcome needs no second try.

    Crops that are there stand. Failures are tried again, except one that the same bytes under the same recipe can only
    repeat: that they show no face.
    """
    if earlier.succeeded:
        return crops.exists()
    if earlier.reason != FaceError.default_reason or earlier.sha256 is None:
        return False
    return source.exists() and sha256_of_source(source, media) == earlier.sha256


def _refuse_nested(crops: list[str]) -> None:
    """ManifestError when one sample's crops would lie inside another's folder, which is replaced as a whole."""
    taken = set(crops)
    if len(taken) != len(crops):
        raise ManifestError(
            "two samples would write the same crops; their ids differ only in characters a path cannot hold"
        )
    for path in crops:
        for end, character in enumerate(path):
            if character == "/" and path[:end] in taken:
                raise ManifestError(f"sample ids {path[:end]!r} and {path!r} cannot both have a folder; rename one")


def align(source: Manifest, out: Path, options: AlignOptions, run: RunOptions) -> AlignResult:
    """Align every sample of `source` into `out`, continuing what an earlier run left.

    A sample that fails is a row with its reason. Raises StorageError when `out` cannot be written, and
    TooManyFailuresError, after everything is written, when more samples failed than `run.max_failures`.
    """
    started = time.monotonic()
    if run.device not in ("auto", "cpu"):
        choose_device(run.device)  # a device that is not there is found before any process is started
    plan = plan_align(source, out, options, run)
    store = AlignStore(out, plan.recipe)
    if run.overwrite:
        store.discard()
    if not plan.todo and (out / MANIFEST).exists():
        return _result(out, plan, [], started)
    outcomes: list[Outcome] = []
    store.open(task.crops for task in plan.todo)
    try:
        with progress("aligning", len(plan.todo)) as advance:
            job = AlignJob(str(out.absolute()), options, run.device, run.batch_size, run.deadline)
            for task, result in engine_of(run.engine)(job, plan.todo, worker_count(run.workers, len(plan.todo))):
                outcome = _outcome(task, result)
                store.record(outcome)
                outcomes.append(outcome)
                advance(outcome.sample_id if outcome.status == "ok" else f"{outcome.sample_id}: failed")
        manifest = store.write_tables(plan.source, options.format)
        _write_contact_sheet(manifest, out)
        store.finish()
    finally:
        store.close()
    result = _result(out, plan, outcomes, started)
    return result


def _outcome(task: AlignTask, result: Outcome | FerbenchError) -> Outcome:
    if isinstance(result, StorageError):
        raise result
    if isinstance(result, FerbenchError):
        return Outcome(task.sample_id, "failed", error=result.as_row())
    return result


def _write_contact_sheet(manifest: Manifest, out: Path) -> None:
    from ferbench.rendering.contact_sheet import write_contact_sheet

    write_contact_sheet(manifest, out / CONTACT_SHEET)


def _result(out: Path, plan: AlignPlan, outcomes: list[Outcome], started: float) -> AlignResult:
    from ferbench.manifest import read_manifest

    manifest = read_manifest(out / MANIFEST)
    errors = [error for error in manifest.column("error") if error is not None]
    return AlignResult(
        out=out,
        samples=len(manifest),
        media=dict(sorted(Counter(plan.source.column("media")).items())),
        done=sum(outcome.status == "ok" for outcome in outcomes),
        skipped=len(plan.source) - len(plan.todo),
        failed=dict(sorted(Counter(error.partition(":")[0] for error in errors).items())),
        noted=sum(
            status == "ok" and note is not None
            for status, note in zip(manifest.column("status"), manifest.column("notes"), strict=True)
        ),
        recipe_id=plan.recipe.id,
        seconds=time.monotonic() - started,
    )


def check_failures(result: AlignResult, run: RunOptions) -> None:
    """TooManyFailuresError when more samples failed than the user allows."""
    if result.num_failed > run.max_failures:
        raise TooManyFailuresError(
            f"{result.num_failed} of {result.samples} samples failed and --max-failures allows {run.max_failures}; "
            f"the reasons are in the column 'error' of {result.out / MANIFEST}"
        )


def worker_count(wanted: int, tasks: int) -> int:
    """How many processes to use: as many as wanted, or one per core that this process may use; never more than tasks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(wanted or cores, tasks))
