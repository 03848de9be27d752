"""The residual blocks of ResNet-18 and of networks cut down from it (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, in, H, W) to (N, out, ceil(H / stride), ceil(W / stride)).

    The shortcut is a 1x1 convolution where shapes change, and nothing where they do not.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, maps: Tensor) -> Tensor:
        features = F.relu(self.norm1(self.conv1(maps)))
        return F.relu(self.norm2(self.conv2(features)) + self.shortcut(maps))


def stage(in_channels: int, out_channels: int, *, blocks: int, stride: int = 1) -> nn.Sequential:
    """`blocks` basic blocks, the first of which changes the channels and the size."""
    rest = [BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(in_channels, out_channels, stride), *rest)


def draw_convolutions(network: nn.Module) -> None:
    """Kaiming normal weights by fan-out for every 2D convolution, from torch's global generator."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def halved(size: int, times: int) -> int:
    """A side of `size` pixels after `times` layers of stride 2, each of which rounds up."""
    for _ in range(times):
        size = (size + 1) // 2
    return size
