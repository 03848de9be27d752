"""What a network with several heads gives its loss."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class HeadsAndDistances(NamedTuple):
    """Logits of each head, and how far each sample is from each class.

    A network without distances gives its loss a plain tuple of the heads' logits.
    """

    heads: tuple[Tensor, ...]
    """(N, K) logits each; what is predicted is their sum."""
    distances: Tensor
    """(N, K) half the squared distance of the features to the centre of each class."""
