"""Make tests/reference/efea-msm.json: what the parts of the original EFEA-MSM answer with drawn weights, put together.

    git clone https://github.com/xhuiscode/EFEA-MSM
    python tests/make_efea_msm_reference.py EFEA-MSM

The repository holds a MobileNetV2, three kinds of attention, and no network made of them. Its MobileNetV2 is compared as it
is. Then its parts are put where `efea-msm` can have them, which is our reconstruction: the numbers say that the parts are
the original's, not that their places are. With attention in two blocks they go into the file; with attention in ten, as by
default, these weights lose three digits on the way, and the two networks are compared here in double precision.

What keeps the files from being imported is replaced, in this process alone: modules that are not there or are not used
(turtle, shufflenet, a figure library), a data set that is opened at import, tensors that are made on a GPU. The aggregator
is written for MXNet, which has no build for current Python: the few of its layers that it uses stand here in torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path
from typing import Any

import torch
import torchvision.datasets
from original_networks import Original, fill, write_reference
from torch import Tensor, nn

from ferbench.models import efea_msm

PLACED = (6, 13)
OPTIONS = {"placement": ",".join(map(str, PLACED))}
CASES = [
    {"options": OPTIONS, "seed": 1, "shape": [2, 1, 128, 128]},
    {"options": {**OPTIONS, "size": 48, "quirk": "published"}, "seed": 2, "shape": [2, 1, 48, 48]},
]
GROUPS = 4
"""Of `ULSAM`: what the comment in subspace_block.py has."""


class NoPictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """In place of the folder that mobilenetv2.py opens when it is imported."""

    classes = ()

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __len__(self) -> int:
        return 1


class HybridBlock(nn.Module):
    """gluon's: `hybrid_forward` gets the functions of MXNet first."""

    def name_scope(self) -> Any:
        import contextlib

        return contextlib.nullcontext()

    def forward(self, *inputs: Tensor) -> Tensor:
        functions = types.SimpleNamespace(broadcast_add=torch.add, broadcast_mul=torch.mul)
        return self.hybrid_forward(functions, *inputs)  # type: ignore[operator,no-any-return]


class HybridSequential(nn.Sequential):
    """gluon's, which has a name and is filled later."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()

    def add(self, layer: nn.Module) -> None:
        self.append(layer)


def gluon() -> types.ModuleType:
    """The layers of `mxnet.gluon.nn` that the aggregator uses, with MXNet's defaults: biases, and an epsilon of 1e-5."""
    layers = types.ModuleType("mxnet.gluon.nn")
    layers.__dict__.update(
        HybridSequential=HybridSequential,
        Conv2D=lambda channels, kernel_size, strides, padding: nn.LazyConv2d(channels, kernel_size, strides, padding),
        BatchNorm=lambda: nn.LazyBatchNorm2d(eps=1e-5),
        GlobalAvgPool2D=lambda: nn.AdaptiveAvgPool2d(1),
        Activation=lambda name: {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}[name](),
    )
    return layers


def make_it_importable(checkout: Path) -> None:
    """Put stand-ins where the original asks for what is not there."""
    names = ("turtle", "model_without_mirror_trick", "shufflenet", "auto_augment", "matplotlib", "matplotlib.pyplot",
             "torch.utils.tensorboard", "mxnet", "mxnet.gluon", "mxnet.gluon.block")  # fmt: skip
    stand_ins = {name: types.ModuleType(name) for name in names}
    for name, attributes in {
        "turtle": ["st"], "model_without_mirror_trick": ["FERNet"], "shufflenet": ["shufflenet_v2_x1_0", "SELayer"],
        "torch.utils.tensorboard": ["SummaryWriter"],
    }.items():  # fmt: skip
        stand_ins[name].__dict__.update(dict.fromkeys(attributes))
    stand_ins["auto_augment"].AutoAugment = nn.Identity  # type: ignore[attr-defined]
    stand_ins["mxnet.gluon.block"].HybridBlock = HybridBlock  # type: ignore[attr-defined]
    stand_ins["mxnet.gluon"].nn = stand_ins["mxnet.gluon.nn"] = gluon()  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    torchvision.datasets.ImageFolder = NoPictures  # type: ignore[misc,assignment]
    torch.set_default_tensor_type = lambda _: None  # type: ignore[assignment]
    package = types.ModuleType("model")
    package.__path__ = [str(checkout / "model")]
    sys.modules["model"] = package


def part(module: str, name: str) -> Any:
    """A class of a file in the checkout's folder `model`."""
    return getattr(importlib.import_module(f"model.{module}"), name)


def put_together(placed: tuple[int, ...]) -> nn.Module:
    """The original's MobileNetV2 for 7 classes, with the original's parts in blocks that have a shortcut."""
    triplet, ulsam = part("triplet_block", "TripletAttention"), part("subspace_block", "ULSAM")
    aggregator = part("multi_scale_polymerization", "ResGlobLocaChaFuse")

    class Attending(nn.Module):
        def __init__(self, block: Any) -> None:
            super().__init__()
            self.conv = block.conv
            channels = block.conv[-1].num_features
            self.modulator = nn.Sequential(triplet(), ulsam(channels, channels, 0, 0, GROUPS))
            self.aggregator = aggregator(channels)

        def forward(self, maps: Tensor) -> Tensor:
            return self.aggregator(self.modulator(self.conv(maps)), maps)  # type: ignore[no-any-return]

    network = part("mobilenetv2", "MobileNetV2")(num_classes=7)
    for number in placed:
        assert network.features[number].use_shortcut
        network.features[number] = Attending(network.features[number])
    with torch.no_grad():
        network.eval()(torch.zeros(1, 1, 64, 64))  # gluon's layers learn their number of channels
    return network  # type: ignore[no-any-return]


@torch.no_grad()
def compare(what: str, theirs: nn.Module, ours: nn.Module, *, dtype: torch.dtype = torch.float32) -> None:
    """Print how far ours is from theirs, with the same weights."""
    fill(theirs)
    theirs.eval().to(dtype)
    ours.eval().to(dtype).load_state_dict(efea_msm.convert_state_dict(theirs.state_dict()))
    images = torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0)).to(dtype)
    answer = theirs(images)
    apart = float((ours(images) - answer).abs().max())
    number = sum(parameter.numel() for parameter in theirs.parameters())
    print(f"{what}, {number} parameters: logits {answer[0].tolist()}, ours at most {apart:.1e} away")
    assert apart < 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of xhuiscode/EFEA-MSM")
    checkout = parser.parse_args().checkout
    make_it_importable(checkout)
    torch.set_num_threads(1)
    compare("MobileNetV2 alone", part("mobilenetv2", "MobileNetV2")(), efea_msm.build(8, placement="none"))
    whole = put_together(efea_msm.SHORTCUTS)
    compare("attention in ten blocks", whole, efea_msm.build(), dtype=torch.float64)
    write_reference(Original("efea-msm", "xhuiscode/EFEA-MSM", checkout, put_together(PLACED)), CASES)


if __name__ == "__main__":
    main()
