"""The batch statistics that evaluation uses, right from the first epoch on.

Batch normalization keeps a running mean of what it sees, `m` of each new batch and `1 - m` of before, and begins it with
mean 0 and variance 1. With m = 0.01 (Keras's 0.99: mini-Xception, and parts of EFEA-MSM) a fortieth of that beginning is
still in it after 360 batches, which is many where a variance is 0.05: a network that had learnt its 91 pictures by heart
gave every one the same class. So the first 1 / m batches are averaged evenly instead, each counting as much as any other,
as Adam corrects its means. Nothing that is learnt changes by it, only what evaluation sees.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class EvenBeginning:
    """Of a module's running statistics. Where it was stopped it continues: the count of batches is in the weights."""

    def __init__(self, module: nn.Module) -> None:
        self._norms = [
            (norm, float(norm.momentum))
            for norm in module.modules()
            if isinstance(norm, _BatchNorm) and norm.track_running_stats and norm.momentum
        ]
        self._seen = [0] * len(self._norms)

    def begin_epoch(self) -> None:
        """Read the counts; once per epoch, since it waits for a GPU."""
        self._seen = [int(norm.num_batches_tracked or 0) for norm, _ in self._norms]

    def before_batch(self) -> None:
        """Set each momentum for the batch that comes."""
        for place, (norm, momentum) in enumerate(self._norms):
            if norm.training:
                norm.momentum = max(momentum, 1 / (self._seen[place] + 1))
                self._seen[place] += 1

    def end(self) -> None:
        """Each momentum as it was."""
        for norm, momentum in self._norms:
            norm.momentum = momentum
