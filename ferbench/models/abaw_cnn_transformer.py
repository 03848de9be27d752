"""ABAW2021's transformer: the features of nine frames attend to each other, and every frame is judged.

Shuyi Mao, Xinqi Fan, Xiaojiang Peng, "Spatial and Temporal Networks for Facial Expression Recognition in the Wild Videos",
2021, arXiv 2107.05160. Code: https://github.com/xinqi-fan/ABAW2021 (no licence), models/cnn_transformer.py and
transformer_temporal.py.

    frames (N * 9, 3, 224, 224)
    ResNet-50 of VGGFace2      2048; frozen in the published training
    linear                     768
    + code of the time, then   2 blocks: attention of 12 heads, feed-forward of 3072; layer norm before each
    layer norm, linear         logits (N, 9, classes)

The original adds `pe[:x.size(0)]` to x of (N, 9, 768): every frame of a clip gets the code of the clip's place in the
batch, and none of its time. Its logits depend on batch mates, and not on the order of the frames. Ours adds the code of the
time; `quirk=published` does as the original.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
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
    clip_len=9, height=224, width=224, layout="NTCHW", mean=MEAN, std=STD, sampler="center-window", short="repeat-edge",
    output="frames",
)  # fmt: skip

CARD: dict[str, str] = {
    **CNN_CARD,
    "title": "ABAW2021 CNN-Transformer: features of nine frames attend to each other",
    "parameters": "39264327, of which 15756295 are trained: the ResNet is frozen; the original has 1536 more without use",
    "pretraining": "the weights of a trained abaw-cnn: option backbone=FILE; nothing is downloaded",
    "quirk": (
        "quirk=published adds the code of a clip's place in the batch, as the original does, so that logits depend on "
        "batch mates and not on the order of frames; by default the code is that of the time. A checkpoint of the original "
        "needs it, and gives the same logits only in the same batches"
    ),
}

OPTIONS: dict[str, str] = {
    "clip_len": "frames of a window (9)",
    "size": "side of the frames in pixels (224)",
    "width": "channels of the first convolution; all others of the ResNet follow (64)",
    "blocks": "bottlenecks of the four stages (3,4,6,3)",
    "dim": "numbers per frame in the transformer, a multiple of 12 (768)",
    "dropout": "share of activations dropped in the transformer while training (0.5)",
    "frames": "all: logits of every frame; middle: of the middle one alone (all)",
    "quirk": "none, or published: the code of the place in the batch instead of the time (none)",
    "backbone": "file with the weights of the ResNet: a trained abaw-cnn, or VGGFace2's resnet50_ft_dag.pth (none)",
}

BEGINS_WITH = ("backbone",)

_FRAMES, _QUIRKS = ("all", "middle"), ("none", "published")
_HEADS, _DEPTH, _HIDDEN = 12, 2, 4
_LONGEST = 5000
"""Rows of the original's table of codes: the largest batch it takes."""


def sinusoids(rows: int, dim: int) -> Tensor:
    """float32 (rows, dim) code of the places 0, 1, …: sines in the even columns, cosines of the same in the odd ones.

    Wavelengths rise from 2 pi to 20000 pi (Vaswani et al. 2017, arXiv 1706.03762, 3.5).
    """
    places = torch.arange(rows, dtype=torch.float32).unsqueeze(1)
    rates = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    return torch.stack((torch.sin(places * rates), torch.cos(places * rates)), dim=2).flatten(1)


class Attention(nn.Module):
    """Multi-head attention of the frames among themselves: (N, T, dim) to the same. No dropout of its weights."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = _HEADS  # TorchScript knows no names of the module
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        shape = (tokens.shape[0], tokens.shape[1], 3, self.heads, tokens.shape[2] // self.heads)
        query, key, value = self.qkv(tokens).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """Attention and a feed-forward part, each after a layer norm and added to what it was given."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.rise = nn.Linear(dim, _HIDDEN * dim)
        self.fall = nn.Linear(_HIDDEN * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.dropout(self.attention(self.norm1(tokens)))
        hidden = self.dropout(F.gelu(self.rise(self.norm2(tokens))))
        result: Tensor = tokens + self.dropout(self.fall(hidden))
        return result


@dataclass(frozen=True, slots=True)
class TransformerForm:
    """How one of these networks is built; `OPTIONS` says what each means."""

    clip_len: int = 9
    size: int = 224
    dim: int = 768
    dropout: float = 0.5
    frames: str = "all"
    quirk: str = "none"

    def __post_init__(self) -> None:
        for name, known in (("frames", _FRAMES), ("quirk", _QUIRKS)):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"abaw-cnn-transformer: {name} {getattr(self, name)!r} is not one of {', '.join(known)}"
                )
        if self.clip_len < 1 or self.size < 1:
            raise UsageError(
                f"abaw-cnn-transformer: clip_len and size must be positive, got {self.clip_len} and {self.size}"
            )
        if self.dim < _HEADS or self.dim % _HEADS:
            raise UsageError(f"abaw-cnn-transformer: dim must be a multiple of {_HEADS}, got {self.dim}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"abaw-cnn-transformer: dropout must be in [0, 1), got {self.dropout}")


class AbawCnnTransformer(nn.Module):
    """float32 (N, clip_len, 3, size, size), normalised as `INPUT_SPEC` says, to (N, clip_len, num_classes) logits.

    With `frames="middle"` to (N, num_classes), those of the frame clip_len // 2.
    """

    def __init__(self, num_classes: int, form: TransformerForm, backbone: BackboneForm) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(
            INPUT_SPEC, clip_len=form.clip_len, height=form.size, width=form.size,
            output="frames" if form.frames == "all" else "clip",
        )  # fmt: skip
        self.middle = form.clip_len // 2
        self.is_middle_only = form.frames == "middle"
        self.codes_batch = form.quirk == "published"
        self.backbone = Backbone(backbone)
        self.project = nn.Linear(backbone.features, form.dim)
        rows = _LONGEST if self.codes_batch else form.clip_len
        self.codes: Tensor
        self.register_buffer("codes", sinusoids(rows, form.dim), persistent=False)
        self.dropout = nn.Dropout(form.dropout)
        self.blocks = nn.Sequential(*[Block(form.dim, form.dropout) for _ in range(_DEPTH)])
        self.norm = nn.LayerNorm(form.dim, eps=1e-6)
        self.head = nn.Linear(form.dim, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        features = self.project(self.backbone(clips.flatten(0, 1)))
        tokens = features.reshape(clips.shape[0], clips.shape[1], -1)
        if self.codes_batch:
            tokens = tokens + self.codes[: tokens.shape[0]].unsqueeze(1)
        else:
            tokens = tokens + self.codes
        tokens = self.norm(self.blocks(self.dropout(tokens)))
        if self.is_middle_only:
            tokens = tokens[:, self.middle]
        logits: Tensor = self.head(tokens)
        return logits


def build(
    num_classes: int = 7, *, clip_len: int = 9, size: int = 224, width: int = 64, blocks: tuple[int, ...] = BLOCKS,
    dim: int = 768, dropout: float = 0.5, frames: str = "all", quirk: str = "none", backbone: str = "",
) -> AbawCnnTransformer:  # fmt: skip
    """A network with random weights from torch's global generator, drawn by torch's rules as in the original."""
    form = TransformerForm(clip_len=clip_len, size=size, dim=dim, dropout=dropout, frames=frames, quirk=quirk)
    network = AbawCnnTransformer(num_classes, form, BackboneForm(width, blocks))
    if backbone:
        load_backbone(network.backbone, backbone)
    return network


_ORIGINAL = Conversion(
    source="xinqi-fan/ABAW2021 models/cnn_transformer.py",
    rules=(
        *backbone_rules("backbone."),
        (r"proj\.", "project."),
        (r"trans\.blocks\.", "blocks."),
        (r"trans\.norm\.", "norm."),
        (r"fc\.", "head."),
    ),
    # A layer norm that its forward never calls, and the table of codes, which is the same for all.
    ignored=(r"norm_cnn\.", r"trans\.pos_embed\.pe$"),
    inner=(
        *INNER_NAMES,
        (r"\.attn\.qkv\.", ".attention.qkv."),
        (r"\.attn\.proj\.", ".attention.out."),
        (r"\.mlp\.fc1\.", ".rise."),
        (r"\.mlp\.fc2\.", ".fall."),
    ),
)


def convert_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original's `CnnTransformer` under our names; ModelError for other keys."""
    return _ORIGINAL(weights)
