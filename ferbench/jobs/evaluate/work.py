"""Blocks through one model: in this process, or as the tasks of an engine. The same code, so the same bits.

A task is a stretch of neighbouring blocks: within it reading is ahead of the model, and what neighbours have in common,
windows and packs, is read once. The worker loads the model once, reads its inputs itself, and sends back the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ferbench.device import limit_threads
from ferbench.engines import EngineOptions
from ferbench.engines.stretches import map_blocks
from ferbench.errors import FerbenchError, ModelError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.blocks import Block, read_blocks
from ferbench.jobs.evaluate.journal import Outputs
from ferbench.jobs.evaluate.running import Runner
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.manifest import Manifest

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel, ModelRequest

MOST_BLOCKS = 32
"""Blocks of a task: at its ends the model waits for the first block to be read, which this makes rare."""


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What came of one block."""

    block: Block
    outputs: Outputs
    failure: ModelError | None = None
    """The last failure of the model in it."""


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """Picklable: a model with how it is run; `open` loads it."""

    manifest: Manifest
    """Without rows: the root of paths, and the recipe."""
    request: ModelRequest
    num_classes: int
    fallback: InputSpec
    device: str
    views: ViewOptions
    readers: int
    """Threads that read and resize; 0 is one per core."""
    threads: int
    """CPU threads of a forward pass: see `EvaluateOptions.threads`."""

    def load(self) -> LoadedModel:
        """The model, on the job's device. Raises ModelError, UsageError or MissingExtraError."""
        from ferbench.models.loading import load_model

        return load_model(self.request, num_classes=self.num_classes, fallback=self.fallback, device=self.device)

    def open(self) -> EvaluateWorker:
        """Load the model in a process that does nothing else."""
        limit_threads(self.threads)
        return EvaluateWorker(self, self.load())


class EvaluateWorker:
    """A loaded model over blocks."""

    def __init__(self, job: EvaluateJob, model: LoadedModel) -> None:
        self._job, self._model = job, model
        self._runner = Runner(model, job.device, job.request.batch_size, job.views.average)

    def handle(self, blocks: tuple[Block, ...]) -> list[tuple[Outputs, ModelError | None]]:
        """What came of each block of a stretch, in their order."""
        return [(result.outputs, result.failure) for result in self.each(blocks)]

    def each(self, blocks: Sequence[Block]) -> Iterator[BlockResult]:
        """The blocks one after the other, those ahead being read meanwhile."""
        job = self._job
        for block, clips in read_blocks(job.manifest, blocks, self._model.spec, job.views, workers=job.readers):
            yield BlockResult(block, *self._runner.run(block, clips))

    def close(self) -> None:
        """Nothing to let go of: threads and decoders are those of a stretch."""


def run_blocks(
    job: EvaluateJob, model: LoadedModel, blocks: Sequence[Block], *, engine: str, options: EngineOptions
) -> Iterator[BlockResult]:
    """Every block once, as they get done. `model` is the job's, loaded here; another engine's workers load their own.

    A block that takes its worker with it, alone too, is one whose samples all have that reason.
    """
    if engine == "local":
        yield from EvaluateWorker(job, model).each(blocks)
        return
    for block, found in map_blocks(engine, job, blocks, options, most=MOST_BLOCKS):
        if isinstance(found, FerbenchError):
            yield BlockResult(block, Outputs(errors={sample.sample_id: found.as_row() for sample in block.samples}))
        else:
            yield BlockResult(block, *found)
