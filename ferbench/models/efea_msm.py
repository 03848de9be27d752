"""EFEA-MSM: MobileNetV2 for grey faces, with attention in its blocks. The places of that attention are a reconstruction.

"Enhanced Facial Expression Analysis via Multi-Scale Polymerization and Cross-Dimensional Modulation". Code:
https://github.com/xhuiscode/EFEA-MSM (MIT): it holds the parts, and not the network that they make. MobileNetV2: Sandler
et al., CVPR 2018, arXiv 1801.04381; its layers are torchvision's.

    images (N, 1, 128, 128)
    conv 3x3 stride 2                       32 x 64 x 64
    17 inverted residual blocks             320 x 4 x 4
    conv 1x1, mean over the places          features (N, 1280)
    dropout, linear                         logits (N, classes)

A block is an expansion, a depthwise and a projection, with a shortcut around where shapes allow. Here one may have

    maps = modulator(projection(...))       triplet attention, then subspace attention, at the end of its path
    aggregator(maps, shortcut)              in place of maps + shortcut

The parts at those places are what the repository hints at: its MobileNetV2 has two other attentions, commented out, behind
the projection, and its aggregator is that of a residual sum (`ResGlobLocaChaFuse(x, residual)`). Which blocks have them,
nothing says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.checkpoints import read_weights
from ferbench.models.conversion import Conversion
from ferbench.models.efea_blocks import ChannelAggregator, SubspaceAttention, TripletAttention, fold_biases
from ferbench.models.files import check_file
from ferbench.models.keys import Loading, load_into

INPUT_SPEC = InputSpec(height=128, width=128, layout="NCHW", channels="grey")

CARD: dict[str, str] = {
    "title": "EFEA-MSM: MobileNetV2 with cross-dimensional modulation and multi-scale aggregation; a reconstruction",
    "paper": "Enhanced Facial Expression Analysis via Multi-Scale Polymerization and Cross-Dimensional Modulation",
    "url": "https://github.com/xhuiscode/EFEA-MSM",
    "licence": "MIT (the original code); this is another implementation",
    "parameters": "2410767 for 7 classes; 2232263 without the attention (placement=none)",
    "published result": "accuracy on FER2013 75.01, on CK+ with ten folds 98.97; no code that was released computes either",
    "selection": "the best epoch on the test part, by the repository's scripts",
    "class order": "of class folders in alphabetical order, by the repository's scripts",
    "reconstruction": (
        "where the attention is: the repository holds the parts and no network made of them. Option placement says where. "
        "The parts and MobileNetV2 are the original's: their weights give their numbers"
    ),
    "quirk": (
        "published: the statistics of subspace attention forget 90 % at every batch, as its authors' code has it; by "
        "default 10 %, as everywhere else. No score of given weights changes"
    ),
}

BLOCKS = 17
"""Inverted residual blocks of MobileNetV2, numbered from 1 as in its `features`."""
SHORTCUTS = (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)
"""Those with a shortcut: stride 1, as many channels out as in."""
PLACEMENTS: dict[str, tuple[int, ...]] = {
    "shortcuts": SHORTCUTS,
    "stages": (1, 3, 6, 10, 13, 16, 17),
    "all": tuple(range(1, BLOCKS + 1)),
    "none": (),
}
"""Name -> blocks that have the attention: those with a shortcut, the last of each stage, all, none."""
PARTS = ("both", "modulator", "aggregator")

OPTIONS: dict[str, str] = {
    "size": "side of the images in pixels, at least 33 (128)",
    "width": "factor of all channels, which are then rounded to multiples of 8 (1.0)",
    "placement": f"blocks with attention: {', '.join(PLACEMENTS)}, or numbers of 1 to {BLOCKS}, such as 14,17 (shortcuts)",
    "parts": f"{', '.join(PARTS)}: which of the attention there is (both)",
    "groups": "subspaces that the channels are cut into, a divisor of 8 (4)",
    "dropout": "share of the features dropped while training (0.6)",
    "quirk": "none, or published: batch statistics of subspace attention forget 90 % at every batch (none)",
    "backbone": "file with torchvision's MobileNetV2 to begin with; its colours are summed to grey (none)",
}

BEGINS_WITH = ("backbone",)
"""Options that name a file to begin with; a checkpoint needs them no more."""

QUIRKS = ("none", "published")


@dataclass(frozen=True, slots=True)
class EfeaForm:
    """How the network is built."""

    size: int = 128
    width: float = 1.0
    placement: str = "shortcuts"
    parts: str = "both"
    groups: int = 4
    dropout: float = 0.6
    quirk: str = "none"

    def __post_init__(self) -> None:
        for name, known in (("parts", PARTS), ("quirk", QUIRKS)):
            if getattr(self, name) not in known:
                raise UsageError(f"efea-msm: {name} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        if self.size < 33:
            raise UsageError(
                f"efea-msm: size must be at least 33, got {self.size}: its maps end 32 times smaller, and attention over a "
                "single place is none"
            )
        if not 0.05 <= self.width <= 10:
            raise UsageError(f"efea-msm: width is a factor of 0.05 to 10, got {self.width}")
        if self.groups not in (1, 2, 4, 8):
            raise UsageError(f"efea-msm: groups is 1, 2, 4 or 8, as channels are multiples of 8; got {self.groups}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"efea-msm: dropout must be in [0, 1), got {self.dropout}")
        _ = self.placed

    @property
    def placed(self) -> tuple[int, ...]:
        """Numbers of the blocks with attention. UsageError for a name or number that is none."""
        if self.placement in PLACEMENTS:
            return PLACEMENTS[self.placement]
        numbers = [int(part) if part.strip().isdigit() else 0 for part in self.placement.split(",")]
        if not all(1 <= number <= BLOCKS for number in numbers):
            raise UsageError(
                f"efea-msm: placement is one of {', '.join(PLACEMENTS)}, or numbers of blocks from 1 to {BLOCKS} such as "
                f"14,17; got {self.placement!r}"
            )
        return tuple(sorted(set(numbers)))

    @property
    def momentum(self) -> float:
        """Share of a new batch in the statistics of subspace attention."""
        return 0.9 if self.quirk == "published" else 0.1


class Block(nn.Module):
    """An inverted residual block, (N, in, H, W) to (N, out, ceil(H / stride), ceil(W / stride)), with attention or not."""

    def __init__(self, plain: InvertedResidual, *, attends: bool, form: EfeaForm) -> None:
        super().__init__()
        self.path = plain.conv
        self.has_shortcut = plain.use_res_connect
        self.modulator: nn.Module = nn.Identity()
        self.aggregator: ChannelAggregator | None = None
        if attends and form.parts != "aggregator":
            subspaces = SubspaceAttention(plain.out_channels, groups=form.groups, momentum=form.momentum)
            self.modulator = nn.Sequential(TripletAttention(), subspaces)
        if attends and form.parts != "modulator" and self.has_shortcut:
            self.aggregator = ChannelAggregator(plain.out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = self.modulator(self.path(maps))
        if not self.has_shortcut:
            return changed
        if self.aggregator is not None:
            joined: Tensor = self.aggregator(changed, maps)
            return joined
        return maps + changed


class EfeaMsm(nn.Module):
    """float32 (N, 1, size, size) grey images in [0, 1] to (N, num_classes) logits."""

    def __init__(self, num_classes: int, *, form: EfeaForm) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(INPUT_SPEC, height=form.size, width=form.size)
        # Draws its weights as the original's MobileNetV2 does: Kaiming normal by fan-out, the last layer normal x 0.01.
        plain = MobileNetV2(num_classes=num_classes, width_mult=form.width)
        self.stem = plain.features[0]
        colours = self.stem[0]
        self.stem[0] = nn.Conv2d(1, colours.out_channels, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(self.stem[0].weight, mode="fan_out")
        placed = form.placed
        self.blocks = nn.Sequential(
            *(
                Block(plain.features[number], attends=number in placed, form=form)
                for number in range(1, BLOCKS + 1)
            )
        )  # fmt: skip
        self.last = plain.features[BLOCKS + 1]
        self.dropout = form.dropout
        self.head = plain.classifier[1]

    def forward(self, images: Tensor) -> Tensor:
        features = torch.mean(self.last(self.blocks(self.stem(images))), dim=(2, 3))
        logits: Tensor = self.head(F.dropout(features, self.dropout, self.training))
        return logits


def build(
    num_classes: int = 7,
    *,
    size: int = 128,
    width: float = 1.0,
    placement: str = "shortcuts",
    parts: str = "both",
    groups: int = 4,
    dropout: float = 0.6,
    quirk: str = "none",
    backbone: str = "",
) -> EfeaMsm:
    """A network with random weights, from torch's global generator."""
    form = EfeaForm(size, width, placement, parts, groups, dropout, quirk)
    network = EfeaMsm(num_classes, form=form)
    if backbone:
        load_backbone(network, backbone)
    return network


_RULES = (
    (r"features\.0\.", "stem."),
    *(
        (rf"features\.{number}\.(?=conv|modulator|aggregator)", f"blocks.{number - 1}.")
        for number in range(1, BLOCKS + 1)
    ),
    (rf"features\.{BLOCKS + 1}\.", "last."),
)
_INNER = (
    (r"(blocks\.\d+)\.conv\.", r"\1.path."),
    (r"modulator\.0\.cw\.conv\.", "modulator.0.channels_columns."),
    (r"modulator\.0\.hc\.conv\.", "modulator.0.rows_channels."),
    (r"modulator\.0\.hw\.conv\.", "modulator.0.rows_columns."),
    (r"(channels_columns|rows_channels|rows_columns)\.bn\.", r"\1.norm."),
    (r"\.conv_dws\.", ".depthwise."), (r"\.bn_dws\.", ".norm1."),
    (r"\.conv_point\.", ".pointwise."), (r"\.bn_point\.", ".norm2."),
    (r"\.local_att\.0\.", ".local."), (r"\.local_att\.1\.", ".local_norm."),
    (r"\.global_att\.1\.", ".whole."), (r"\.global_att\.2\.", ".whole_norm."),
)  # fmt: skip
_ORIGINAL = Conversion(
    source="xhuiscode/EFEA-MSM model/mobilenetv2.py",
    rules=(*_RULES, (r"classifier\.1\.", "head.")),
    inner=_INNER,
)
_TORCHVISION = Conversion(source="torchvision's mobilenet_v2", rules=_RULES, ignored=(r"classifier\.",), inner=_INNER)


def convert_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original's `MobileNetV2` under our names; ModelError for other keys.

    Its parts, where a network has them, are looked for at `features.N.modulator.0` (TripletAttention),
    `features.N.modulator.1` (ULSAM) and `features.N.aggregator` (ResGlobLocaChaFuse): no published network names them.
    """
    return fold_biases(_ORIGINAL(weights))


def convert_backbone(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of torchvision's mobilenet_v2 without its classifier. ModelError for other keys.

    The first convolution is summed over its colours: what it gives for a grey image in three channels.
    """
    converted = _TORCHVISION(weights)
    if "stem.0.weight" in converted:
        converted["stem.0.weight"] = converted["stem.0.weight"].sum(dim=1, keepdim=True)
    return converted


def load_backbone(network: EfeaMsm, path: str) -> None:
    """Fill the MobileNetV2 of `network` from the file that the user named; attention and head stay as they were drawn.

    Raises ModelError for a file that cannot be read or holds another network.
    """
    check_file(Path(path))
    weights = read_weights(Path(path))
    paths = [block.path for block in network.blocks if isinstance(block, Block)]
    plain = nn.ModuleDict({"stem": network.stem, "last": network.last})
    plain["blocks"] = nn.ModuleList(nn.ModuleDict({"path": each}) for each in paths)
    load_into(plain, weights.state, Loading(path, wrapper=weights.wrapper, convert=convert_backbone))
