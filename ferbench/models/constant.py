"""A model that always says the first class: the harness can be tried without weights, and it is the floor of any table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ferbench.inputspec import InputSpec

INPUT_SPEC = InputSpec(clip_len=1, height=8, width=8, layout="NTCHW")

NEEDS_WEIGHTS = False

CARD: dict[str, str] = {
    "title": "Always the first class",
    "licence": "MIT",
    "published result": "none; its UAR is 1 / number of classes by construction",
}


class Constant(nn.Module):
    """float32 (N, T, C, H, W) to (N, num_classes) logits that do not depend on the input."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_classes))
        with torch.no_grad():
            self.bias[0] = 1.0

    def forward(self, clips: Tensor) -> Tensor:
        return self.bias.expand(clips.shape[0], -1)


def build(num_classes: int = 7) -> Constant:
    """The model for that many classes."""
    return Constant(num_classes)
