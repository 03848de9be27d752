"""torchvision's non-maximum suppression, without the rest of torchvision: importing that takes a worker over a second."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

Nms = Callable[[Tensor, Tensor, float], Tensor]


def load_nms() -> Nms:
    """`torchvision.ops.nms`: boxes (N, 4) float32, scores (N,), threshold -> (K,) int64 indices by decreasing score.

    The compiled operator is loaded by itself where torchvision's wheels have it (`_C.so`, since 0.25 `_C_stable.so`);
    otherwise torchvision is imported.
    Importing torchvision later is fine: the library is then loaded already.
    """
    spec = find_spec("torchvision")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for library in sorted(Path(folder).glob("_C*")):
            try:
                torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
                operator: Nms = torch.ops.torchvision.nms
                return operator
            except (OSError, AttributeError, RuntimeError):
                continue
    from torchvision.ops import nms

    return nms  # type: ignore[no-any-return]


nms = load_nms()
