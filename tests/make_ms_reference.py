"""Make tests/reference/ms.json: what the original MS answers with drawn weights, alone and in a batch.

    git clone https://github.com/025HanZheng520/MS
    pip install einops timm
    python tests/make_ms_reference.py MS

The original is used as it is, but for what keeps it from running on a processor, or at all, and decides no number: `cuda`
does nothing, and `cgi`, which Python 3.13 no longer has and the code never uses, is an empty module.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

import torch
from original_networks import Original, write_reference
from torch import nn

CASES = [
    {"options": {}, "seed": 1, "shape": [1, 16, 3, 224, 224]},
    {"options": {"quirk": "published"}, "seed": 2, "shape": [2, 16, 3, 224, 224]},
]


def make_it_run_without_a_gpu() -> None:
    """Replace what is not there, in this process alone."""
    sys.modules["cgi"] = types.ModuleType("cgi")
    sys.modules["cgi"].print_environ = None  # type: ignore[attr-defined]
    torch.Tensor.cuda = lambda self, *_: self  # type: ignore[assignment,method-assign]
    nn.Module.to = lambda self, *_: self  # type: ignore[assignment,method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of 025HanZheng520/MS")
    checkout = parser.parse_args().checkout
    make_it_run_without_a_gpu()
    sys.path.insert(0, str(checkout))
    from models.final_model import GenerateModel  # type: ignore[import-not-found]

    write_reference(
        Original(
            "ms", "025HanZheng520/MS", checkout, GenerateModel(), logits=lambda output: output[0], has_dead_layers=True
        ),
        CASES,
    )


if __name__ == "__main__":
    main()
