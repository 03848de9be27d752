"""The logits of every selected sample. The only place a model is run for scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferbench.alignment import crop_size, find_template
from ferbench.clips import load_clip
from ferbench.device import choose_device
from ferbench.engines import worker_count
from ferbench.errors import FerbenchError, ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.classes import match_classes
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.select import Selected
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader
from ferbench.predictions import Predictions
from ferbench.progress import progress
from ferbench.settings import parse_overrides

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel

Clip = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What came of each sample, by sample_id."""

    logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """(K,) in the order of the model."""
    errors: dict[str, str] = field(default_factory=dict)
    """`reason: message`."""


def predict(manifest: Manifest, selected: Selected, options: EvaluateOptions) -> Predictions:
    """Load the model and run it. A sample that fails is a row with its reason.

    Raises ModelError when the model cannot be loaded, does not fit the classes, or fails on every sample.
    """
    from ferbench.models.loading import ModelRequest, load_model

    device = choose_device(options.device)
    overrides = tuple(sorted(parse_overrides(options.input, where="--input").items()))
    model = load_model(
        ModelRequest(options.model, options.arch, overrides, options.batch_size),
        num_classes=len(manifest.labels), fallback=fallback_spec(manifest), device=device,
    )  # fmt: skip
    outputs = Outputs()
    failure: ModelError | None = None
    with progress("evaluating", len(selected.samples)) as advance:
        for batch in _batches(manifest, selected.samples, model.spec, options):
            ready = []
            for sample, clip in batch:
                if isinstance(clip, UsageError):
                    raise clip
                if isinstance(clip, FerbenchError):
                    outputs.errors[sample.sample_id] = clip.as_row()
                else:
                    ready.append((sample, clip))
            failure = _run(model, ready, outputs, device, options.batch_size) or failure
            for sample, _ in batch:
                advance(sample.sample_id)
    if failure is not None and not outputs.logits:
        raise failure
    return _collected(manifest, selected, model, outputs, device)


def fallback_spec(manifest: Manifest) -> InputSpec:
    """For a model that does not say what it takes: clips as the faces' recipe has them."""
    recipe = manifest.recipe.as_dict() if manifest.recipe else {}
    crop = recipe.get("crop", {})
    clip_len = int(recipe.get("sampling", {}).get("clip_len", 0)) or 16
    if "template" not in crop or "size" not in crop:
        return InputSpec(clip_len=clip_len)
    width, height = crop_size(find_template(crop["template"]), int(crop["size"]))
    return InputSpec(clip_len=clip_len, height=height, width=width)


def _batches(
    manifest: Manifest, samples: Sequence[Sample], spec: InputSpec, options: EvaluateOptions
) -> Iterator[list[tuple[Sample, Clip | FerbenchError]]]:
    """Fixed blocks of the samples in order, their clips read ahead by threads. A failed sample leaves its place empty."""
    threads = worker_count(options.workers, len(samples))
    blocks = [samples[start : start + options.batch_size] for start in range(0, len(samples), options.batch_size)]
    with FrameReader() as reader, ThreadPoolExecutor(threads) as pool:

        def load(sample: Sample) -> Clip | FerbenchError:
            if sample.status == "failed":
                reason, _, message = (sample.error or "failed: no reason recorded").partition(": ")
                return FerbenchError(message, reason=reason)
            try:
                return load_clip(manifest, sample, spec, reader)
            except FerbenchError as error:
                return error

        ahead = [pool.map(load, block) for block in blocks[:1]]
        for number, block in enumerate(blocks):
            # One block is being read while the block before it is in the model.
            if number + 1 < len(blocks):
                ahead.append(pool.map(load, blocks[number + 1]))
            yield list(zip(block, ahead.pop(0), strict=True))


def _run(
    model: LoadedModel, ready: Sequence[tuple[Sample, Clip]], outputs: Outputs, device: str, batch_size: int
) -> ModelError | None:
    """Run one block. When the model fails on it, its samples are tried one by one; returns the last failure."""
    if not ready:
        return None
    try:
        logits = _forward(model, [clip for _, clip in ready], device, batch_size)
    except ModelError as error:
        if len(ready) == 1:
            outputs.errors[ready[0][0].sample_id] = error.as_row()
            return error
        failures = [_run(model, [single], outputs, device, batch_size) for single in ready]
        return next((failure for failure in reversed(failures) if failure), None)
    for (sample, _), row in zip(ready, logits, strict=True):
        if np.isfinite(row).all():
            outputs.logits[sample.sample_id] = row
        else:
            outputs.errors[sample.sample_id] = "nan-logits: the model's output for this sample is not a finite number"
    return None


def _forward(model: LoadedModel, clips: Sequence[Clip], device: str, batch_size: int) -> NDArray[np.float32]:
    """(N, K) logits of N clips, each (T, C, H, W); an image model's are the mean over the clip's frames."""
    import torch

    if model.spec.is_clip_model:
        batch = torch.from_numpy(np.stack(clips))
        batch = batch if model.spec.layout == "NTCHW" else batch.transpose(1, 2).contiguous()
        return np.asarray(model.forward(batch.to(device)).cpu().numpy(), np.float32)
    images = torch.from_numpy(np.concatenate(clips))
    parts = [model.forward(part.to(device)).cpu() for part in torch.split(images, batch_size)]
    logits = torch.cat(parts).numpy()
    ends = np.cumsum([len(clip) for clip in clips])
    return np.stack([part.mean(axis=0) for part in np.split(logits, ends[:-1])]).astype(np.float32)


def _collected(
    manifest: Manifest, selected: Selected, model: LoadedModel, outputs: Outputs, device: str
) -> Predictions:
    targets = [sample.label for sample in selected.samples if sample.label is not None]
    width = (
        len(next(iter(outputs.logits.values()))) if outputs.logits else len(model.spec.classes) or len(manifest.labels)
    )
    match = match_classes(manifest.labels, targets, model.spec.classes, width, model=model.name)
    logits = np.full((len(selected.samples), len(match.labels)), np.nan, np.float32)
    for row, sample in enumerate(selected.samples):
        if sample.sample_id in outputs.logits:
            logits[row] = match.logits(outputs.logits[sample.sample_id])
    return Predictions(
        sample_ids=tuple(sample.sample_id for sample in selected.samples),
        targets=np.array(targets, np.int64),
        logits=logits,
        folds=selected.folds,
        errors=tuple(outputs.errors.get(sample.sample_id) for sample in selected.samples),
        labels=match.labels,
        provenance={
            "model": model.name,
            "input_spec": model.spec.as_dict(),
            "input_spec_source": model.spec_source,
            "recipe_id": manifest.recipe.id if manifest.recipe else None,
            "recipe": manifest.recipe.as_dict() if manifest.recipe else None,
            "protocol": dict(manifest.protocol),
            "notices": [*match.notices, *_notices(manifest, model)],
            "unlabelled": selected.unlabelled,
            "device": device,
            "versions": {name: version(name) for name in ("ferbench", "torch", "numpy")},
        },
    )


def _notices(manifest: Manifest, model: LoadedModel) -> list[str]:
    """What makes these scores less than they seem."""
    from ferbench.models.loading import GUESSED

    notices: list[str] = []
    spec: Any = model.spec
    if model.spec_source == GUESSED:
        shape = f"{spec.layout}, {spec.clip_len} x {spec.channels} {spec.height}x{spec.width}, pixels 0..1"
        notices.append(f"The model does not state its input. Assumed: {shape}. Say it with --input if that is wrong.")
    if spec.recipe_id and manifest.recipe and spec.recipe_id != manifest.recipe.id:
        notices.append(
            f"The model was trained on faces of recipe {spec.recipe_id}; these faces are of recipe {manifest.recipe.id}. "
            "Scores of models on faces made another way are not comparable."
        )
    if manifest.recipe is None:
        notices.append("The manifest has no recipe: the faces were not made by ferbench, or are not aligned at all.")
    return notices
