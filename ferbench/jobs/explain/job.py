"""The explain job: load, run, make the parts, write the page and the record of what was asked."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferbench import remote
from ferbench.device import choose_device
from ferbench.engines import device_of
from ferbench.errors import FerbenchError, ModelError, TooManyFailuresError, UsageError
from ferbench.explaining.page import ExplainPage, write_explain_page
from ferbench.explaining.running import ModelRun, Outputs
from ferbench.explaining.seen import Seen, see
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.classes import ClassMatch, match_classes
from ferbench.jobs.evaluate.predict import fallback_spec
from ferbench.jobs.explain.cams import CamPart, make_cams
from ferbench.jobs.explain.choose import choose_samples, predictions_of
from ferbench.jobs.explain.features import FeaturePart, make_features
from ferbench.jobs.explain.mistakes import MistakePart, joined, make_mistakes
from ferbench.jobs.explain.options import ExplainOptions
from ferbench.jobs.explain.study import Study
from ferbench.jobs.explain.work import FeatureJob, run_over
from ferbench.manifest import Manifest, unsafe_path_rule
from ferbench.media import FrameReader
from ferbench.predictions import Predictions
from ferbench.settings import parse_overrides
from ferbench.storage import remove, sha256_of_file, write_json

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel

RECORD, PAGE = "explain.json", "explain.html"


@dataclass(frozen=True, slots=True)
class ExplainResult:
    """What was made; `record` is what explain.json holds."""

    page: Path
    num_samples: int
    num_failed: int
    """Samples that failed here; those that failed before were known."""
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A model, loaded and tried on a first sample."""

    run: ModelRun
    match: ClassMatch
    probe: Seen
    job: FeatureJob


def explain(manifest: Manifest, manifest_path: Path, out: Path, options: ExplainOptions) -> ExplainResult:
    """Make the parts asked for and write them into `out`, with a page that shows them and a record, explain.json.

    The same question gives the same files. A sample that cannot be read, or on which the model fails, is a reason in the
    record. A model whose layers cannot be watched gets no maps, and its logits stand in for features; both are said.
    Raises UsageError when `out` holds the answer to another question, MissingExtraError when a library is not installed,
    ModelError when the model cannot be loaded, fits no sample, or cannot give the one part that was asked for.
    """
    earlier = _earlier(out, options)
    if "cams" in options.parts:
        from ferbench.explaining.cams import assert_installed, method_of

        method_of(options.method)
        assert_installed()
    study = Study(manifest, choose_samples(manifest, options), options, out)
    known = {sample.sample_id for sample in study.chosen.samples if sample.status == "failed"}
    ready = _ready(study) if options.model else None
    cams = _cams(study, ready) if ready and "cams" in options.parts else None
    features, mistakes = _features_and_mistakes(study, ready)
    page = _page(study, cams, features, mistakes)
    write_explain_page(page, out / PAGE)
    study.files.append(PAGE)
    failed = {name: error for name, error in study.errors.items() if name not in known}
    record = {
        "asked": options.asked(),
        "manifest": manifest.name,
        "manifest_path": remote.recorded(manifest_path.resolve(), out.resolve()),
        "manifest_sha256": sha256_of_file(manifest_path) if manifest_path.is_file() else None,
        "samples": len(study.chosen.samples),
        "facts": study.facts,
        "notices": study.notices,
        "cams": None if cams is None else list(cams.samples),
        "features": None if features is None else _numbers(features, study),
        "mistakes": None if mistakes is None else list(mistakes.rows),
        "failures": dict(sorted(study.errors.items())),
        "command": remote.shown(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "versions": {name: version(name) for name in ("ferbench", "numpy", "scikit-learn", "torch")},
        "files": sorted(study.files),
    }
    for name in set(earlier.get("files", [])) - set(study.files):
        if unsafe_path_rule(name) is None:
            remove(out / name)
    write_json(out / RECORD, record)
    return ExplainResult(out / PAGE, len(study.chosen.samples), len(failed), record)


def check_failures(result: ExplainResult, options: ExplainOptions) -> None:
    """TooManyFailuresError when more samples failed than the user allows."""
    if result.num_failed > options.max_failures:
        raise TooManyFailuresError(
            f"{result.num_failed} of {result.num_samples} samples failed and --max-failures allows {options.max_failures}; "
            f"the reasons are in {result.page.with_name(RECORD)}"
        )


def _earlier(out: Path, options: ExplainOptions) -> dict[str, Any]:
    """The record in `out`, empty where there is none. UsageError when it answers another question."""
    path = out / RECORD
    if not remote.has_file(path):
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        asked = record["asked"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not options.overwrite:
            raise UsageError(f"{path} cannot be read ({error}); choose another -o, or --overwrite") from error
        return {}
    # Read back from JSON, as the record was.
    wanted = json.loads(json.dumps(options.asked()))
    if asked != wanted and not options.overwrite:
        differs = ", ".join(f"{key} {asked.get(key)!r}" for key in wanted if asked.get(key) != wanted[key])
        raise UsageError(f"{path} holds the answer to another question ({differs}); choose another -o, or --overwrite")
    return record  # type: ignore[no-any-return]


# --- the model -----------------------------------------------------------------------------------------------------------


def _ready(study: Study) -> _Ready:
    from ferbench.models.loading import ModelRequest

    options, manifest = study.options, study.manifest
    elsewhere = device_of(options.engine, options.engine_options())
    # The maps are made, and the model is tried, on what there is here.
    device = elsewhere if options.engine == "local" else choose_device("auto" if elsewhere == "cuda" else "cpu")

    def pairs(settings: tuple[str, ...], where: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(parse_overrides(settings, where=where).items()))

    request = ModelRequest(
        options.model, options.arch, pairs(options.input, "--input"), options.batch_size,
        trust_pickle=options.trust_pickle, partial=options.partial, options=pairs(options.option, "--option"),
    )  # fmt: skip
    rowless = manifest.replace(table=manifest.table.slice(0, 0), root=manifest.root.absolute())
    job = FeatureJob(rowless, request, len(manifest.labels), fallback_spec(manifest), device, options.threads)
    model = job.load()
    job = dataclasses.replace(job, device=elsewhere)
    probe = _first_readable(study, model.spec)
    run = ModelRun(model, device, options.batch_size, options.workers)
    logits, _ = run.forward([probe.clip])
    targets = [sample.label for sample in study.chosen.samples if sample.label is not None]
    match = match_classes(manifest.labels, targets, model.spec.classes, logits.shape[1], model=model.name)
    study.notices += [*match.notices, *model.notices, *_recipe_notices(model, manifest)]
    study.facts |= {"model": model.name, "model sha256": model.sha256, "model input": _spec_words(model.spec)}
    study.facts |= {"model input stated by": model.spec_source, "device": elsewhere}
    return _Ready(run, match, probe, job)


def _first_readable(study: Study, spec: InputSpec) -> Seen:
    """The first sample that can be read; raises the last one's error when none can."""
    failure: FerbenchError | None = None
    with FrameReader() as reader:
        for sample in study.chosen.samples:
            try:
                return see(study.manifest, sample, spec, reader)
            except UsageError:
                raise
            except FerbenchError as error:
                failure = error
    assert failure is not None
    number = len(study.chosen.samples)
    raise type(failure)(
        f"none of the {number} samples can be read as the model's input; the last: {failure.message}",
        reason=failure.reason,
    )


def _spec_words(spec: InputSpec) -> str:
    return f"{spec.layout}, {spec.clip_len} x {spec.channels} {spec.height}x{spec.width}, sampler {spec.sampler}"


def _recipe_notices(model: LoadedModel, manifest: Manifest) -> list[str]:
    if manifest.recipe is None:
        return ["The manifest has no recipe: the faces were not made by ferbench, or are not aligned at all."]
    if model.spec.recipe_id and model.spec.recipe_id != manifest.recipe.id:
        return [
            f"The model was trained on faces of recipe {model.spec.recipe_id}; these are of recipe {manifest.recipe.id}."
        ]
    return []


# --- the parts -----------------------------------------------------------------------------------------------------------


def _cams(study: Study, ready: _Ready) -> CamPart | None:
    """None where the model gives no maps and other parts were asked for too: then that is said."""
    from ferbench.explaining.layers import NO_LAYERS

    module = ready.run.model.module
    try:
        if module is None:
            raise ModelError(f"no map can be drawn: {NO_LAYERS}")
        return make_cams(study, ready.run, module, ready.match, ready.probe)
    except ModelError as error:
        if study.options.parts == ("cams",):
            raise
        study.notices.append(f"There are no class activation maps: {error.message}.")
        return None


def _features_and_mistakes(study: Study, ready: _Ready | None) -> tuple[FeaturePart | None, MistakePart | None]:
    options = study.options
    wanted = [part for part in ("features", "mistakes") if part in options.parts]
    from_file = _predictions_of_file(study) if "mistakes" in wanted and options.predictions else None
    features = None
    predictions: Predictions | None = from_file
    if ready and ("features" in wanted or ("mistakes" in wanted and from_file is None)):
        run, outputs, own = _run_over(study, ready)
        if "features" in wanted:
            features = make_features(study, run, outputs, own)
        predictions = from_file or own
    if "mistakes" not in wanted or predictions is None:
        return features, None
    origin = options.predictions.name if options.predictions else Path(options.model).name
    title = f"Most confident mistakes, {origin} on {study.manifest.name}"
    return features, make_mistakes(study, predictions, title)


def _predictions_of_file(study: Study) -> Predictions:
    from ferbench.predictions import read_predictions

    path = study.options.predictions
    assert path is not None
    predictions, notices = joined(read_predictions(path), study.chosen.by_id, study.manifest)
    study.notices += notices
    study.facts["predictions"] = path.name
    return predictions


def _run_over(study: Study, ready: _Ready) -> tuple[ModelRun, Outputs, Predictions]:
    """The model over every chosen sample, watched at its head where that is possible."""
    watch = _feature_watch(study, ready) if "features" in study.options.parts else None
    run = dataclasses.replace(ready.run, watch=watch)
    job = dataclasses.replace(ready.job, layer=watch.name if watch else "")
    outputs = run_over(job, run, study.manifest, study.chosen.samples, study.options)
    logits = {name: ready.match.logits(row) for name, row in outputs.logits.items()}
    for name, error in outputs.errors.items():
        study.errors.setdefault(name, error)
    return run, outputs, predictions_of(study.chosen, logits, outputs.errors, ready.match.labels)


def _feature_watch(study: Study, ready: _Ready) -> Any:
    """None, with a notice, for a model whose layers cannot be watched: its logits stand in for features."""
    import torch

    from ferbench.explaining.features import feature_watch
    from ferbench.explaining.layers import choose_feature_layer

    model, name = ready.run.model, study.options.feature_layer
    try:
        if model.module is None:
            raise ModelError("its layers cannot be watched")
        layer = choose_feature_layer(model.module, torch.from_numpy(ready.probe.clip), model.spec, name=name)
        if not layer:
            raise ModelError("no last layer with one output per class was found; name one with --feature-layer")
        return feature_watch(model.module, layer)
    except ModelError as error:
        if name:
            raise
        study.notices.append(f"The features are the model's logits: {error.message}.")
        return None


# --- what is said --------------------------------------------------------------------------------------------------------


def _numbers(part: FeaturePart, study: Study) -> dict[str, Any]:
    found = part.separation

    def plain(value: float) -> float | None:
        return None if value != value else round(value, 6)

    return {
        "samples": part.total, "shown": found.samples, "silhouette": plain(found.silhouette),
        "neighbour_agreement": plain(found.neighbour_agreement), "chance": plain(found.chance),
        "class_silhouettes": {
            name: plain(value)
            for name, value in zip(study.manifest.labels.names, found.class_silhouettes, strict=False)
        },
    }  # fmt: skip


def _page(
    study: Study, cams: CamPart | None, features: FeaturePart | None, mistakes: MistakePart | None
) -> ExplainPage:
    return ExplainPage(
        title=f"{Path(study.options.model).name or 'Mistakes'} on {study.manifest.name}",
        notices=tuple(study.notices),
        facts=tuple((name, str(value)) for name, value in study.facts.items() if value not in ("", None)),
        grids=cams.grids if cams else (),
        strips=cams.strips if cams else (),
        embedding=features.picture if features else "",
        separation=_numbers(features, study) if features else None,
        mistake_pages=mistakes.pages if mistakes else (),
        mistakes=mistakes.rows if mistakes else (),
        wrong=(mistakes.total, mistakes.scored) if mistakes else None,
        failures=tuple(sorted(study.errors.items())),
        num_samples=len(study.chosen.samples),
    )
