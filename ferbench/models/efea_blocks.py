"""The attention that EFEA-MSM puts into MobileNetV2: two kinds that modulate maps, and one that joins two maps.

Written from the pieces in xhuiscode/EFEA-MSM model/triplet_block.py, subspace_block.py and multi_scale_polymerization.py,
and from the papers these come from:

- triplet attention: Misra et al., "Rotate to Attend", WACV 2021, arXiv 2010.03045;
- subspace attention (ULSAM): Saini et al., WACV 2020, arXiv 2006.15102;
- attentional feature fusion: Dai et al., WACV 2021, arXiv 2009.14082.

Every block takes float32 (N, C, H, W) and gives the same shape. A convolution before a batch normalisation has no bias
here: the normalisation takes any bias away. `fold_biases` moves those of the originals to where they count.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_KERNEL = 7
_FIRST_SCALE = 0.1


class Gate(nn.Module):
    """One of the three branches: maps times a gate that is the same along one dimension.

    Along dimension 1, 2 or 3 of (N, C, H, W) the largest and the mean are taken; a 7x7 convolution runs over the two
    others, as (H, W), (C, W) or (H, C).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.conv = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, maps: Tensor) -> Tensor:
        largest = torch.max(maps, dim=self.dim)[0]
        seen = torch.stack((largest, torch.mean(maps, dim=self.dim)), dim=1)
        if self.dim == 3:
            seen = seen.transpose(2, 3)
        gate = torch.sigmoid(self.norm(self.conv(seen)))
        if self.dim == 3:
            gate = gate.transpose(2, 3)
        return maps * gate.squeeze(1).unsqueeze(self.dim)


class TripletAttention(nn.Module):
    """The mean of three gated copies: channels with columns, rows with channels, rows with columns."""

    def __init__(self) -> None:
        super().__init__()
        self.channels_columns = Gate(2)
        self.rows_channels = Gate(3)
        self.rows_columns = Gate(1)

    def forward(self, maps: Tensor) -> Tensor:
        gated: Tensor = self.rows_columns(maps) + self.channels_columns(maps) + self.rows_channels(maps)
        return gated / 3


class Subspace(nn.Module):
    """Maps plus maps times one softmax over the places, the same for all channels."""

    def __init__(self, channels: int, *, momentum: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.norm1 = nn.BatchNorm2d(channels, momentum=momentum)
        self.pointwise = nn.Conv2d(channels, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(1, momentum=momentum)

    def forward(self, maps: Tensor) -> Tensor:
        seen = F.max_pool2d(F.relu(self.norm1(self.depthwise(maps))), 3, stride=1, padding=1)
        seen = F.relu(self.norm2(self.pointwise(seen)))
        places = torch.softmax(seen.flatten(2), dim=2).reshape(seen.shape)
        return maps + maps * places


class SubspaceAttention(nn.Module):
    """Channels in `groups` of neighbours, each with its own `Subspace`.

    `momentum` is the share of a new batch in the statistics that evaluation uses.
    """

    def __init__(self, channels: int, *, groups: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.groups = groups
        self.subspaces = nn.ModuleList(Subspace(channels // groups, momentum=momentum) for _ in range(groups))

    def forward(self, maps: Tensor) -> Tensor:
        parts = torch.chunk(maps, self.groups, dim=1)
        return torch.cat([subspace(parts[number]) for number, subspace in enumerate(self.subspaces)], dim=1)


class ChannelAggregator(nn.Module):
    """Two maps become one: 2 w x + 2 (1 - w) shortcut, with a weight w per channel and place.

    w is the sigmoid of two scales of x + shortcut: what a place holds, and what the whole map does on average. With w of
    1/2 it is the plain sum, and it begins near that: with torch's scales of 1 the weights of ten of these are random ones,
    and a small training set is not enough to get out of that.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(channels, channels, 1, bias=False)
        self.local_norm = nn.BatchNorm2d(channels)
        self.whole = nn.Conv2d(channels, channels, 1, bias=False)
        self.whole_norm = nn.BatchNorm2d(channels)
        for norm in (self.local_norm, self.whole_norm):
            nn.init.constant_(norm.weight, _FIRST_SCALE)

    def forward(self, maps: Tensor, shortcut: Tensor) -> Tensor:
        both = maps + shortcut
        whole = self.whole(torch.mean(both, dim=(2, 3), keepdim=True))
        if self.training and whole.shape[0] == 1:
            # A single number per channel has no deviation: an epoch's last batch of one is normalised as in evaluation.
            norm = self.whole_norm
            whole = F.batch_norm(
                whole, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
            )
        else:
            whole = self.whole_norm(whole)
        weight = torch.sigmoid(self.local_norm(self.local(both)) + whole)
        return 2 * maps * weight + 2 * shortcut * (1 - weight)


NORM_OF = {
    "depthwise": "norm1", "pointwise": "norm2", "local": "local_norm", "whole": "whole_norm",
}  # fmt: skip
"""Convolution -> the batch normalisation behind it, by the last part of their names."""


def fold_biases(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network without biases before a normalisation: the running mean is less by the bias."""
    folded = dict(weights)
    for key, value in weights.items():
        front, _, last = key.removesuffix(".bias").rpartition(".")
        if key.endswith(".bias") and last in NORM_OF:
            mean = f"{front}.{NORM_OF[last]}.running_mean"
            if mean in weights:
                del folded[key]
                folded[mean] = weights[mean] - value
    return folded
