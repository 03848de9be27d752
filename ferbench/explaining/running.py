"""A model over samples: logits, and the features before its head. A sample that fails is a reason, never a stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferbench.clips import load_clip
from ferbench.engines import worker_count
from ferbench.errors import FerbenchError, ModelError, UsageError
from ferbench.explaining.seen import assert_usable
from ferbench.manifest import Manifest, Sample
from ferbench.media import FrameReader

if TYPE_CHECKING:
    from ferbench.explaining.features import FeatureWatch
    from ferbench.models.loading import LoadedModel

Clip = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What came of each sample, by sample_id."""

    logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """(K,) in the order of the model; the mean over images or frames."""
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """(D,)."""
    errors: dict[str, str] = field(default_factory=dict)
    """`reason: message`."""

    def update(self, other: Outputs) -> None:
        """Add those of other samples."""
        self.logits.update(other.logits)
        self.features.update(other.features)
        self.errors.update(other.errors)


@dataclass(frozen=True, slots=True, eq=False)
class ModelRun:
    """A loaded model with how it is run."""

    model: LoadedModel
    device: str
    batch_size: int
    """Clips per forward pass; for an image model, images."""
    workers: int = 0
    """Threads that read; 0 is one per core."""
    watch: FeatureWatch | None = None
    """Collects features; None takes the logits for them."""

    def each(
        self, manifest: Manifest, samples: Sequence[Sample]
    ) -> Iterator[tuple[Sequence[Sample], Outputs, ModelError | None]]:
        """Fixed blocks of the samples in their order: which they are, what came of them, and the model's last failure."""
        for block in self._blocks(manifest, samples):
            outputs, ready = Outputs(), []
            for sample, clip in block:
                if isinstance(clip, FerbenchError):
                    outputs.errors[sample.sample_id] = clip.as_row()
                else:
                    ready.append((sample, clip))
            failure = self._run(ready, outputs)
            yield [sample for sample, _ in block], outputs, failure

    def _blocks(
        self, manifest: Manifest, samples: Sequence[Sample]
    ) -> Iterator[list[tuple[Sample, Clip | FerbenchError]]]:
        size = self.batch_size
        blocks = [samples[start : start + size] for start in range(0, len(samples), size)]
        with FrameReader() as reader, ThreadPoolExecutor(worker_count(self.workers, len(samples))) as pool:

            def load(sample: Sample) -> Clip | FerbenchError:
                try:
                    assert_usable(sample)
                    return load_clip(manifest, sample, self.model.spec, reader)
                except UsageError:
                    raise  # the same for every sample
                except FerbenchError as error:
                    return error

            ahead = [pool.map(load, block) for block in blocks[:1]]
            for number, block in enumerate(blocks):
                # One block is being read while the block before it is in the model.
                if number + 1 < len(blocks):
                    ahead.append(pool.map(load, blocks[number + 1]))
                yield list(zip(block, ahead.pop(0), strict=True))

    def _run(self, ready: Sequence[tuple[Sample, Clip]], outputs: Outputs) -> ModelError | None:
        """One block. When the model fails on it, its samples are tried one by one; returns the last failure."""
        if not ready:
            return None
        try:
            logits, features = self.forward([clip for _, clip in ready])
        except ModelError as error:
            if self.watch is not None:
                self.watch.forget()
            if len(ready) == 1:
                outputs.errors[ready[0][0].sample_id] = error.as_row()
                return error
            failures = [self._run([single], outputs) for single in ready]
            return next((failure for failure in reversed(failures) if failure), None)
        for (sample, _), row, vector in zip(ready, logits, features, strict=True):
            if np.isfinite(row).all() and np.isfinite(vector).all():
                outputs.logits[sample.sample_id] = row
                outputs.features[sample.sample_id] = vector
            else:
                outputs.errors[sample.sample_id] = (
                    "nan-logits: the model's output for this sample is not a finite number"
                )
        return None

    def forward(self, clips: Sequence[Clip]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """((N, K) logits, (N, D) features) of N samples, each (T, C, H, W)."""
        import torch

        spec = self.model.spec
        batch = torch.from_numpy(np.stack(clips) if spec.is_clip_model else np.concatenate(clips))
        if spec.layout == "NCTHW":
            batch = batch.transpose(1, 2)
        logits, features = [], []
        for part in torch.split(batch, self.batch_size):
            given = self.model.forward(part.contiguous().to(self.device)).float().cpu().numpy()
            logits.append(given.reshape(len(part), -1, given.shape[-1]).mean(axis=1))
            features.append(logits[-1] if self.watch is None else self.watch.take(len(part)))
        counts = [1 if spec.is_clip_model else len(clip) for clip in clips]
        return _means(np.concatenate(logits), counts), _means(np.concatenate(features), counts)


def _means(rows: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float32]:
    """The mean of each `counts` rows in turn."""
    return np.stack([part.mean(axis=0) for part in np.split(rows, np.cumsum(counts)[:-1])]).astype(np.float32)
