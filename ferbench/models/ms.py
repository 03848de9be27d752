"""MS: frames and their differences at three scales, joined by a CRF's message passing and fused from fine to coarse.

"Enhanced Multi-Scale Dynamic Facial Expression Recognition via Conditional Random Fields", announced for The Visual
Computer. Code: https://github.com/025HanZheng520/MS (no licence), models/final_model.py, modules.py, crf.py,
vit_decoder_two.py. Written from what that code computes; docs/systems/ms.md compares it with what its README says.

Sizes are for the published configuration, N clips of 16 frames of 224x224:

    frames (N * 16, 3, 224, 224)
    two 3x3 convolutions, the first of stride 2, max-pool    64 x 56 x 56
    stages of 1, 1, 1, 3 blocks                              128 x 28 x 28, 256 x 14 x 14, 512 x 7 x 7: three scales
    at each scale
        static    the 16 maps
        dynamic   first - last, second - first, ..., last - last but one: 16 maps
        spatial transformer over the places, mean            16 tokens each
        their mean as token 0, the same transformer in time  17 tokens each
        message passing between static and dynamic           17 tokens
    fusion of scale 2 with scale 1, of scale 3 with that     17 tokens of 512
    token 0 -> linear                                        logits (N, classes)
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
from ferbench.models.crf import MessagePassing
from ferbench.models.former_dfer import RESIDUAL_NAMES
from ferbench.models.residual import draw_convolutions, halved, stage
from ferbench.models.transformer import ORIGINAL_NAMES, Transformer

INPUT_SPEC = InputSpec(clip_len=16, height=224, width=224, layout="NTCHW", sampler="former", stride=2, short="spread")

CARD: dict[str, str] = {
    "title": "MS (multi-scale ST-Former with a CRF)",
    "paper": (
        "Enhanced Multi-Scale Dynamic Facial Expression Recognition via Conditional Random Fields, announced by its "
        "repository for The Visual Computer"
    ),
    "url": "https://github.com/025HanZheng520/MS",
    "licence": "the original code states none; this is another implementation, of what that code computes",
    "parameters": (
        "26392107, those that the logits depend on; the original registers 114.52 million, most of them in seven of each "
        "eight decoder blocks, whose output it throws away, and in layers it never calls"
    ),
    "published result": "none in the repository: neither WAR nor UAR nor weights",
    "selection": "the epoch of the best accuracy on the test part, by the repository's training script",
    "reconstruction": (
        "nothing for one clip at a time: the original's weights give the original's logits. Its CRF runs one iteration and "
        "its fusion one block; what it would do with more (iterations, fusion_depth) is our reading of the paper's words"
    ),
    "fixed": "the logits of a clip do not depend on the other clips of its batch, in training and in scoring",
    "quirk": (
        "published: the difference maps of a batch are ordered as in the original, all first-minus-last maps before all "
        "others and then cut into groups of 16, so that a clip gets maps of its neighbours; nothing changes for one clip"
    ),
}

OPTIONS: dict[str, str] = {
    "iterations": "of the message passing between static and dynamic tokens (1)",
    "mean_field": "running, fixed or sequential: what the message passing does in further iterations (running)",
    "fusion_depth": "decoder blocks in each fusion, each fed by the one before (1, all that the published code's eight do)",
    "clip_len": "frames of a clip (16)",
    "size": "side of the frames in pixels (224)",
    "width": "channels of the first stage, a multiple of 8; all others follow (64)",
    "quirk": "none, or published: a clip's logits depend on its batch, as in the published code (none)",
}

_QUIRKS = ("none", "published")
_HEADS = 8


class Backbone(nn.Module):
    """(F, 3, size, size) frames to three maps: (F, 2w, H, W), (F, 4w, H / 2, W / 2), (F, 8w, H / 4, W / 4), H = size / 8.

    Named a ResNet-18 by the authors; it has 14 convolutions in the main path where a ResNet-18 has 17.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.stage1 = stage(width, width, blocks=1)
        self.stage2 = stage(width, 2 * width, blocks=1, stride=2)
        self.stage3 = stage(2 * width, 4 * width, blocks=1, stride=2)
        self.stage4 = stage(4 * width, 8 * width, blocks=3, stride=2)
        draw_convolutions(self)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(frames))))))
        fine = self.stage2(self.stage1(F.max_pool2d(maps, 3, stride=2, padding=1)))
        middle = self.stage3(fine)
        return fine, middle, self.stage4(middle)


class Scale(nn.Module):
    """One scale: (N * T, dim, H, W) maps of the frames of N clips to (N, T + 1, dim) tokens.

    The places are added to the static tokens only, and their first T + 1 rows serve as times, for both kinds: the
    original has one table for the two.
    """

    def __init__(self, dim: int, side: int, form: MSForm) -> None:
        super().__init__()
        self.clip_len = form.clip_len
        self.mixed = form.quirk == "published"
        self.num_places = side**2
        self.positions = nn.Parameter(torch.randn(1, max(side**2, form.clip_len + 1), dim))
        self.transformer = Transformer(dim, depth=2, heads=4, head_dim=form.width // 2, hidden=8 * form.width)
        self.passing = MessagePassing(dim, iterations=form.iterations, form=form.mean_field)

    def forward(self, maps: Tensor) -> Tensor:
        static = maps.flatten(2).transpose(1, 2)  # (N * T, places, dim)
        dynamic = self.differences(static)
        tokens = self.transformer(torch.cat((static + self.positions[:, : self.num_places], dynamic)))
        tokens = torch.mean(tokens, dim=1).reshape(-1, self.clip_len, tokens.shape[2])  # (2 * N, T, dim)
        tokens = torch.cat((torch.mean(tokens, dim=1, keepdim=True), tokens), dim=1)
        tokens = self.transformer(tokens + self.positions[:, : self.clip_len + 1])
        kinds = tokens.reshape(2, -1, tokens.shape[1], tokens.shape[2])
        joined: Tensor = self.passing(kinds[0], kinds[1])
        return joined

    def differences(self, static: Tensor) -> Tensor:
        """(N * T, places, dim) of frames to as many of differences: first - last, then each frame minus the one before.

            clip A: a0-a3 a1-a0 a2-a1 a3-a2      clip B: b0-b3 b1-b0 b2-b1 b3-b2

        With the published quirk, all first-minus-last maps stand in front, and clips are cut out of that order:

            group A: a0-a3 b0-b3 a1-a0 a2-a1     group B: a3-a2 b1-b0 b2-b1 b3-b2
        """
        clips = static.reshape(-1, self.clip_len, static.shape[1], static.shape[2])
        around = clips[:, :1] - clips[:, -1:]
        steps = clips[:, 1:] - clips[:, :-1]
        if self.mixed:
            return torch.cat((around.flatten(0, 1), steps.flatten(0, 1)))
        return torch.cat((around, steps), dim=1).flatten(0, 1)


class CrossAttention(nn.Module):
    """Multi-head attention of (N, M, dim) tokens to (N, K, dim) others."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = _HEADS
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        mixed = F.scaled_dot_product_attention(
            self.by_head(self.query(tokens)), self.by_head(self.key(others)), self.by_head(self.value(others))
        )
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result

    def by_head(self, tokens: Tensor) -> Tensor:
        """(N, M, dim) to (N, heads, M, dim / heads)."""
        return tokens.reshape(tokens.shape[0], tokens.shape[1], self.heads, -1).transpose(1, 2)


class FusionBlock(nn.Module):
    """(N, M, dim) coarse and (N, M, dim / 2) fine tokens to (N, M, dim): each attends to the other, and their mean.

    Both directions go through the same weights. The two convolutions that widen the fine tokens are 3x3 in the original,
    on maps of one pixel: eight of their nine taps see padding only. They are kept as they are, for the draw of the
    weights and the published checkpoints.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.widen1 = nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1, bias=False)
        self.widen2 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.norm_asking = nn.LayerNorm(dim)
        self.norm_asked = nn.LayerNorm(dim)
        self.attention = CrossAttention(dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.rise = nn.Linear(dim, 4 * dim)
        self.fall = nn.Linear(4 * dim, dim)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        pixels = fine.reshape(-1, fine.shape[2], 1, 1)
        wide = F.relu(self.norm(self.widen2(self.widen1(pixels)))).reshape(coarse.shape)
        return (self.informed(coarse, wide) + self.informed(wide, coarse)) / 2

    def informed(self, tokens: Tensor, others: Tensor) -> Tensor:
        """`tokens` after attending to `others`, and after the feed-forward part; both are added."""
        tokens = tokens + self.attention(self.norm_asking(tokens), self.norm_asked(others))
        result: Tensor = tokens + self.fall(F.gelu(self.rise(self.norm_mlp(tokens))))
        return result


class Fusion(nn.Module):
    """(N, M, dim) coarse and (N, M, dim / 2) fine tokens to (N, M, dim), with a linear mix of the M tokens at the end."""

    def __init__(self, dim: int, num_tokens: int, depth: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, num_tokens, dim))
        self.blocks = nn.ModuleList([FusionBlock(dim) for _ in range(depth)])
        self.mix = nn.Conv1d(num_tokens, num_tokens, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        tokens = coarse + self.positions
        for block in self.blocks:
            tokens = block(tokens, fine)
        mixed: Tensor = self.mix(tokens)
        return mixed


@dataclasses.dataclass(frozen=True, slots=True)
class MSForm:
    """How one MS network is built; `OPTIONS` says what each means."""

    iterations: int = 1
    mean_field: str = "running"
    fusion_depth: int = 1
    clip_len: int = 16
    size: int = 224
    width: int = 64
    quirk: str = "none"

    def __post_init__(self) -> None:
        if self.quirk not in _QUIRKS:
            raise UsageError(f"ms: quirk {self.quirk!r} is not one of {', '.join(_QUIRKS)}")
        if self.width < _HEADS or self.width % _HEADS:
            raise UsageError(f"ms: width must be a multiple of {_HEADS}, got {self.width}")
        if self.clip_len < 2:
            raise UsageError(f"ms: clip_len must be at least 2, for a difference to be taken, got {self.clip_len}")
        if self.size < 1 or self.fusion_depth < 1:
            raise UsageError(f"ms: size and fusion_depth must be positive, got {self.size} and {self.fusion_depth}")


class MS(nn.Module):
    """float32 (N, clip_len, 3, size, size) in [0, 1] to (N, num_classes) logits."""

    def __init__(self, num_classes: int, form: MSForm) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(
            INPUT_SPEC, clip_len=form.clip_len, height=form.size, width=form.size
        )  # fmt: skip
        width, side = form.width, halved(form.size, 3)
        self.backbone = Backbone(width)
        self.fine = Scale(2 * width, side, form)
        self.middle = Scale(4 * width, halved(side, 1), form)
        self.coarse = Scale(8 * width, halved(side, 2), form)
        self.fusion1 = Fusion(4 * width, form.clip_len + 1, form.fusion_depth)
        self.fusion2 = Fusion(8 * width, form.clip_len + 1, form.fusion_depth)
        self.head = nn.Linear(8 * width, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        fine, middle, coarse = self.backbone(clips.flatten(0, 1))
        tokens = self.fusion1(self.middle(middle), self.fine(fine))
        tokens = self.fusion2(self.coarse(coarse), tokens)
        logits: Tensor = self.head(tokens[:, 0])
        return logits


def build(
    num_classes: int = 7, *, iterations: int = 1, mean_field: str = "running", fusion_depth: int = 1,
    clip_len: int = 16, size: int = 224, width: int = 64, quirk: str = "none",
) -> MS:  # fmt: skip
    """A network with random weights, from torch's global generator, drawn as the original draws them."""
    return MS(num_classes, MSForm(iterations, mean_field, fusion_depth, clip_len, size, width, quirk))


ORIGINAL = Conversion(
    source="025HanZheng520/MS",
    rules=(
        (r"backone\.conv1\.0\.", "backbone.conv1."),
        (r"backone\.conv1\.1\.", "backbone.norm1."),
        (r"backone\.conv1\.3\.", "backbone.conv2."),
        (r"backone\.bn1\.", "backbone.norm2."),
        (r"backone\.layer(\d)\.", r"backbone.stage\1."),
        (r"backone\.pos_embedding\.0$", "fine.positions"),
        (r"backone\.pos_embedding\.1$", "middle.positions"),
        (r"backone\.pos_embedding\.2$", "coarse.positions"),
        (r"backone\.stransformer\.", "fine.transformer."),
        (r"backone\.stransformer1\.", "middle.transformer."),
        (r"backone\.stransformer2\.", "coarse.transformer."),
        (r"ecrf1\.passing1\.", "fine.passing."),
        (r"ecrf2\.passing2\.", "middle.passing."),
        (r"ecrf3\.passing3\.", "coarse.passing."),
        (r"fuser(\d)\.pos_embed$", r"fusion\1.positions"),
        (r"fuser(\d)\.conv\.", r"fusion\1.mix."),
        (r"fuser(\d)\.model\.7\.", r"fusion\1.blocks.0."),
        (r"fc\.", "head."),
    ),
    ignored=(
        r"fuser\.",
        r"fuser\d\.(model\.[0-6]|norm)\.",
        r"ecrf\d\.mfuser\d\.",
        r"ecrf1\.passing[23]\.|ecrf2\.passing[13]\.|ecrf3\.passing[12]\.",
        r"ecrf\d\.passing\d\.prelu\.",
        r"backone\.(d_branch|patch_embedding|patch_embed|cls_token)(\.|$)",
        r"backone\.layer\d\.\d\.attn\.",
    ),
    inner=(
        *RESIDUAL_NAMES,
        *ORIGINAL_NAMES,
        (r"passing\.w_0_1_0_0\.0\.", "passing.to_first."),
        (r"passing\.w_0_0_1_0\.0\.", "passing.to_second."),
        (r"\.conv\.0\.", ".widen1."),
        (r"\.conv\.1\.", ".widen2."),
        (r"\.conv\.2\.", ".norm."),
        (r"\.norm_q\.", ".norm_asking."),
        (r"\.norm_v\.", ".norm_asked."),
        (r"(blocks\.0)\.norm2\.", r"\1.norm_mlp."),
        (r"\.attn\.q_map\.", ".attention.query."),
        (r"\.attn\.k_map\.", ".attention.key."),
        (r"\.attn\.v_map\.", ".attention.value."),
        (r"\.attn\.proj\.", ".attention.out."),
        (r"\.mlp\.fc1\.", ".rise."),
        (r"\.mlp\.fc2\.", ".fall."),
    ),
)


def convert_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original repository's `GenerateModel` under our names; ModelError for other keys.

    Layers that the original registers without using them are left out, and so are blocks 1 to 7 of each of its fusions.
    The 1x1 convolutions of its message passing, on maps of one pixel, become the linear layers that they are.
    """
    converted = ORIGINAL(weights)
    return {
        key: value.flatten(1) if ".passing." in key and value.ndim == 4 else value for key, value in converted.items()
    }
