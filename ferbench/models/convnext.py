"""ConvNeXt without its classifier: the trunk that MFER is built on, and its weights under four sets of names.

Zhuang Liu et al., "A ConvNet for the 2020s", CVPR 2022, arXiv 2201.03545. Layers are torchvision's. Sizes are for
ConvNeXt-B and 224x224:

    images (N, 3, 224, 224)
    conv 4x4 stride 4, norm      128 x 56 x 56
    stage 1, 3 blocks            128 x 56 x 56
    norm, conv 2x2 stride 2; stage 2, 3 blocks    256 x 28 x 28
    norm, conv 2x2 stride 2; stage 3, 27 blocks   512 x 14 x 14     `fine` ends here
    norm, conv 2x2 stride 2; stage 4, 3 blocks    1024 x 7 x 7      `coarse`
    mean over the places, norm   features (N, 1024)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from ferbench.errors import UsageError
from ferbench.models.checkpoints import read_weights
from ferbench.models.conversion import Conversion
from ferbench.models.files import check_file
from ferbench.models.keys import Loading, load_into

DEPTHS = (3, 3, 27, 3)
"""Blocks of the four stages of ConvNeXt-B and its larger kin."""
_LAYER_SCALE = 1e-6
_FINE = 6
"""torchvision's `features`: stem, stage 1, halving, stage 2, halving, stage 3, then halving, stage 4."""


@dataclass(frozen=True, slots=True)
class TrunkForm:
    """How the trunk is built."""

    width: int = 128
    """Channels of stage 1; each further stage has twice those before it."""
    depths: tuple[int, ...] = DEPTHS
    drop_path: float = 0.0
    """Share of the last block's residuals dropped while training; earlier ones grow to it from 0, as in the paper."""

    def __post_init__(self) -> None:
        if len(self.depths) != len(DEPTHS) or min(self.depths) < 1:
            raise UsageError(f"depths are four positive numbers, one per stage, such as 3,3,27,3; got {self.depths}")
        if self.width < 2 or self.width % 2:
            raise UsageError(f"width must be a positive even number, got {self.width}")
        if not 0 <= self.drop_path < 1:
            raise UsageError(f"drop_path must be in [0, 1), got {self.drop_path}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the maps after each stage: 128, 256, 512, 1024 at the width of ConvNeXt-B."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))


class Trunk(nn.Module):
    """float32 (N, 3, H, W) images to (N, 8 * width) features; H and W at least 32."""

    def __init__(self, form: TrunkForm) -> None:
        super().__init__()
        wide = form.channels
        stages = [CNBlockConfig(*pair) for pair in zip(wide, (*wide[1:], None), form.depths, strict=True)]
        whole = ConvNeXt(stages, stochastic_depth_prob=form.drop_path, layer_scale=_LAYER_SCALE, num_classes=1)
        self.fine = whole.features[:_FINE]
        self.coarse = whole.features[_FINE:]
        self.norm = nn.LayerNorm(wide[-1], eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        return self.pooled(self.coarse(self.fine(images)))

    def pooled(self, maps: Tensor) -> Tensor:
        """(N, 8 * width, h, w) maps to features: the mean over the places, normalised."""
        features: Tensor = self.norm(torch.mean(maps, dim=(2, 3)))
        return features


def _rules(prefix: str) -> list[tuple[str, str]]:
    """Fronts of keys, to ours below `prefix`: Meta's and MFER's names, timm's, torchvision's, in this order."""
    rules = []
    for stage in range(4):
        halving, blocks = 2 * stage, 2 * stage + 1
        part = f"{prefix}{'fine' if blocks < _FINE else 'coarse'}"
        rules += [
            (rf"downsample_layers\.{stage}\.", f"{part}.{halving}."),
            (rf"stages\.{stage}\.blocks\.(\d+)\.", rf"{part}.{blocks}.\1."),
            (rf"stages\.{stage}\.downsample\.", f"{part}.{halving}."),
            (rf"stages\.{stage}\.(\d+)\.(?=dwconv|norm\.|pwconv|gamma)", rf"{part}.{blocks}.\1."),
            (rf"features\.{halving}\.", f"{part}.{halving}."),
            (rf"features\.{blocks}\.", f"{part}.{blocks}."),
        ]
    norms = [(rf"{name}\.(?=weight|bias)", f"{prefix}norm.") for name in ("norm", r"head\.norm", r"classifier\.0")]
    return [*rules, (r"stem\.", f"{prefix}fine.0."), *norms]


INNER_NAMES = (
    (r"\.(?:dwconv|conv_dw)\.", ".block.0."),
    (r"((?:fine|coarse)\.\d\.\d+)\.norm\.", r"\1.block.2."),
    (r"\.(?:pwconv1|mlp\.fc1)\.", ".block.3."),
    (r"\.(?:pwconv2|mlp\.fc2)\.", ".block.5."),
    (r"\.gamma$", ".layer_scale"),
)
"""(pattern, ours) of the names inside a block."""


def trunk_rules(prefix: str) -> tuple[tuple[str, str], ...]:
    """Rules of a `Conversion` that bring any of the known names to those of a `Trunk` at `prefix`."""
    return tuple(_rules(prefix))


def shaped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The scales of residuals as torchvision has them, (C, 1, 1); Meta and timm store (C,)."""
    return {key: value.reshape(-1, 1, 1) if key.endswith(".layer_scale") else value for key, value in weights.items()}


_TRUNK = Conversion(
    source="ConvNeXt in torchvision, timm or facebookresearch/ConvNeXt",
    rules=trunk_rules(""),
    ignored=(r"head\.(?:fc\.)?(?:weight|bias)$", r"classifier\.2\."),
    inner=INNER_NAMES,
)


def convert_trunk(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ConvNeXt of torchvision, of timm, or of facebookresearch/ConvNeXt, under the names of `Trunk`.

    The classifier is left out: it is of other classes. ModelError for other keys.
    """
    return shaped(_TRUNK(weights))


def load_trunk(trunk: Trunk, path: str) -> None:
    """Fill `trunk` from the file that the user named; every tensor of it must be there.

    Raises ModelError for a file that cannot be read or holds another network.
    """
    check_file(Path(path))
    weights = read_weights(Path(path))
    load_into(trunk, weights.state, Loading(path, wrapper=weights.wrapper, convert=convert_trunk))
