"""`evaluate`: a model over the test parts of a manifest; predictions, and everything `score` makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferbench.clips import load_clip
from ferbench.device import choose_device
from ferbench.engines import worker_count
from ferbench.errors import FerbenchError, ModelError, ProtocolError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader
from ferbench.models import MODELS
from ferbench.predictions import Predictions, read_predictions, write_predictions
from ferbench.progress import progress
from ferbench.protocol import folds_of
from ferbench.storage import sha256_of_file, sha256_of_value

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel

PREDICTIONS = "predictions.parquet"
IMAGES_PER_PASS = 64
"""Most single images in one forward pass; bounds memory, whatever the clip length."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What `evaluate` is asked for."""

    model: str = ""
    arch: str = ""
    """For a bare state dict: a built-in name, pkg.module:factory or file.py:factory."""
    input: tuple[str, ...] = ()
    """`key=value` settings of the InputSpec."""
    split: str = "test"
    """Part of a fixed split to score."""
    fold: str = ""
    """One fold by name; empty is all of them."""
    device: str = "auto"
    batch_size: int = 16
    """Clips per forward pass, cut in the manifest's order."""
    workers: int = 0
    """Threads that read and resize; 0 is one per CPU core."""
    limit: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("say which model: --model NAME, or --model with a file")
        if self.batch_size < 1:
            raise UsageError(f"batch-size must be at least 1, got {self.batch_size}")


@dataclass(frozen=True, slots=True)
class Selected:
    """The samples to score, with the name of the fold each is tested in."""

    samples: tuple[Sample, ...]
    folds: tuple[str, ...]
    unlabelled: int


def select_samples(manifest: Manifest, options: EvaluateOptions) -> Selected:
    """Each labelled sample of the asked-for test parts once, in the manifest's order.

    Folds, else a fixed split, else the whole manifest under the fold name `all`.
    """
    fold_of: dict[str, str] = {}
    if manifest.has_values("fold"):
        folds = list(folds_of(manifest))
        names = [fold.name for fold in folds]
        if options.fold and options.fold not in names:
            raise UsageError(f"no fold {options.fold!r}; this manifest has {', '.join(names)}")
        for fold in folds:
            if options.fold in ("", fold.name):
                fold_of.update(dict.fromkeys(fold.test.column("sample_id"), fold.name))
    elif manifest.has_values("split"):
        parts = manifest.column("split")
        if options.split not in parts:
            raise UsageError(
                f"no split {options.split!r}; this manifest has {', '.join(sorted(set(filter(None, parts))))}"
            )
        for sample_id, part in zip(manifest.column("sample_id"), parts, strict=True):
            if part == options.split:
                fold_of[sample_id] = options.split
    else:
        fold_of = dict.fromkeys(manifest.column("sample_id"), "all")
    tested = [sample for sample in manifest.samples() if sample.sample_id in fold_of]
    labelled = [sample for sample in tested if sample.label is not None]
    if not labelled:
        raise ProtocolError(f"manifest {manifest.name!r} has no labelled samples to score")
    labelled = labelled[: options.limit] if options.limit else labelled
    return Selected(
        tuple(labelled), tuple(fold_of[sample.sample_id] for sample in labelled), len(tested) - len(labelled)
        if options.limit is None else 0,
    )  # fmt: skip


def evaluate(manifest: Manifest, manifest_path: Path, out: Path, options: EvaluateOptions) -> Predictions:
    """Run the model and write `out/predictions.parquet`; an earlier file of the very same job is read instead.

    A sample without a face or with unreadable media is a row with its reason.
    """
    selected = select_samples(manifest, options)
    job = _job_id(manifest_path, selected, options)
    written = out / PREDICTIONS
    if written.exists() and not options.overwrite:
        earlier = read_predictions(written)
        if earlier.provenance.get("job") == job:
            return earlier
    predictions = predict(manifest, selected, options)
    provenance = {
        **predictions.provenance,
        "job": job,
        "manifest": manifest.name,
        "manifest_sha256": sha256_of_file(manifest_path),
        "unlabelled": selected.unlabelled,
    }
    predictions = dataclasses.replace(predictions, provenance=provenance)
    write_predictions(predictions, written)
    return predictions


def _job_id(manifest_path: Path, selected: Selected, options: EvaluateOptions) -> str:
    """Names everything that decides the numbers, so that a finished evaluation is not done again."""
    model = Path(options.model)
    arch_file = Path(options.arch.rpartition(":")[0]) if ".py:" in options.arch else None
    files = [model, model.with_suffix(".toml"), *([arch_file] if arch_file else [])]
    return sha256_of_value(
        {
            "manifest": sha256_of_file(manifest_path),
            "samples": [sample.sample_id for sample in selected.samples],
            "model": options.model if options.model in MODELS else "",
            "files": [sha256_of_file(path) if path.is_file() else None for path in files],
            "arch": options.arch,
            "input": list(options.input),
            "device": options.device,
            "batch_size": options.batch_size,
            "versions": {name: version(name) for name in ("ferbench", "torch")},
        }
    )


def predict(manifest: Manifest, selected: Selected, options: EvaluateOptions) -> Predictions:
    """The logits of every selected sample, by sample_id. The only place a model is run for scores."""
    import torch

    from ferbench.models.loading import ModelRequest, load_model
    from ferbench.settings import parse_overrides

    device = choose_device(options.device)
    overrides = tuple(sorted(parse_overrides(options.input).items()))
    model = load_model(
        ModelRequest(options.model, options.arch, overrides),
        num_classes=len(manifest.labels), fallback=_fallback_spec(manifest), device=device,
    )  # fmt: skip
    outputs: dict[str, NDArray[np.float32]] = {}
    errors: dict[str, str] = {}
    with progress("evaluating", len(selected.samples)) as advance:
        for batch in _batches(manifest, selected.samples, model.spec, options):
            ready = [(sample, clip) for sample, clip in batch if not isinstance(clip, FerbenchError)]
            errors.update(
                {sample.sample_id: clip.as_row() for sample, clip in batch if isinstance(clip, FerbenchError)}
            )
            if ready:
                logits = _forward(model, [clip for _, clip in ready], torch.device(device))
                outputs.update({sample.sample_id: row for (sample, _), row in zip(ready, logits, strict=True)})
            for sample, _ in batch:
                advance(sample.sample_id)
    return _collected(manifest, selected, model, outputs, errors, device)


def _fallback_spec(manifest: Manifest) -> InputSpec:
    """For a model that does not say what it takes: clips as the faces' recipe has them."""
    recipe = manifest.recipe.as_dict() if manifest.recipe else {}
    size = int(recipe.get("crop", {}).get("size", 112))
    clip_len = int(recipe.get("sampling", {}).get("clip_len", 0)) or 16
    return InputSpec(clip_len=clip_len, height=size, width=size)


def _batches(
    manifest: Manifest, samples: Sequence[Sample], spec: InputSpec, options: EvaluateOptions
) -> Iterator[list[tuple[Sample, NDArray[np.float32] | FerbenchError]]]:
    """Fixed blocks of the samples in order, their clips read ahead by threads. A failed sample leaves its place empty."""
    threads = worker_count(options.workers, len(samples))
    blocks = [samples[start : start + options.batch_size] for start in range(0, len(samples), options.batch_size)]
    with FrameReader() as reader, ThreadPoolExecutor(threads) as pool:

        def load(sample: Sample) -> NDArray[np.float32] | FerbenchError:
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


def _forward(model: LoadedModel, clips: Sequence[NDArray[np.float32]], device: Any) -> NDArray[np.float32]:
    """(N, K) logits of N clips, each (T, C, H, W); an image model's are the mean over the clip's frames."""
    import torch

    if model.spec.is_clip_model:
        batch = torch.from_numpy(np.stack(clips))
        batch = batch if model.spec.layout == "NTCHW" else batch.transpose(1, 2).contiguous()
        return np.asarray(model.forward(batch.to(device)).cpu().numpy(), np.float32)
    images = torch.from_numpy(np.concatenate(clips))
    parts = [model.forward(part.to(device)).cpu() for part in torch.split(images, IMAGES_PER_PASS)]
    logits = torch.cat(parts).numpy()
    ends = np.cumsum([len(clip) for clip in clips])
    return np.stack([part.mean(axis=0) for part in np.split(logits, ends[:-1])]).astype(np.float32)


def _collected(
    manifest: Manifest, selected: Selected, model: LoadedModel,
    outputs: dict[str, NDArray[np.float32]], errors: dict[str, str], device: str,
) -> Predictions:  # fmt: skip
    labels, columns, notices = match_classes(manifest.labels, model.spec, outputs, model.name)
    logits = np.full((len(selected.samples), len(labels)), np.nan, np.float32)
    for row, sample in enumerate(selected.samples):
        output = outputs.get(sample.sample_id)
        if output is None:
            continue
        if not np.isfinite(output).all():
            errors[sample.sample_id] = "nan-logits: the model's output for this sample is not a finite number"
            continue
        logits[row] = output[columns]
    if model.spec_source.startswith("not stated"):
        spec = model.spec
        shape = f"{spec.layout}, {spec.clip_len} x {spec.channels} {spec.height}x{spec.width}, pixels 0..1"
        notices.append(f"The model does not state its input. Assumed: {shape}. Say it with --input if that is wrong.")
    if model.spec.recipe_id and manifest.recipe and model.spec.recipe_id != manifest.recipe.id:
        notices.append(
            f"The model was trained on faces of recipe {model.spec.recipe_id}; these faces are of recipe "
            f"{manifest.recipe.id}. Scores of models on faces made another way are not comparable."
        )
    if manifest.recipe is None:
        notices.append("The manifest has no recipe: the faces were not made by ferbench, or are not aligned at all.")
    return Predictions(
        sample_ids=tuple(sample.sample_id for sample in selected.samples),
        targets=np.array([sample.label for sample in selected.samples], np.int64),
        logits=logits,
        folds=selected.folds,
        errors=tuple(errors.get(sample.sample_id) for sample in selected.samples),
        labels=labels,
        provenance={
            "model": model.name,
            "input_spec": model.spec.as_dict(),
            "input_spec_source": model.spec_source,
            "recipe_id": manifest.recipe.id if manifest.recipe else None,
            "recipe": manifest.recipe.as_dict() if manifest.recipe else None,
            "protocol": dict(manifest.protocol),
            "notices": notices,
            "device": device,
            "versions": {name: version(name) for name in ("ferbench", "torch", "numpy")},
        },
    )


def match_classes(
    dataset: LabelSet, spec: InputSpec, outputs: dict[str, NDArray[np.float32]], name: str
) -> tuple[LabelSet, list[int], list[str]]:
    """The label set of the predictions, the model output of each of its classes, and what to tell the reader.

    Matched by name. Classes only the model has come after the dataset's: predicting one is an error like any other.
    Raises ModelError when the model lacks a class of the dataset, or when nobody says what its outputs mean.
    """
    width = len(next(iter(outputs.values()))) if outputs else len(spec.classes) or len(dataset)
    if not spec.classes:
        if width != len(dataset):
            raise ModelError(
                f"{name} has {width} outputs and the manifest {len(dataset)} classes; say the model's classes in order: "
                "--input classes=neutral,happy,…"
            )
        order = ", ".join(dataset.names)
        notice = f"The model does not say what its outputs mean. Assumed: the manifest's order, {order}."
        return dataset, list(range(width)), [notice]
    if width != len(spec.classes):
        raise ModelError(f"{name} has {width} outputs, and its input spec names {len(spec.classes)} classes")
    model_labels = LabelSet.of(spec.classes)
    lacking = dataset.missing_from(model_labels)
    if lacking:
        raise ModelError(
            f"{name} does not know the classes {', '.join(lacking)} of the manifest; it knows {', '.join(spec.classes)}"
        )
    union = dataset.united_with(model_labels)
    columns = [column for column in union.mapping_to(model_labels) if column is not None]
    extra = model_labels.missing_from(dataset)
    notices = []
    if extra:
        notices.append(
            f"The model also knows {', '.join(extra)}, which no sample is; predicting one counts as an error."
        )
    return union, columns, notices
