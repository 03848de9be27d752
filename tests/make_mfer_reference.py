"""Make tests/reference/mfer.json: what the original MFER answers with drawn weights.

    git clone https://github.com/XuJ1E/MFER
    pip install timm
    python tests/make_mfer_reference.py MFER

The repository holds the trunk and the heads apart, and no code that runs joins them: here the heads' logits are added, as
train.py means to. Beside the whole network of 155 million parameters, which is only compared here and now, a small one of
the same code goes into the file, with which the tests compare ours.

The original is used as it is. Its folder `model` lacks an __init__.py and would lose against its own model.py; timm has
moved two of the names that it imports.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import torch
from original_networks import Original, fill, write_reference
from torch import Tensor, nn

from ferbench.models import mfer

WHOLE: dict[str, Any] = {}
SMALL: dict[str, Any] = {"width": 16, "depths": [1, 2, 3, 1], "size": 64}
CASES = [
    {"options": SMALL, "seed": 1, "shape": [2, 3, 64, 64], "low": -2.0, "high": 2.0},
    {"options": {**SMALL, "size": 96}, "seed": 2, "shape": [1, 3, 96, 96], "low": -2.0, "high": 2.0},
]


def import_from(checkout: Path) -> types.ModuleType:
    """The repository's model.py as a module."""
    import timm.layers

    package = types.ModuleType("model")
    package.__path__ = [str(checkout / "model")]
    sys.modules["model"] = package
    sys.modules["timm.models.layers"] = timm.layers
    registry = types.ModuleType("timm.models.registry")
    registry.register_model = lambda function: function  # type: ignore[attr-defined]
    sys.modules["timm.models.registry"] = registry
    spec = importlib.util.spec_from_file_location("mfer_original", checkout / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def joined(original: types.ModuleType, *, width: int, depths: list[int]) -> nn.Module:
    """The original trunk with the original heads, whose slices are quarters of its features."""
    from model.multiscale import classifier  # type: ignore[import-not-found]

    class Joined(original.ConvNeXt):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__(depths=depths, dims=[width * 2**stage for stage in range(4)], drop_path_rate=0.25)
            self.msc = nn.ModuleList([classifier(dim=2 * width, step=step) for step in (2, 3, 4)])

        def forward(self, images: Tensor) -> Tensor:
            features = super().forward(images)
            logits = [head(features[:, : 2 * width * (number + 2)]) for number, head in enumerate(self.msc)]
            return logits[0] + logits[1] + logits[2]

    return Joined()


@torch.no_grad()
def compare_whole(network: nn.Module) -> None:
    """Print how far ours is from the whole original."""
    fill(network)
    ours = mfer.build(**WHOLE).eval()
    ours.load_state_dict(mfer.convert_state_dict(network.state_dict()))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 4 - 2
    theirs = network.eval()(images)
    apart = float((ours(images) - theirs).abs().max())
    number = sum(parameter.numel() for parameter in network.parameters())
    print(f"whole network, {number} parameters: logits {theirs[0].tolist()}, ours at most {apart:.1e} away")
    assert apart < 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of XuJ1E/MFER")
    checkout = parser.parse_args().checkout
    original = import_from(checkout)
    torch.set_num_threads(1)
    compare_whole(joined(original, width=128, depths=list(mfer.DEPTHS)))
    small = joined(original, width=SMALL["width"], depths=SMALL["depths"])
    write_reference(Original("mfer", "XuJ1E/MFER", checkout, small), CASES)


if __name__ == "__main__":
    main()
