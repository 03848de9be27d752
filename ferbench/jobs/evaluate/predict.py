"""The logits of every selected sample: each model over its samples, then folds and members put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ferbench.alignment import crop_size, find_template
from ferbench.device import choose_device, with_threads
from ferbench.engines import EngineOptions, device_of
from ferbench.errors import ModelError
from ferbench.findings import Finding
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.attributes import attributes_of
from ferbench.jobs.evaluate.blocks import Block, cut_blocks
from ferbench.jobs.evaluate.classes import ClassMatch, match_classes
from ferbench.jobs.evaluate.ensemble import Member, combine
from ferbench.jobs.evaluate.journal import BlockKey, Journal, Outputs, may_be_kept
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.probe import probe_clips
from ferbench.jobs.evaluate.provenance import ModelRecord, about_run, model_notices
from ferbench.jobs.evaluate.runs import Run, plan_runs
from ferbench.jobs.evaluate.select import Selected
from ferbench.jobs.evaluate.sharded import blocks_of
from ferbench.jobs.evaluate.tasks import Task, plan_tasks, unit_of
from ferbench.jobs.evaluate.views import ViewOptions, temporal_views
from ferbench.jobs.evaluate.work import EvaluateJob, run_blocks
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions
from ferbench.progress import Advance, progress
from ferbench.settings import parse_overrides

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel


@dataclass(slots=True)
class _Whole:
    """One evaluation: what it is over, and what the runs have found so far."""

    manifest: Manifest
    selected: Selected
    options: EvaluateOptions
    views: ViewOptions
    media: Mapping[str, str]
    """Of each sample, as `media_of` has it."""
    device: str
    part: Selected
    """The samples that this run answers for."""
    elsewhere: str = ""
    """The device of another engine's workers."""
    members: list[Member] = field(default_factory=list)
    models: list[ModelRecord] = field(default_factory=list)
    audits: list[Finding] = field(default_factory=list)
    profiles: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """(member, what was measured) of one model of each member."""


def predict(
    manifest: Manifest,
    selected: Selected,
    options: EvaluateOptions,
    *,
    views: ViewOptions,
    journal: Journal,
    media: Mapping[str, str],
    part: Selected | None = None,
) -> Predictions:
    """Load the models one at a time and run each over its samples. A sample that fails is a row with its reason.

    `part` are those of `selected` that this run answers for; by default all.

    Raises ModelError when a model cannot be loaded, does not fit the classes, or fails on every sample; of a part, only
    when it cannot be loaded or does not fit, because a part may be few samples.
    """
    part = part or selected
    whole = _whole(manifest, selected, options, views=views, media=media, part=part)
    runs = plan_runs(selected.samples, selected.folds, options)
    whole.members = [Member(name) for name in options.model]
    mine = {sample.sample_id for sample in part.samples}
    count = sum(sample.sample_id in mine for run in runs for sample in run.samples)
    with progress("evaluating", count) as advance, with_threads(options.threads):
        for run in runs:
            _run(run, whole, journal, advance)
    return _collected(whole)


def _whole(
    manifest: Manifest, selected: Selected, options: EvaluateOptions, *, views: ViewOptions, media: Mapping[str, str],
    part: Selected,
) -> _Whole:  # fmt: skip
    if options.engine == "local":
        return _Whole(manifest, selected, options, views, media, choose_device(options.device), part)
    elsewhere = device_of(options.engine, options.engine_options())
    # The model is tried and audited here, on what there is here.
    here = choose_device("auto") if elsewhere == "cuda" else "cpu"
    return _Whole(manifest, selected, options, views, media, here, part, elsewhere)


def fallback_spec(manifest: Manifest) -> InputSpec:
    """For a model that does not say what it takes: clips as the faces' recipe has them."""
    recipe = manifest.recipe.as_dict() if manifest.recipe else {}
    crop = recipe.get("crop", {})
    clip_len = int(recipe.get("sampling", {}).get("clip_len", 0)) or 16
    if "template" not in crop or "size" not in crop:
        return InputSpec(clip_len=clip_len)
    width, height = crop_size(find_template(crop["template"]), int(crop["size"]))
    return InputSpec(clip_len=clip_len, height=height, width=width)


def _job(run: Run, whole: _Whole, device: str) -> EvaluateJob:
    from ferbench.models.loading import ModelRequest

    options, manifest = whole.options, whole.manifest

    def pairs(settings: Sequence[str], where: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(parse_overrides(settings, where=where).items()))

    request = ModelRequest(
        run.model, run.arch, pairs(options.input, "--input"), options.batch_size,
        trust_pickle=options.trust_pickle, partial=options.partial, options=pairs(options.option, "--option"),
        amp=options.amp,
    )  # fmt: skip
    return EvaluateJob(
        manifest.replace(table=manifest.table.slice(0, 0), root=manifest.root.absolute()), request,
        num_classes=len(manifest.labels), fallback=fallback_spec(manifest), device=device, views=whole.views,
        readers=options.workers if options.engine == "local" else 0, threads=options.threads,
    )  # fmt: skip


def _run(run: Run, whole: _Whole, journal: Journal, advance: Advance) -> None:
    """One model over its samples; what came of them goes to its member."""
    job = _job(run, whole, whole.device)
    model = job.load()
    if whole.views.views > 1:
        temporal_views(model.spec.make_sampler(), whole.views.views)  # raises before any sample is read
    options, manifest = whole.options, whole.manifest
    tasks = plan_tasks(manifest, run.samples, model.spec, whole.views, names=whole.selected.part)
    _look_at(model, run, tasks, whole)
    blocks = cut_blocks(tasks, whole.views, options.batch_size)
    if options.share:
        blocks = blocks_of(blocks, whole.part)
    keys = {block.number: BlockKey(run.number, block.number, block.media(whole.media)) for block in blocks}
    outputs = Outputs()
    failures: dict[int, ModelError] = {}
    match: ClassMatch | None = None
    left: list[Block] = []
    for block in blocks:
        known = journal.known(keys[block.number])
        if known is None:
            left.append(block)
            continue
        outputs.update(known)
        for sample in block.samples:
            advance(sample.sample_id)
    failed_before = {sample.sample_id for sample in run.samples if sample.status == "failed"}
    there = dataclasses.replace(job, device=whole.elsewhere or whole.device)
    for result in run_blocks(there, model, left, engine=options.engine, options=_engine_options(whole)):
        block, found = result.block, result.outputs
        if result.failure is not None:
            failures[block.number] = result.failure
        outputs.update(found)
        if match is None and found.logits:
            match = _match(
                run, model, whole, outputs
            )  # a model that does not fit is refused here, not after the last block
        if may_be_kept(found, failed_before):
            journal.record(keys[block.number], found)
        for sample in block.samples:
            advance(sample.sample_id)
    if failures and not outputs.logits and not options.share:
        raise failures[max(failures)]
    match = match or _match(run, model, whole, outputs)
    whole.members[run.member].add(run.title, match, _own(outputs, whole.part) if options.share else outputs)
    unit, notices = unit_of(tasks, model.spec), (*match.notices, *model_notices(manifest, model))
    whole.models.append(ModelRecord.of(model, run, unit=unit, notices=notices))


def _engine_options(whole: _Whole) -> EngineOptions:
    """Workers read media below the root, and the model; a path that is none is a network by name."""
    return whole.options.engine_options(shared=[whole.manifest.root, *map(Path, whole.options.model)])


def _own(outputs: Outputs, part: Selected) -> Outputs:
    """Those of a part's samples. A block across its border has others too, which not every member of an ensemble has."""
    names = {sample.sample_id for sample in part.samples}
    return Outputs(
        {name: row for name, row in outputs.logits.items() if name in names},
        {name: error for name, error in outputs.errors.items() if name in names},
    )


def _match(run: Run, model: LoadedModel, whole: _Whole, outputs: Outputs) -> ClassMatch:
    targets = [sample.label for sample in run.samples if sample.label is not None]
    known = len(model.spec.classes) or len(whole.manifest.labels)
    width = len(next(iter(outputs.logits.values()))) if outputs.logits else known
    return match_classes(whole.manifest.labels, targets, model.spec.classes, width, model=model.name)


def _look_at(model: LoadedModel, run: Run, tasks: Sequence[Task], whole: _Whole) -> None:
    """Audit the model on a few of its clips, and measure it when that is asked for: both apart from the run."""
    options = whole.options
    if options.share and options.share.index > 1:
        return  # the first part looks for all of them
    if options.audit_clips:
        from ferbench.audits import ModelAuditOptions
        from ferbench.jobs.audit import audit_model

        clips, targets = probe_clips(whole.manifest, tasks, model.spec, count=options.audit_clips, seed=options.seed)
        # How pixels are prepared is tried once: the models of further folds get them in the same way.
        is_prepared_alike = any(known.member == run.member and known.spec == model.spec for known in whole.models)
        if clips:
            how = ModelAuditOptions(
                batch_size=options.batch_size, device=whole.device, amp=options.amp, seed=options.seed,
                most_clips=options.audit_clips,
            )  # fmt: skip
            for finding in audit_model(
                model, clips, None if is_prepared_alike else targets, labels=whole.manifest.labels, options=how
            ):
                about = f"{run.about}: " if run.about and finding.message else ""
                whole.audits.append(dataclasses.replace(finding, message=about + finding.message))
    if options.profile and run.member not in {member for member, _ in whole.profiles}:
        whole.profiles.append((run.member, _measured(model, options, whole.device)))


def _measured(model: LoadedModel, options: EvaluateOptions, device: str) -> dict[str, Any]:
    from ferbench.profiling import profile_model

    return profile_model(model, device=device, batch_size=options.batch_size).as_dict()


def measure(manifest: Manifest, selected: Selected, options: EvaluateOptions) -> dict[str, Any]:
    """What `--profile` says, without running a sample: the first model of each member."""
    whole = _whole(manifest, selected, options, views=ViewOptions(), media={}, part=selected)
    for run in plan_runs(selected.samples, selected.folds, options):
        if run.member not in {member for member, _ in whole.profiles}:
            whole.profiles.append((run.member, _measured(_job(run, whole, whole.device).load(), options, whole.device)))
    return _profile(whole)


def _profile(whole: _Whole) -> dict[str, Any]:
    """Of the first member, with those of all where there are several."""
    profiles = [{"model": whole.options.model[member], **profile} for member, profile in whole.profiles]
    return {**profiles[0], **({"members": profiles} if len(profiles) > 1 else {})}


def _collected(whole: _Whole) -> Predictions:
    selected, options = whole.part, whole.options
    combined = combine(whole.members, options.shares(), whole.views.average, labels=whole.manifest.labels)
    ids = tuple(sample.sample_id for sample in selected.samples)
    logits = np.full((len(ids), len(combined.labels)), np.nan, np.float32)
    for row, sample_id in enumerate(ids):
        if sample_id in combined.logits:
            logits[row] = combined.logits[sample_id]
    return Predictions(
        sample_ids=ids,
        targets=np.array([sample.label for sample in selected.samples], np.int64),
        logits=logits,
        folds=selected.folds,
        errors=tuple(combined.errors.get(sample_id) for sample_id in ids),
        labels=combined.labels,
        attributes=attributes_of(whole.manifest, selected),
        provenance={
            **about_run(whole.manifest, whole.models, options, whole.views, device=whole.elsewhere or whole.device),
            "unlabelled": selected.unlabelled,
            "audits": [finding.as_dict() for finding in whole.audits],
            **({"profile": _profile(whole)} if whole.profiles else {}),
        },
    )
