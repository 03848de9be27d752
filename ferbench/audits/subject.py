"""What an audit sees: the predictions and their manifest, or a loaded model with a few clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferbench.labels import LabelSet
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel

Clip = NDArray[np.float32]
"""(T, C, H, W), normalised as the model's InputSpec says; what `ferbench.clips.load_clip` gives."""


@dataclass(frozen=True, slots=True)
class StatedModel:
    """One model as the provenance of predictions describes it."""

    name: str
    fold: str | None
    """The fold whose samples it scored, where there is a model per fold."""
    facts: Mapping[str, Any]
    """What the checkpoint says of itself; empty where it says nothing."""
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> StatedModel:
        """From an entry of the provenance, which may be anyone's: what is not as it should be is empty."""
        facts, spec, fold = entry.get("facts"), entry.get("input_spec"), entry.get("fold")
        return cls(
            str(entry.get("name") or "the model"), None if fold is None else str(fold),
            facts if isinstance(facts, Mapping) else {}, spec if isinstance(spec, Mapping) else {},
        )  # fmt: skip

    @property
    def recipe_id(self) -> str:
        """Recipe of the faces it was trained on; empty where unknown."""
        return str(self.facts.get("recipe_id") or self.spec.get("recipe_id") or "")


@dataclass(frozen=True, eq=False)
class Scored:
    """Predictions, and the manifest they were made from where there is one."""

    predictions: Predictions
    manifest: Manifest | None = None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of the predictions."""
        return self.predictions.provenance

    @property
    def models(self) -> tuple[StatedModel, ...]:
        """What is recorded of each model that was run: one, one per fold, or the members of an ensemble."""
        listed = self.provenance.get("models")
        if not isinstance(listed, (list, tuple)) or not listed:
            whole = {"name": self.provenance.get("model"), "facts": self.provenance.get("model_facts"),
                     "input_spec": self.provenance.get("input_spec")}  # fmt: skip
            listed = [whole]
        return tuple(StatedModel.of(entry) for entry in listed if isinstance(entry, Mapping))

    @property
    def stated_classes(self) -> tuple[str, ...]:
        """What the models' outputs are said to mean, in order; empty where that was assumed or differs."""
        listed = [model.spec.get("classes") for model in self.models]
        stated = {tuple(map(str, names)) if isinstance(names, (list, tuple)) else () for names in listed}
        return stated.pop() if len(stated) == 1 else ()

    def matrix(self) -> NDArray[np.int64]:
        """(K, K) counts of scored samples, rows true, columns predicted."""
        size = len(self.predictions.labels)
        predicted = self.predictions.predicted
        seen = predicted >= 0
        pairs = self.predictions.targets[seen] * size + predicted[seen]
        return np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ModelAuditOptions:
    """How the model is run while it is audited."""

    batch_size: int = 16
    """Clips (or images) of the batches that are compared with batches of one; at least 2 are used."""
    device: str = "cpu"
    amp: str = "off"
    """Precision the model runs in; half precision allows larger differences."""
    seed: int = 0
    most_clips: int = 64
    """Clips that are looked at, the first ones; the audits of the input need labels and profit from more."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A loaded model and a few labelled clips."""

    model: LoadedModel
    clips: Sequence[Clip]
    targets: NDArray[np.int64] | None
    """(N,) the model's output that is right for each clip, -1 where it has none; None without labels."""
    labels: LabelSet | None
    options: ModelAuditOptions

    def run(self, clips: Sequence[Clip], *, batch_size: int) -> NDArray[np.float32]:
        """(N, K) outputs, in batches of `batch_size`; an image model's are the mean over a clip's frames.

        Raises ModelError as the model's `forward` does.
        """
        if self.model.spec.is_clip_model:
            return run_units(self, clips, batch_size=batch_size)
        images = [frame[None] for clip in clips for frame in clip]
        outputs = run_units(self, images, batch_size=batch_size)
        ends = np.cumsum([len(clip) for clip in clips])[:-1]
        return np.stack([part.mean(axis=0) for part in np.split(outputs, ends)])

    def units(self, most: int) -> list[Clip]:
        """Up to `most` inputs of one forward pass: clips, or for an image model one frame of each clip and then more."""
        if self.model.spec.is_clip_model:
            return list(self.clips[:most])
        longest = max((len(clip) for clip in self.clips), default=0)
        frames = [clip[place : place + 1] for place in range(longest) for clip in self.clips if place < len(clip)]
        return frames[:most]


def run_units(trial: Trial, units: Sequence[Clip], *, batch_size: int) -> NDArray[np.float32]:
    """(N, K) outputs of clips, or of images given as clips of one frame; per-frame outputs are averaged over the window."""
    import torch

    spec = trial.model.spec
    parts = []
    for start in range(0, len(units), batch_size):
        block = torch.from_numpy(np.stack(units[start : start + batch_size]))
        if spec.layout == "NCTHW":
            block = block.transpose(1, 2).contiguous()
        elif spec.layout == "NCHW":
            block = block.flatten(0, 1)
        output = trial.model.forward(block.to(trial.options.device)).float().cpu().numpy()
        parts.append(output.reshape(len(output), -1, output.shape[-1]).mean(axis=1))
    return np.concatenate(parts).astype(np.float32)
