"""One block through one model: (V, T, C, H, W) pixels per task to one row of logits per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import FerbenchError, ModelError
from ferbench.jobs.evaluate.blocks import Block, Clips
from ferbench.jobs.evaluate.journal import Outputs
from ferbench.jobs.evaluate.tasks import Task
from ferbench.jobs.evaluate.views import average

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """A model with how it is run."""

    model: LoadedModel
    device: str
    batch_size: int
    average: str

    def run(self, block: Block, clips: Sequence[Clips | FerbenchError]) -> tuple[Outputs, ModelError | None]:
        """The outputs of a block, and the last failure of the model in it.

        When the model fails on the block, its tasks are tried one by one. A sample that fails has its reason.
        """
        outputs = Outputs()
        ready: list[tuple[Task, Clips]] = []
        for task, clip in zip(block.tasks, clips, strict=True):
            if isinstance(clip, FerbenchError):
                outputs.errors.update((sample.sample_id, clip.as_row()) for sample in task.samples)
            else:
                ready.append((task, clip))
        return outputs, self._run(ready, outputs)

    def _run(self, ready: Sequence[tuple[Task, Clips]], outputs: Outputs) -> ModelError | None:
        if not ready:
            return None
        try:
            logits = self.forward([clip for _, clip in ready])
        except ModelError as error:
            if len(ready) == 1:
                outputs.errors.update((sample.sample_id, error.as_row()) for sample in ready[0][0].samples)
                return error
            failures = [self._run([single], outputs) for single in ready]
            return next((failure for failure in reversed(failures) if failure), None)
        for (task, _), rows in zip(ready, logits, strict=True):
            self._keep(task, rows, outputs)
        return None

    def _keep(self, task: Task, rows: NDArray[np.float32], outputs: Outputs) -> None:
        """Average (V, T, K) over views, and over frames where they are not samples of their own."""
        for number, sample in enumerate(task.samples):
            own = rows[:, task.places[number]] if task.places else rows.reshape(-1, rows.shape[-1])
            if np.isfinite(own).all():
                outputs.logits[sample.sample_id] = average(own, self.average)
            else:
                outputs.errors[sample.sample_id] = (
                    "nan-logits: the model's output for this sample is not a finite number"
                )

    def forward(self, clips: Sequence[Clips]) -> list[NDArray[np.float32]]:
        """Per task (V, T, K): T is 1 for a clip model, and the frames of an image model or of one with per-frame output."""
        import torch

        spec = self.model.spec
        if spec.is_clip_model:
            inputs = np.concatenate(clips) if len(clips) > 1 else clips[0]
        else:
            images = [clip.reshape(-1, *clip.shape[2:]) for clip in clips]
            inputs = np.concatenate(images) if len(images) > 1 else images[0]
        batch = torch.from_numpy(inputs)
        if spec.layout == "NCTHW":
            batch = batch.transpose(1, 2)
        parts = [
            self.model.forward(part.contiguous().to(self.device)).cpu().numpy()
            for part in torch.split(batch, self.batch_size)
        ]
        logits = np.concatenate(parts) if len(parts) > 1 else parts[0]
        counts = [len(clip) if spec.is_clip_model else len(clip) * clip.shape[1] for clip in clips]
        split = np.split(logits.astype(np.float32, copy=False), np.cumsum(counts)[:-1])
        return [part.reshape(len(clip), -1, logits.shape[-1]) for part, clip in zip(split, clips, strict=True)]
