"""The model over every chosen sample, watched at its head: in this process, or as the tasks of an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ferbench.device import limit_threads, with_threads
from ferbench.engines.stretches import map_blocks
from ferbench.errors import FerbenchError, ModelError
from ferbench.explaining.running import ModelRun, Outputs
from ferbench.inputspec import InputSpec
from ferbench.jobs.explain.options import ExplainOptions
from ferbench.manifest import Manifest, Sample
from ferbench.progress import progress

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel, ModelRequest

MOST_BLOCKS = 4
"""Blocks of a task: few, because features are larger than outputs, and are to travel as one message."""

Block = tuple[Sample, ...]
Found = tuple[Sequence[Sample], Outputs, "ModelError | None"]


@dataclass(frozen=True, slots=True)
class FeatureJob:
    """Picklable: a model with the layer that is watched; `open` loads it."""

    manifest: Manifest
    """Without rows."""
    request: ModelRequest
    num_classes: int
    fallback: InputSpec
    device: str
    threads: int
    layer: str = ""
    """Whose input is the features; without one the logits are."""

    def load(self) -> LoadedModel:
        """The model. Raises ModelError, UsageError or MissingExtraError."""
        from ferbench.models.loading import load_model

        return load_model(self.request, num_classes=self.num_classes, fallback=self.fallback, device=self.device)

    def open(self) -> FeatureWorker:
        """Load the model in a process that does nothing else."""
        from ferbench.explaining.features import feature_watch

        limit_threads(self.threads)
        model = self.load()
        watch = feature_watch(model.module, self.layer) if self.layer and model.module is not None else None
        return FeatureWorker(self.manifest, ModelRun(model, self.device, self.request.batch_size, watch=watch))


class FeatureWorker:
    """A loaded model over blocks of samples."""

    def __init__(self, manifest: Manifest, run: ModelRun) -> None:
        self._manifest, self._run = manifest, run

    def handle(self, blocks: tuple[Block, ...]) -> list[tuple[Outputs, ModelError | None]]:
        """What came of each block of a stretch, in their order."""
        samples = [sample for block in blocks for sample in block]  # all blocks but the job's last are of one size
        return [(outputs, failure) for _, outputs, failure in run_each(self._run, self._manifest, samples)]

    def close(self) -> None:
        """Nothing to let go of."""


def run_each(run: ModelRun, manifest: Manifest, samples: Sequence[Sample]) -> Iterator[Found]:
    """Block by block, with the features where a layer is watched."""
    with run.watch.watching() if run.watch else nullcontext():
        yield from run.each(manifest, samples)


def run_over(
    job: FeatureJob, run: ModelRun, manifest: Manifest, samples: Sequence[Sample], options: ExplainOptions
) -> Outputs:
    """The outputs of every sample. Raises the model's own error when it fails on every one. `run` is the job's, here."""
    outputs = Outputs()
    failure: ModelError | None = None
    with progress("running the model", len(samples)) as advance, with_threads(options.threads):
        local = options.engine == "local"
        found = run_each(run, manifest, samples) if local else _through_engine(job, samples, options)
        for block, own, failed in found:
            outputs.update(own)
            failure = failed or failure
            for sample in block:
                advance(sample.sample_id)
    if failure is not None and not outputs.logits:
        raise failure
    return outputs


def _through_engine(job: FeatureJob, samples: Sequence[Sample], options: ExplainOptions) -> Iterator[Found]:
    size = options.batch_size
    engine_options = options.engine_options(shared=[job.manifest.root, Path(options.model)])
    blocks = [tuple(samples[start : start + size]) for start in range(0, len(samples), size)]
    for block, found in map_blocks(options.engine, job, blocks, engine_options, most=MOST_BLOCKS):
        if isinstance(found, FerbenchError):
            yield block, Outputs(errors={sample.sample_id: found.as_row() for sample in block}), None
        else:
            yield block, *found
