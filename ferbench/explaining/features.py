"""Features: what goes into the head of a model, one vector per sample.

A layer is given different forms: (B, D) as it is; maps (B, D, h, w) or (B, D, t, h, w) are averaged over their places, as
the pooling before a head does; tokens (B, L, D) over the sequence. Frames in the batch, and a layer that is called once per
frame, are averaged over the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ferbench.errors import ModelError

CHANNELS_LAST = (nn.Linear, nn.LayerNorm)


@dataclass(slots=True)
class FeatureWatch:
    """Collects what one layer is given during forward passes of its network."""

    name: str
    layer: nn.Module
    _given: list[Tensor] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[FeatureWatch]:
        """Watch while the block runs."""

        def keep(layer: nn.Module, given: tuple[object, ...]) -> None:
            if given and isinstance(given[0], Tensor):
                self._given.append(given[0].detach())

        handle = self.layer.register_forward_pre_hook(keep)
        try:
            yield self
        finally:
            handle.remove()

    def forget(self) -> None:
        """Drop what was collected: a pass failed half way."""
        self._given = []

    def take(self, samples: int) -> NDArray[np.float32]:
        """(samples, D) of the passes since the last call, of a batch of so many clips or images; forgets them.

        Raises ModelError when the layer was not called, or its input cannot be shared out among the samples.
        """
        given, self._given = self._given, []
        if not given:
            raise ModelError(
                f"layer {self.name!r} was not called with a tensor: choose another --feature-layer, or --only cams,mistakes"
            )
        vectors = [self._vectors(tensor.float()) for tensor in given]
        if any(len(rows) % samples for rows in vectors) or len({rows.shape for rows in vectors}) > 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given[:4])
            raise ModelError(
                f"layer {self.name!r} is given {shapes} for {samples} samples: choose another --feature-layer"
            )
        mean = torch.stack([rows.reshape(samples, -1, rows.shape[1]).mean(1) for rows in vectors]).mean(0)
        return np.asarray(mean.cpu().numpy(), np.float32)

    def _vectors(self, given: Tensor) -> Tensor:
        """(B, D)."""
        if given.ndim == 1:
            return given[:, None]
        if given.ndim == 2:
            return given
        if given.ndim == 3 or isinstance(self.layer, CHANNELS_LAST):
            return given.flatten(1, -2).mean(1)
        return given.flatten(2).mean(2)


def feature_watch(network: nn.Module, name: str) -> FeatureWatch:
    """A watch of the layer called `name`."""
    return FeatureWatch(name, dict(network.named_modules())[name])
