"""Mixup: pairs of samples and of their targets, blended."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def mixed(clips: Tensor, targets: Tensor, *, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Each sample blended with another of its batch, with one share for the batch drawn from Beta(alpha, alpha).

    `clips` (N, ...), `targets` (N, K) probabilities. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    share = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(clips)))
    other = other.to(clips.device)
    return share * clips + (1 - share) * clips[other], share * targets + (1 - share) * targets[other]
