"""The align job: plan, work through an engine, record, finish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.device import choose_device
from ferbench.engines import engine_of, worker_count
from ferbench.errors import FerbenchError, MissingExtraError, StorageError, TooManyFailuresError, UsageError
from ferbench.jobs.align.boxes import Boxes
from ferbench.jobs.align.options import CROPS, AlignOptions, RunOptions
from ferbench.jobs.align.outcome import Outcome
from ferbench.jobs.align.packing import Packer
from ferbench.jobs.align.paths import CONTACT_SHEET, MANIFEST, REPORT
from ferbench.jobs.align.persons import is_by_person
from ferbench.jobs.align.plan import AlignPlan, media_counts, plan_align
from ferbench.jobs.align.sample import AlignJob, AlignTask, failed
from ferbench.manifest import Manifest, read_manifest
from ferbench.progress import progress


@dataclass(frozen=True, slots=True)
class AlignResult:
    """What a run did."""

    out: Path
    samples: int
    """Of the source."""
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
    persons: int | None = None
    """With `--faces all`: rows of the manifest that are persons; their failures are counted one by one."""

    @property
    def num_failed(self) -> int:
        """All failures."""
        return sum(self.failed.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            **({} if self.persons is None else {"persons": self.persons}),
            "samples": self.samples,
            "media": dict(self.media),
            "done": self.done,
            "skipped": self.skipped,
            "failed": dict(self.failed),
            "noted": self.noted,
            "recipe_id": self.recipe_id,
            "manifest": str(self.out / MANIFEST),
            "contact_sheet": str(self.out / CONTACT_SHEET) if (self.out / CONTACT_SHEET).exists() else None,
            "report": str(self.out / REPORT) if (self.out / REPORT).exists() else None,
            "seconds": round(self.seconds, 3),
        }


def align(
    source: Manifest, out: Path, options: AlignOptions, run: RunOptions, *, boxes: Boxes | None = None
) -> AlignResult:
    """Align every sample of `source` into `out`, continuing what an earlier run left.

    With `boxes` (of an earlier run with `keep="boxes"`; `source` is then `boxes.manifest`) nothing is detected.

    A sample that fails is a row with its reason. Raises UsageError when `out` holds what align did not write or another
    run is at work there, and StorageError when it cannot be written.
    """
    started = time.monotonic()
    if run.device not in ("auto", "cpu"):
        choose_device(run.device)  # a device that is not there is found before any process is started
    plan = plan_align(source, out, options, run, boxes=boxes)
    with plan.store.lock():
        if run.overwrite:
            plan.store.discard()
        is_done = not plan.todo and not plan.store.is_unfinished and plan.store.is_current(plan.source)
        outcomes = [] if is_done else _work(plan, options, run, str(boxes.folder.absolute()) if boxes else None)
    return _result(out, plan, outcomes, started)


def _work(plan: AlignPlan, options: AlignOptions, run: RunOptions, boxes: str | None) -> list[Outcome]:
    """Do what is to do and write the tables; the outcomes of this run, without their rows."""
    from ferbench.rendering.align_page import write_align_page
    from ferbench.rendering.contact_sheet import write_contact_sheet

    store, outcomes = plan.store, []
    for outcome in plan.renamed:
        store.remove_crops(outcome.crops)
    store.open(task.crops for task in plan.todo)
    try:
        with progress("aligning", len(plan.todo)) as advance:
            packed = run.pack != "none"
            job = AlignJob(str(store.out.absolute()), options, run.device, run.batch_size, run.deadline, packed, boxes)
            packer = (
                Packer(store.out, plan.source, plan.crops, (task.sample_id for task in plan.todo)) if packed else None
            )
            if packer:
                packer.finish_stopped()
            workers = worker_count(run.workers, len(plan.todo))
            for task, result in engine_of(run.engine)(job, plan.todo, workers):
                outcome = _outcome(task, result)
                store.journal.record(outcome)
                if packer:
                    packer.done(outcome.sample_id)
                outcomes.append(outcome.without_rows())
                faces = outcome.frames_with_face
                advance(outcome.sample_id, frames=outcome.frames_sampled, faces=faces, failed=outcome.reason or "")
        manifest = store.write_tables(plan.source)
        if options.keep == CROPS:
            write_contact_sheet(manifest, store.out / CONTACT_SHEET)
            write_align_page(manifest, store.out / REPORT)
        store.finish()
    finally:
        store.journal.close()
    return outcomes


def _outcome(task: AlignTask, result: Outcome | FerbenchError) -> Outcome:
    # These say something about the job, not about the sample.
    if isinstance(result, (StorageError, UsageError, MissingExtraError)):
        raise result
    return failed(task, result) if isinstance(result, FerbenchError) else result


def _result(out: Path, plan: AlignPlan, outcomes: list[Outcome], started: float) -> AlignResult:
    manifest = read_manifest(out / MANIFEST)
    errors = [error for error in manifest.column("error") if error is not None]
    persons = None
    if is_by_person(plan.store.recipe):
        persons = sum(number is not None for number in manifest.column("face"))
    return AlignResult(
        out=out,
        samples=len(plan.source),
        media=media_counts(plan.source),
        done=sum(outcome.succeeded for outcome in outcomes),
        skipped=len(plan.source) - len(plan.todo),
        failed=dict(sorted(Counter(error.partition(":")[0] for error in errors).items())),
        noted=sum(
            status == "ok" and note is not None
            for status, note in zip(manifest.column("status"), manifest.column("notes"), strict=True)
        ),
        recipe_id=plan.store.recipe.id,
        seconds=time.monotonic() - started,
        persons=persons,
    )


def check_failures(result: AlignResult, run: RunOptions) -> None:
    """TooManyFailuresError when more samples failed than the user allows."""
    if result.num_failed > run.max_failures:
        raise TooManyFailuresError(
            f"{result.num_failed} of {result.samples} samples failed and --max-failures allows {run.max_failures}; "
            f"the reasons are in the column 'error' of {result.out / MANIFEST}"
        )
