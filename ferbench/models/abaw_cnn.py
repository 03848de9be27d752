"""ABAW2021's network of single frames: the ResNet-50 of VGGFace2 with a linear layer of expressions.

Shuyi Mao, Xinqi Fan, Xiaojiang Peng, "Spatial and Temporal Networks for Facial Expression Recognition in the Wild Videos",
2021, arXiv 2107.05160. Code: https://github.com/xinqi-fan/ABAW2021 (no licence), models/resnet50_vgg.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor, nn

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.conversion import Conversion
from ferbench.models.vggface2_resnet import (
    BLOCKS,
    CLASSIFIER,
    INNER_NAMES,
    MEAN,
    STD,
    Backbone,
    BackboneForm,
    backbone_rules,
    load_backbone,
)

INPUT_SPEC = InputSpec(height=224, width=224, layout="NCHW", mean=MEAN, std=STD)

CARD: dict[str, str] = {
    "title": "ABAW2021 CNN: ResNet-50 of VGGFace2",
    "paper": (
        "Mao, Fan, Peng, Spatial and Temporal Networks for Facial Expression Recognition in the Wild Videos, 2021, "
        "arXiv 2107.05160"
    ),
    "url": "https://github.com/xinqi-fan/ABAW2021",
    "licence": "none is given with the original code; this is another implementation",
    "parameters": "23522375",
    "published result": (
        "none for this network alone; the ensemble of three: Aff-Wild2 validation macro F1 41.33, accuracy 62.16, ABAW "
        "2021 score 48.21"
    ),
    "selection": "epochs of more than 0.46 on the validation part, which is also the part that is reported",
    "class order": "of the Aff-Wild2 annotations: neutral, anger, disgust, fear, happiness, sadness, surprise",
    "reconstruction": "nothing; the original's weights give the original's logits",
    "pretraining": "VGGFace2, from a file you have: option backbone=resnet50_ft_dag.pth; nothing is downloaded",
}

OPTIONS: dict[str, str] = {
    "size": "side of the frames in pixels (224)",
    "width": "channels of the first convolution; all others follow (64)",
    "blocks": "bottlenecks of the four stages (3,4,6,3)",
    "backbone": "file with the weights of the ResNet to begin with: VGGFace2's resnet50_ft_dag.pth (none)",
}

BEGINS_WITH = ("backbone",)
"""Options that name a file to begin with; a checkpoint needs them no more."""


class AbawCnn(nn.Module):
    """float32 (N, 3, size, size), normalised as `INPUT_SPEC` says, to (N, num_classes) logits."""

    def __init__(self, num_classes: int, *, size: int, form: BackboneForm) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(INPUT_SPEC, height=size, width=size)
        self.backbone = Backbone(form)
        self.head = nn.Linear(form.features, num_classes)

    def forward(self, frames: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(frames))
        return logits


def build(
    num_classes: int = 7, *, size: int = 224, width: int = 64, blocks: tuple[int, ...] = BLOCKS, backbone: str = ""
) -> AbawCnn:
    """A network with random weights from torch's global generator, drawn by torch's rules as in the original."""
    if size < 1:
        raise UsageError(f"abaw-cnn: size must be positive, got {size}")
    network = AbawCnn(num_classes, size=size, form=BackboneForm(width, blocks))
    if backbone:
        load_backbone(network.backbone, backbone)
    return network


_ORIGINAL = Conversion(
    source="xinqi-fan/ABAW2021 models/resnet50_vgg.py",
    rules=(*backbone_rules("backbone."), (CLASSIFIER, "head.")),
    inner=INNER_NAMES,
)


def convert_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original's `Resnet50Vgg`, or of VGGFace2's resnet50_ft_dag.pth itself, under our names.

    The original's last layer is a 1x1 convolution, (K, 2048, 1, 1). ModelError for other keys.
    """
    converted = _ORIGINAL(weights)
    return {key: value.flatten(1) if key == "head.weight" else value for key, value in converted.items()}
