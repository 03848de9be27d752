"""MFER: ConvNeXt-B with attention after its last two stages, and three heads on parts of its features.

Jie Xu, Yang Li, Guanci Yang, Ling He, Kexin Luo, "Multiscale Facial Expression Recognition Based on Dynamic Global and
Static Local Attention", IEEE Transactions on Affective Computing 2024, doi 10.1109/TAFFC.2024.3458464. Code:
https://github.com/XuJ1E/MFER (MIT), model.py, model/attention.py, model/multiscale.py.

    images (N, 3, 224, 224)
    ConvNeXt-B, stages 1 to 3      512 x 14 x 14
    attention 3                    512 x 14 x 14
    ConvNeXt-B, stage 4            1024 x 7 x 7
    attention 4                    1024 x 7 x 7
    mean over the places, norm     features (N, 1024)
    head 0 on features 0..511, head 1 on 0..767, head 2 on 0..1023
    sum of the three               logits (N, classes)

The figures of the repository and its code differ in two places; options take either.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.conversion import Conversion
from ferbench.models.convnext import DEPTHS, INNER_NAMES, Trunk, TrunkForm, load_trunk, shaped, trunk_rules
from ferbench.models.heads import HeadsAndDistances

INPUT_SPEC = InputSpec(height=224, width=224, layout="NCHW", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

CARD: dict[str, str] = {
    "title": "MFER: ConvNeXt-B with dynamic global and static local attention",
    "paper": (
        "Xu, Li, Yang, He, Luo, Multiscale Facial Expression Recognition Based on Dynamic Global and Static Local "
        "Attention, IEEE Transactions on Affective Computing 2024, doi 10.1109/TAFFC.2024.3458464"
    ),
    "url": "https://github.com/XuJ1E/MFER",
    "licence": "MIT (the original code); this is another implementation",
    "parameters": "155357013",
    "published result": (
        "accuracy on RAF-DB 92.08, AffectNet-7 67.06, AffectNet-8 63.15, FERPlus 91.09; no code that was released "
        "trains it, and no weights were"
    ),
    "selection": "the best epoch on the part that is reported, by the repository's train.py",
    "class order": "of class folders in alphabetical order, by the repository's train.py",
    "reconstruction": (
        "the DSF loss, which was never released: loss mfer is made from its description, and needs centres=true. The "
        "network itself is the original's: its weights give its logits"
    ),
    "pretraining": (
        "MS-Celeb-1M, self-supervised; those weights were never released. Any ConvNeXt-B of torchvision, timm or "
        "facebookresearch can be named: option backbone=FILE; nothing is downloaded"
    ),
}

OPTIONS: dict[str, str] = {
    "size": "side of the images in pixels, at least 32 (224)",
    "width": "channels of the first stage, even; all others follow (128)",
    "depths": "blocks of the four stages (3,3,27,3)",
    "drop_path": "share of the last block's residuals dropped while training (0.25)",
    "attention": "code: GELU, then norm, and a shortcut, as the repository computes; figure: norm, then GELU, no shortcut",
    "heads": "code: the first two, three and four quarters of the features; figure: the first quarter with each other one",
    "centres": "true: a trained centre of features per class, which the loss mfer asks for (false)",
    "backbone": "file with the weights of a ConvNeXt to begin with (none)",
}

BEGINS_WITH = ("backbone",)
"""Options that name a file to begin with; a checkpoint needs them no more."""

FORMS = ("code", "figure")
QUARTERS: dict[str, tuple[tuple[int, ...], ...]] = {
    "code": ((0, 1), (0, 1, 2), (0, 1, 2, 3)),
    "figure": ((0, 1), (0, 2), (0, 3)),
}
"""Quarters of the features that each head sees: model/multiscale.py, and Fig. 1."""


class DSAttention(nn.Module):
    """Dynamic global and static local attention: (N, C, H, W) maps to the same.

    Each channel's values are weighted by a softmax over the places. The weights are static, of the 7x7 surroundings, plus
    dynamic, a projection of the place times the place itself.
    """

    def __init__(self, channels: int, *, form: str = "code") -> None:
        super().__init__()
        self.is_as_drawn = form == "figure"
        self.squeeze = nn.Linear(channels, channels // 8)
        self.expand = nn.Linear(channels // 8, channels)
        self.value = nn.Linear(channels, channels)
        self.surroundings = nn.Conv2d(channels, channels, 7, padding=3)
        self.norm = nn.LayerNorm(channels)

    def forward(self, maps: Tensor) -> Tensor:
        places = maps.flatten(2).transpose(1, 2)  # (N, H * W, C)
        static = self.surroundings(maps).flatten(2).transpose(1, 2)
        static = F.gelu(self.norm(static)) if self.is_as_drawn else self.norm(F.gelu(static))
        dynamic = self.expand(F.gelu(self.squeeze(places))) * places
        seen = torch.softmax(static + dynamic, dim=1) * self.value(places)
        attended: Tensor = seen.transpose(1, 2).reshape(maps.shape)
        if self.is_as_drawn:
            return attended
        return attended + maps


class Head(nn.Module):
    """(N, 4 * quarter) features to (N, num_classes) logits, of some quarters alone."""

    def __init__(self, num_classes: int, *, quarter: int, quarters: tuple[int, ...]) -> None:
        super().__init__()
        self.quarter = quarter
        self.quarters = list(quarters)
        self.hidden = nn.Linear(quarter * len(quarters), quarter * len(quarters))
        self.output = nn.Linear(quarter * len(quarters), num_classes)

    def forward(self, features: Tensor) -> Tensor:
        parts = [features[:, self.quarter * number : self.quarter * (number + 1)] for number in self.quarters]
        logits: Tensor = self.output(F.gelu(self.hidden(torch.cat(parts, dim=1))))
        return logits


class Centres(nn.Module):
    """(N, D) features to (N, num_classes): half the squared distance to a trained point per class. A reconstruction."""

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__()
        # As long as the normalised features are on average.
        self.points = nn.Parameter(torch.randn(num_classes, features))

    def forward(self, features: Tensor) -> Tensor:
        # In full precision: a sum of a thousand squares.
        apart = features.float()[:, None] - self.points.float()
        return 0.5 * apart.square().sum(dim=2)


@dataclasses.dataclass(frozen=True, slots=True)
class MferForm:
    """What differs between configurations beside the trunk."""

    size: int = 224
    attention: str = "code"
    heads: str = "code"
    centres: bool = False

    def __post_init__(self) -> None:
        for name in ("attention", "heads"):
            if getattr(self, name) not in FORMS:
                raise UsageError(f"mfer: {name} is one of {', '.join(FORMS)}, not {getattr(self, name)!r}")
        if self.size < 32:
            raise UsageError(f"mfer: size must be at least 32, as the trunk divides it by 32; got {self.size}")


class MFER(nn.Module):
    """float32 (N, 3, size, size), normalised as `INPUT_SPEC` says, to (N, num_classes) logits."""

    def __init__(self, num_classes: int, *, trunk: TrunkForm, form: MferForm) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(INPUT_SPEC, height=form.size, width=form.size)
        self.returns_heads = False
        """True while a loss is to be computed: forward then gives what `training_logits` does."""
        wide = trunk.channels
        self.backbone = Trunk(trunk)
        self.attention3 = DSAttention(wide[2], form=form.attention)
        self.attention4 = DSAttention(wide[3], form=form.attention)
        for attention in (self.attention3, self.attention4):
            attention.apply(_initialize)
        self.heads = nn.ModuleList(
            Head(num_classes, quarter=wide[3] // 4, quarters=quarters) for quarters in QUARTERS[form.heads]
        )
        self.centres = Centres(num_classes, wide[3]) if form.centres else None

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        if not torch.jit.is_scripting() and self.returns_heads:  # type: ignore[attr-defined]
            return self._outputs(features)  # type: ignore[no-any-return]
        return torch.stack(self.logits_of_heads(features)).sum(dim=0)

    def features(self, images: Tensor) -> Tensor:
        """(N, 8 * width) features that heads and loss see."""
        maps = self.attention3(self.backbone.fine(images))
        return self.backbone.pooled(self.attention4(self.backbone.coarse(maps)))

    def logits_of_heads(self, features: Tensor) -> list[Tensor]:
        """(N, num_classes) logits of each head; the prediction is their sum."""
        return [head(features) for head in self.heads]

    @torch.jit.unused
    def training_logits(self, images: Tensor) -> Any:
        """What the loss needs: the heads' logits as a tuple, with `centres` as `HeadsAndDistances`."""
        return self._outputs(self.features(images))

    @torch.jit.unused
    def _outputs(self, features: Tensor) -> Any:
        heads = tuple(self.logits_of_heads(features))
        if self.centres is None:
            return heads
        return HeadsAndDistances(heads, self.centres(features))


def _initialize(module: nn.Module) -> None:
    # As the original draws everything but its heads, which have torch's rules.
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build(
    num_classes: int = 7,
    *,
    size: int = 224,
    width: int = 128,
    depths: tuple[int, ...] = DEPTHS,
    drop_path: float = 0.25,
    attention: str = "code",
    heads: str = "code",
    centres: bool = False,
    backbone: str = "",
) -> MFER:
    """A network with random weights, from torch's global generator, drawn by the original's rules."""
    network = MFER(
        num_classes,
        trunk=TrunkForm(width, depths, drop_path),
        form=MferForm(size=size, attention=attention, heads=heads, centres=centres),
    )
    if backbone:
        load_trunk(network.backbone, backbone)
    return network


_ORIGINAL = Conversion(
    source="XuJ1E/MFER model.py and model/multiscale.py",
    rules=((r"attention(\d)\.", r"attention\1."), (r"msc\.", "heads."), *trunk_rules("backbone.")),
    inner=(
        *INNER_NAMES,
        (r"(attention\d)\.key\.0\.", r"\1.squeeze."),
        (r"(attention\d)\.key\.2\.", r"\1.expand."),
        (r"(attention\d)\.attn\.", r"\1.surroundings."),
        (r"(heads\.\d)\.fc1\.", r"\1.hidden."),
        (r"(heads\.\d)\.fc2\.", r"\1.output."),
    ),
)


def convert_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original's `ConvNeXt`, and of its `Msc` beside it, under our names; ModelError for other keys.

    The original's training script saves the trunk without the heads.
    """
    # The attention of a stage is its last block there, and has a norm as the other blocks have: told by its values.
    found = [re.fullmatch(r"(stages\.(\d)\.\d+\.)value\.weight", key) for key in weights]
    fronts = {match[1]: f"attention{int(match[2]) + 1}." for match in found if match}
    renamed = {}
    for key, value in weights.items():
        front = next((each for each in fronts if key.startswith(each)), "")
        renamed[fronts[front] + key[len(front) :] if front else key] = value
    return shaped(_ORIGINAL(renamed))
