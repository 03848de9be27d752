"""Make tests/reference/abaw-cnn.json, abaw-cnn-rnn.json and abaw-cnn-transformer.json: what the originals answer.

    git clone https://github.com/xinqi-fan/ABAW2021
    pip install timm
    python tests/make_abaw_reference.py ABAW2021

The originals are used as they are, but for three things. `models` is imported without its __init__.py, which imports some
seventy other networks through modules that timm no longer has. The table of sinusoids is no weight, and is not overwritten
by drawn numbers. And where our network has no quirk, the axes of that table are exchanged, so that its rows are added over
the frames of a clip and not over the clips of a batch.
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from original_networks import Original, write_reference
from torch import nn

REPOSITORY = "xinqi-fan/ABAW2021"
FRAMES = 9
IMAGES = [
    {"options": {}, "seed": 1, "shape": [2, 3, 224, 224]},
    {"options": {}, "seed": 2, "shape": [1, 3, 224, 224], "low": -2.0, "high": 2.0},
]
WINDOW = [{"options": {}, "seed": 3, "shape": [1, FRAMES, 3, 224, 224], "low": -2.0, "high": 2.0}]
QUIRK = {"options": {"quirk": "published"}, "seed": 4, "shape": [2, FRAMES, 3, 224, 224], "low": -2.0, "high": 2.0}


def import_without_its_init(checkout: Path) -> None:
    """Make `models` of the checkout a package that imports nothing by itself."""
    package = types.ModuleType("models")
    package.__path__ = [str(checkout / "models")]
    sys.modules["models"] = package


def with_a_table_that_is_no_weight(network: nn.Module) -> nn.Module:
    """The transformer, its table of sinusoids out of the state dict."""
    code = network.trans.pos_embed
    code.register_buffer("pe", code.pe, persistent=False)
    code.published = code.pe
    return network


def put_right(network: nn.Module, case: Mapping[str, Any]) -> None:
    """The published table (5000, 1, dim), whose first axis meets the batch, or its first rows as (1, 9, dim)."""
    code = network.trans.pos_embed
    is_published = case["options"].get("quirk") == "published"
    code.pe = code.published if is_published else code.published[:FRAMES].transpose(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of xinqi-fan/ABAW2021")
    checkout = parser.parse_args().checkout
    import_without_its_init(checkout)
    from models.cnn_rnn import CnnRnn  # type: ignore[import-not-found]
    from models.cnn_transformer import CnnTransformer  # type: ignore[import-not-found]
    from models.resnet50_vgg import Resnet50Vgg  # type: ignore[import-not-found]

    # As main_Aff_Wild2_EXPR.py makes them.
    form = {"num_patch": FRAMES, "embed_dim": 768, "output_dim": 7, "num_heads": 4}
    write_reference(Original("abaw-cnn", REPOSITORY, checkout, Resnet50Vgg(output_dim=7)), IMAGES)
    write_reference(Original("abaw-cnn-rnn", REPOSITORY, checkout, CnnRnn(**form, dropout=0.2)), WINDOW)
    transformer = with_a_table_that_is_no_weight(CnnTransformer(**form, dropout=0.5))
    write_reference(
        Original("abaw-cnn-transformer", REPOSITORY, checkout, transformer, prepare=put_right), [*WINDOW, QUIRK]
    )


if __name__ == "__main__":
    main()
