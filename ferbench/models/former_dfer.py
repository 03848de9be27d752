"""Former-DFER: a ResNet-18 with a transformer over the places of each frame, and one over the frames of a clip.

Zengqun Zhao, Qingshan Liu, "Former-DFER: Dynamic Facial Expression Recognition Transformer", ACM Multimedia 2021, pages
1553-1561. Code: https://github.com/zengqunzhao/Former-DFER (MIT), models/ST_Former.py, S_Former.py, T_Former.py.

Sizes are for the published configuration, N clips of 16 frames of 112x112:

    frames (N * 16, 3, 112, 112)
    conv 7x7 stride 2, max-pool         64 x 28 x 28
    stage 1, 2, 3 (2 blocks each)       64 x 28 x 28, 128 x 14 x 14, 256 x 7 x 7
    + places, spatial transformer       49 tokens of 256, 1 block
    stage 4, mean over the places       512
    class token, + times                17 tokens of 512
    temporal transformer                3 blocks
    class token -> linear               logits (N, classes)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.conversion import Conversion
from ferbench.models.residual import draw_convolutions, halved, stage
from ferbench.models.transformer import ORIGINAL_NAMES, Transformer

INPUT_SPEC = InputSpec(clip_len=16, height=112, width=112, layout="NTCHW", sampler="former", stride=2, short="zero")

CARD: dict[str, str] = {
    "title": "Former-DFER (ST-Former)",
    "paper": (
        "Zhao, Liu, Former-DFER: Dynamic Facial Expression Recognition Transformer, ACM Multimedia 2021, pages 1553-1561"
    ),
    "url": "https://github.com/zengqunzhao/Former-DFER",
    "licence": "MIT (the original code); this is another implementation",
    "parameters": "18031943",
    "published result": (
        "DFEW, mean of five folds: WAR 65.70, UAR 53.69; FERV39k: WAR 45.72, UAR 36.88 (repository), 46.85 and 37.20 "
        "(DFER-CLIP's table); AFEW: 50.92 (log of the repository)"
    ),
    "selection": "the epoch of the best accuracy on the test part, by the repository's training script",
    "class order": "of the published weights: happy, sad, neutral, anger, surprise, disgust, fear",
    "reconstruction": "nothing; the original's weights give the original's logits",
}

OPTIONS: dict[str, str] = {
    "clip_len": "frames of a clip (16)",
    "size": "side of the frames in pixels (112)",
    "width": "channels of the first stage, a multiple of 8; all others follow (64)",
    "dropout": "share of activations dropped in the transformers while training (0, as published)",
}

_HEADS = 8


class FormerDFER(nn.Module):
    """float32 (N, clip_len, 3, size, size) in [0, 1] to (N, num_classes) logits."""

    def __init__(self, num_classes: int, *, clip_len: int, size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(INPUT_SPEC, clip_len=clip_len, height=size, width=size)
        self.clip_len = clip_len
        self.conv = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.stage1 = stage(width, width, blocks=2)
        self.stage2 = stage(width, 2 * width, blocks=2, stride=2)
        self.stage3 = stage(2 * width, 4 * width, blocks=2, stride=2)
        self.stage4 = stage(4 * width, 8 * width, blocks=2, stride=2)
        self.places = nn.Parameter(torch.randn(1, halved(size, 4) ** 2, 4 * width))
        self.spatial = Transformer(
            4 * width, depth=1, heads=_HEADS, head_dim=width // 2, hidden=8 * width, dropout=dropout
        )
        self.token = nn.Parameter(torch.randn(1, 1, 8 * width))
        self.times = nn.Parameter(torch.randn(1, clip_len + 1, 8 * width))
        self.temporal = Transformer(
            8 * width, depth=3, heads=_HEADS, head_dim=width, hidden=16 * width, dropout=dropout
        )
        self.head = nn.Linear(8 * width, num_classes)
        draw_convolutions(self)

    def forward(self, clips: Tensor) -> Tensor:
        features = self.of_frames(clips.flatten(0, 1))
        features = features.reshape(-1, self.clip_len, features.shape[1])
        tokens = torch.cat((self.token.expand(features.shape[0], -1, -1), features), dim=1) + self.times
        logits: Tensor = self.head(self.temporal(tokens)[:, 0])
        return logits

    def of_frames(self, frames: Tensor) -> Tensor:
        """(F, 3, size, size) frames to (F, 8 * width) features, each from its frame alone."""
        maps = F.max_pool2d(F.relu(self.norm(self.conv(frames))), 3, stride=2, padding=1)
        maps = self.stage3(self.stage2(self.stage1(maps)))
        tokens = self.spatial(maps.flatten(2).transpose(1, 2) + self.places)
        maps = self.stage4(tokens.transpose(1, 2).reshape(maps.shape))
        return torch.mean(maps, dim=(2, 3))


def build(
    num_classes: int = 7, *, clip_len: int = 16, size: int = 112, width: int = 64, dropout: float = 0.0
) -> FormerDFER:
    """A network with random weights, from torch's global generator, drawn as the original draws them."""
    if width < _HEADS or width % _HEADS:
        raise UsageError(f"former-dfer: width must be a multiple of {_HEADS}, got {width}")
    if clip_len < 1 or size < 1 or not 0 <= dropout < 1:
        raise UsageError(
            f"former-dfer: clip_len and size must be positive and dropout in [0, 1), got {clip_len}, {size}, {dropout}"
        )
    return FormerDFER(num_classes, clip_len=clip_len, size=size, width=width, dropout=dropout)


RESIDUAL_NAMES = (
    (r"(stage\d\.\d)\.bn(\d)\.", r"\1.norm\2."),
    (r"(stage\d\.\d)\.downsample\.", r"\1.shortcut."),
)
"""(pattern, ours) of the names inside a stage, as torchvision and the repositories that copy it have them."""

ORIGINAL = Conversion(
    source="zengqunzhao/Former-DFER",
    rules=(
        (r"s_former\.conv1\.", "conv."),
        (r"s_former\.bn1\.", "norm."),
        (r"s_former\.layer(\d)\.", r"stage\1."),
        (r"s_former\.pos_embedding$", "places"),
        (r"s_former\.spatial_transformer", "spatial"),
        (r"t_former\.cls_token$", "token"),
        (r"t_former\.pos_embedding$", "times"),
        (r"t_former\.spatial_transformer", "temporal"),
        (r"fc\.", "head."),
    ),
    inner=(*RESIDUAL_NAMES, *ORIGINAL_NAMES),
)


def convert_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original repository's `GenerateModel` under our names; ModelError for other keys."""
    return ORIGINAL(weights)
