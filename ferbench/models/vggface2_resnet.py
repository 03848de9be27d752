"""ResNet-50 as it was trained on VGGFace2 in Caffe: the part of the ABAW2021 networks that sees single frames.

Qiong Cao, Li Shen, Weidi Xie, Omkar Parkhi, Andrew Zisserman, "VGGFace2: A dataset for recognising faces across pose and
age", FG 2018, arXiv 1710.08092; He et al. 2016, arXiv 1512.03385. Layers and names of the original as in
xinqi-fan/ABAW2021 models/resnet50_ft_dag.py.

It differs from torchvision's ResNet-50 in two places: a block halves the size in its first 1x1 convolution, not in the
3x3 one, and the max-pool has no padding and rounds up. Sizes are for 224x224:

    frames (N, 3, 224, 224)
    conv 7x7 stride 2             64 x 112 x 112
    max-pool 3, stride 2          64 x 56 x 56
    stages of 3, 4, 6, 3 blocks   256 x 56 x 56, 512 x 28 x 28, 1024 x 14 x 14, 2048 x 7 x 7
    mean over the places          features (N, 2048)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.errors import ModelError, UsageError
from ferbench.models.checkpoints import read_weights
from ferbench.models.conversion import Conversion
from ferbench.models.files import check_file
from ferbench.models.keys import Loading, load_into

BLOCKS = (3, 4, 6, 3)
"""Of ResNet-50."""
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
"""Of the pixels, 0..1, as the repository's loaders for expressions have them (main_Aff_Wild2_EXPR.py)."""


@dataclass(frozen=True, slots=True)
class BackboneForm:
    """How the network of single frames is built."""

    width: int = 64
    """Channels of the first convolution; all others follow."""
    blocks: tuple[int, ...] = BLOCKS
    """Bottlenecks of each of the four stages."""

    def __post_init__(self) -> None:
        if len(self.blocks) != len(BLOCKS) or min(self.blocks) < 1:
            raise UsageError(f"blocks are four positive numbers, one per stage, such as 3,4,6,3; got {self.blocks}")
        if self.width < 1:
            raise UsageError(f"width must be positive, got {self.width}")

    @property
    def features(self) -> int:
        """Numbers that describe a frame: 2048 at the published width."""
        return 32 * self.width


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: (N, in, H, W) to (N, 4 * inner, ceil(H / stride), ceil(W / stride)).

    The stride is that of the first convolution.
    """

    def __init__(self, in_channels: int, inner: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, 1, stride=stride, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * inner)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != 4 * inner:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, 4 * inner, 1, stride=stride, bias=False), nn.BatchNorm2d(4 * inner)
            )

    def forward(self, maps: Tensor) -> Tensor:
        features = F.relu(self.norm1(self.conv1(maps)))
        features = F.relu(self.norm2(self.conv2(features)))
        return F.relu(self.norm3(self.conv3(features)) + self.shortcut(maps))


class Backbone(nn.Module):
    """float32 (N, 3, H, W) frames to (N, 32 * width) features, each from its frame alone."""

    def __init__(self, form: BackboneForm) -> None:
        super().__init__()
        width = form.width
        self.conv = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        stages = []
        channels = width
        for number, blocks in enumerate(form.blocks):
            inner = width * 2**number
            first = Bottleneck(channels, inner, stride=1 if number == 0 else 2)
            channels = 4 * inner
            stages.append(nn.Sequential(first, *[Bottleneck(channels, inner) for _ in range(blocks - 1)]))
        self.stages = nn.Sequential(*stages)

    def forward(self, frames: Tensor) -> Tensor:
        maps = F.relu(self.norm(self.conv(frames)))
        maps = self.stages(F.max_pool2d(maps, 3, stride=2, ceil_mode=True))
        return torch.mean(maps, dim=(2, 3))


def backbone_rules(target: str) -> tuple[tuple[str, str], ...]:
    """Rules of a `Conversion` for the names of models/resnet50_ft_dag.py, alone or below `cnn.`, to ours below `target`.

    Patterns of a front and ours; the names inside a block are those of `INNER_NAMES`.
    """
    blocks = [
        (rf"(?:cnn\.)?conv{stage + 2}_{block + 1}_", f"{target}stages.{stage}.{block}.")
        for stage, count in enumerate(BLOCKS)
        for block in range(count)
    ]
    stem = ((r"(?:cnn\.)?conv1_7x7_s2\.", f"{target}conv."), (r"(?:cnn\.)?conv1_7x7_s2_bn\.", f"{target}norm."))
    return (*stem, *blocks)


INNER_NAMES = (
    (r"1x1_reduce\.", "conv1."), (r"1x1_reduce_bn\.", "norm1."),
    (r"3x3\.", "conv2."), (r"3x3_bn\.", "norm2."),
    (r"1x1_increase\.", "conv3."), (r"1x1_increase_bn\.", "norm3."),
    (r"1x1_proj\.", "shortcut.0."), (r"1x1_proj_bn\.", "shortcut.1."),
)  # fmt: skip
"""(pattern, ours) of the names inside a block."""

CLASSIFIER = r"(?:cnn\.)?classifier\."
"""The last layer of the VGGFace2 network: 8631 people, or the expressions it was fine-tuned on."""

_VGGFACE2 = Conversion(
    source="models/resnet50_ft_dag.py of xinqi-fan/ABAW2021",
    rules=(*backbone_rules(""), (r"backbone\.", "")),
    ignored=(CLASSIFIER, r"head\."),
    inner=INNER_NAMES,
)


_WRAPPED = re.compile(r"\A(?:module\.|_orig_mod\.)+")
"""What DataParallel and torch.compile put before every key."""


def convert_backbone(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of resnet50_ft_dag.pth, of the repository's CNN, or of our `abaw-cnn`, to those of `Backbone`.

    The last layer is left out: it is of other classes. ModelError for other keys.
    """
    return _VGGFACE2(weights)


def load_backbone(backbone: Backbone, path: str) -> None:
    """Fill `backbone` from the file that the user named; every tensor of it must be there.

    Keys as `convert_backbone` takes them, below `module.` too. Raises UsageError when there is no such file,
    ModelError for one that cannot be read or holds another network.
    """
    check_file(Path(path))
    weights = read_weights(Path(path))
    try:
        state = convert_backbone({_WRAPPED.sub("", key): value for key, value in weights.state.items()})
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}") from error
    load_into(backbone, state, Loading(path, wrapper=weights.wrapper))
