"""Weights and inputs that two programs draw alike, so that no checkpoint is needed to compare two networks.

A tensor follows from its key in the original repository's state dict and its shape alone. The scripts
`make_NAME_reference.py` write these weights into the original network; the tests send them through the model's
`convert_state_dict` into ours. Needs neither torch nor ferbench.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RULE = (
    "numpy.random.default_rng(zlib.crc32(key)): num_batches_tracked 0; running_var and one-dimensional weights uniform "
    "0.5..1.5, times 0.2 where the key has increase_bn; running_mean and other one-dimensional tensors normal x 0.1; "
    "(1, n, d) and (n, d) positions and tokens normal x 0.5; all others normal x sqrt(2 / fan-in)"
)


def drawn(key: str, shape: Sequence[int]) -> NDArray[Any]:
    """The tensor of that key: float32, or int64 zeros for a counter of batch normalisation."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    name = key.rpartition(".")[2]
    if name == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if name == "running_var" or (name == "weight" and len(shape) == 1):
        values = rng.uniform(0.5, 1.5, shape)
        if name == "weight" and "increase_bn" in key:
            values *= 0.2  # the end of a bottleneck: sixteen of them in a row would each double what they are given
    elif len(shape) <= 1:
        values = rng.standard_normal(shape) * 0.1
    elif "pos" in key or "token" in key:
        values = rng.standard_normal(shape) * 0.5
    else:
        values = rng.standard_normal(shape, np.float32) * math.sqrt(2 / math.prod(shape[1:]))
    return np.asarray(values, np.float32)


def drawn_input(case: Mapping[str, Any]) -> NDArray[np.float32]:
    """The input of one case of a reference file: uniform numbers between its `low` and `high`, of its `shape`."""
    rng = np.random.default_rng(case["seed"])
    return rng.uniform(case.get("low", 0.0), case.get("high", 1.0), case["shape"]).astype(np.float32)
