"""ABAW2021's recurrent network: the features of nine frames through a GRU in both directions; the middle frame is judged.

Shuyi Mao, Xinqi Fan, Xiaojiang Peng, "Spatial and Temporal Networks for Facial Expression Recognition in the Wild Videos",
2021, arXiv 2107.05160. Code: https://github.com/xinqi-fan/ABAW2021 (no licence), models/cnn_rnn.py.

    frames (N * 9, 3, 224, 224)
    ResNet-50 of VGGFace2          2048; frozen in the published training
    linear, ReLU                   768
    GRU, both directions           2 x 384 per frame, ReLU
    linear, of the middle frame    logits (N, classes)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.abaw_cnn import CARD as CNN_CARD
from ferbench.models.conversion import Conversion
from ferbench.models.vggface2_resnet import (
    BLOCKS,
    INNER_NAMES,
    MEAN,
    STD,
    Backbone,
    BackboneForm,
    backbone_rules,
    load_backbone,
)

INPUT_SPEC = InputSpec(
    clip_len=9, height=224, width=224, layout="NTCHW", mean=MEAN, std=STD, sampler="center-window", short="repeat-edge"
)

CARD: dict[str, str] = {
    **CNN_CARD,
    "title": "ABAW2021 CNN-RNN: features of nine frames through a GRU in both directions",
    "parameters": "27745863, of which 4237831 are trained: the ResNet is frozen",
    "pretraining": "the weights of a trained abaw-cnn: option backbone=FILE; nothing is downloaded",
}

OPTIONS: dict[str, str] = {
    "clip_len": "frames of a window, of which the middle one is judged (9)",
    "size": "side of the frames in pixels (224)",
    "width": "channels of the first convolution; all others of the ResNet follow (64)",
    "blocks": "bottlenecks of the four stages (3,4,6,3)",
    "dim": "numbers per frame before and after the GRU, an even number (768)",
    "backbone": "file with the weights of the ResNet: a trained abaw-cnn, or VGGFace2's resnet50_ft_dag.pth (none)",
}

BEGINS_WITH = ("backbone",)


class AbawCnnRnn(nn.Module):
    """float32 (N, clip_len, 3, size, size), normalised as `INPUT_SPEC` says, to (N, num_classes) logits."""

    def __init__(self, num_classes: int, *, clip_len: int, size: int, dim: int, form: BackboneForm) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(INPUT_SPEC, clip_len=clip_len, height=size, width=size)
        self.middle = clip_len // 2
        self.backbone = Backbone(form)
        self.project = nn.Linear(form.features, dim)
        self.gru = nn.GRU(dim, dim // 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        features = F.relu(self.project(self.backbone(clips.flatten(0, 1))))
        states = self.gru(features.reshape(clips.shape[0], clips.shape[1], -1))[0]
        logits: Tensor = self.head(F.relu(states[:, self.middle]))
        return logits


def build(
    num_classes: int = 7, *, clip_len: int = 9, size: int = 224, width: int = 64, blocks: tuple[int, ...] = BLOCKS,
    dim: int = 768, backbone: str = "",
) -> AbawCnnRnn:  # fmt: skip
    """A network with random weights from torch's global generator, drawn by torch's rules as in the original."""
    if clip_len < 1 or size < 1:
        raise UsageError(f"abaw-cnn-rnn: clip_len and size must be positive, got {clip_len} and {size}")
    if dim < 2 or dim % 2:
        raise UsageError(f"abaw-cnn-rnn: dim must be an even number, half of it per direction, got {dim}")
    network = AbawCnnRnn(num_classes, clip_len=clip_len, size=size, dim=dim, form=BackboneForm(width, blocks))
    if backbone:
        load_backbone(network.backbone, backbone)
    return network


_ORIGINAL = Conversion(
    source="xinqi-fan/ABAW2021 models/cnn_rnn.py",
    rules=(
        *backbone_rules("backbone."),
        (r"mlp\.fc_0\.", "project."),
        (r"gru\.GRU_layer\.", "gru."),
        (r"gru\.fc_1\.", "head."),
    ),
    inner=INNER_NAMES,
)


def convert_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original's `CnnRnn` under our names; ModelError for other keys."""
    return _ORIGINAL(weights)
