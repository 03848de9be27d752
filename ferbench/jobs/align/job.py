"""The align job: plan, work through an engine, record, finish."""

from __future__ import annotations

import time
from pathlib import Path

from ferbench import remote
from ferbench.device import choose_device
from ferbench.engines import EngineOptions, engine_of
from ferbench.errors import FerbenchError, MissingExtraError, StorageError, UsageError
from ferbench.jobs.align.boxes import Boxes
from ferbench.jobs.align.options import CROPS, AlignOptions, RunOptions
from ferbench.jobs.align.outcome import Outcome
from ferbench.jobs.align.packing import Packer
from ferbench.jobs.align.paths import CONTACT_SHEET, REPORT
from ferbench.jobs.align.plan import AlignPlan, plan_align
from ferbench.jobs.align.result import AlignResult, result_of_shard, result_of_tables
from ferbench.jobs.align.sample import AlignJob, AlignTask, failed
from ferbench.jobs.align.sharded import record_plan
from ferbench.manifest import Manifest
from ferbench.progress import progress


def align(
    source: Manifest, out: Path, options: AlignOptions, run: RunOptions, *, boxes: Boxes | None = None
) -> AlignResult:
    """Align every sample of `source` into `out`, continuing what an earlier run left.

    With `boxes` (of an earlier run with `keep="boxes"`; `source` is then `boxes.manifest`) nothing is detected.

    A sample that fails is a row with its reason. Raises UsageError when `out` holds what align did not write or another
    run is at work there, and StorageError when it cannot be written.
    """
    started = time.monotonic()
    if run.engine == "local" and run.device not in ("auto", "cpu"):
        choose_device(run.device)  # a device that is not there is found before any process is started
    plan = plan_align(source, out, options, run, boxes=boxes)
    was_unfinished = plan.store.is_unfinished  # before the lock of a shard, which lies among what tells
    with plan.store.lock():
        if run.overwrite:
            plan.store.discard()
        is_done = not plan.todo and not was_unfinished and plan.store.is_current(plan.source)
        outcomes = [] if is_done else _work(plan, options, run, str(boxes.folder.absolute()) if boxes else None)
    return result_of_shard(plan, outcomes, started) if run.share else result_of_tables(plan, outcomes, started)


def _work(plan: AlignPlan, options: AlignOptions, run: RunOptions, boxes: str | None) -> list[Outcome]:
    """Do what is to do and write the tables, which shards leave to the merge; the outcomes of this run, without rows."""
    from ferbench.rendering.align_page import write_align_page
    from ferbench.rendering.contact_sheet import write_contact_sheet

    store, outcomes = plan.store, []
    if not run.share:
        for outcome in plan.renamed:
            store.remove_crops(outcome.crops)
    store.open(task.crops for task in plan.todo)
    try:
        if run.share:
            record_plan(plan, run)
        with progress("aligning", len(plan.todo)) as advance:
            packed = run.pack != "none"
            job = AlignJob(str(store.out.absolute()), options, run.device, run.batch_size, run.deadline, packed, boxes)
            packer = (
                Packer(store.out, plan.source, plan.crops, (task.sample_id for task in plan.todo), own=plan.own)
                if packed
                else None
            )
            if packer:
                packer.finish_stopped()
            for task, result in engine_of(run.engine)(job, plan.todo, _engine_options(plan, run, boxes)):
                outcome = _outcome(task, result)
                store.journal.record(outcome)
                if packer:
                    packer.done(outcome.sample_id)
                outcomes.append(outcome.without_rows())
                faces = outcome.frames_with_face
                advance(outcome.sample_id, frames=outcome.frames_sampled, faces=faces, failed=outcome.reason or "")
        if run.share:
            return outcomes
        manifest = store.write_tables(plan.source)
        if options.keep == CROPS:
            write_contact_sheet(manifest, store.out / CONTACT_SHEET)
            write_align_page(manifest, store.out / REPORT)
        store.finish()
    finally:
        store.journal.close()
    return outcomes


def _engine_options(plan: AlignPlan, run: RunOptions, boxes: str | None) -> EngineOptions:
    folders = [plan.store.state.absolute(), plan.source.root.absolute(), *([Path(boxes)] if boxes else [])]
    shared = [folder for folder in folders if remote.spot_of(folder) is None]  # a store is everywhere
    return EngineOptions(
        run.workers, len(plan.todo), task_deadline=run.task_deadline, address=run.address, device=run.device,
        shared=tuple(map(str, shared)),
    )  # fmt: skip


def _outcome(task: AlignTask, result: Outcome | FerbenchError) -> Outcome:
    # These say something about the job, not about the sample.
    if isinstance(result, (StorageError, UsageError, MissingExtraError)):
        raise result
    return failed(task, result) if isinstance(result, FerbenchError) else result
