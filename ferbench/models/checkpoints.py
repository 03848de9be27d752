"""State dicts from files: opened without executing anything, and unwrapped from what training code puts around them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ferbench.errors import ModelError
from ferbench.models.files import first_line, read_torch_file

WRAPPERS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params",
    "ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict",
)  # fmt: skip
"""Keys under which training code stores the weights, tried in this order: averaged ones only where there are no others."""
AVERAGED = WRAPPERS[-5:]
MAX_FACTS = 64
_LONGEST = 300


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A state dict and what lay around it."""

    state: Mapping[str, Tensor]
    wrapper: str = ""
    """Where it lay in the file: `state_dict`, `checkpoint.model`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values beside it: the epoch, a score, the command line it was trained with."""
    notices: tuple[str, ...] = ()
    module: nn.Module | None = None
    """A whole network, where a trusted pickle held one; `state` is then its state dict."""


def read_weights(path: Path, *, key: str = "", trust_pickle: bool = False) -> Weights:
    """The weights in a .safetensors or torch file; `key` names which where a file holds several (`model_ema`).

    ModelError when it holds none, or would have to run code to load and `trust_pickle` does not allow that.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _unwrapped(load_file(path), path, key)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: not a readable safetensors file ({first_line(error)})") from error
    return _unwrapped(read_torch_file(path, trust_pickle=trust_pickle), path, key)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights alone; raises as `read_weights` does."""
    return dict(read_weights(path).state)


def _unwrapped(content: Any, path: Path, key: str) -> Weights:
    seen: list[str] = []
    facts: dict[str, Any] = {}
    notices: list[str] = []
    while isinstance(content, Mapping):
        held = [name for name in WRAPPERS if _holds_weights(content.get(name))]
        if key and not seen:
            if not _holds_weights(content.get(key)):
                raise ModelError(
                    f"{path}: no weights under {key!r}; there are some under {', '.join(held) or 'no key'}"
                )
            inner: str | None = key
        else:
            inner = held[0] if held else None
        beside = {name: value for name, value in content.items() if inner or not isinstance(value, Tensor)}
        facts |= plain_facts(beside)
        if inner is None:
            # Beside the weights there may be an epoch or a score; they are no weights.
            tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return Weights(tensors, ".".join(seen), facts, tuple(notices))
            break
        others = [name for name in held if name != inner]
        if others:
            notices.append(
                f"{path.name} holds several sets of weights; those under {inner!r} are used, not {', '.join(others)} "
                f"(choose with --option weights_key={others[0]})."
            )
        elif inner in AVERAGED:
            notices.append(f"The weights are those under {inner!r} of {path.name}, averages over the training steps.")
        seen.append(inner)
        content = content[inner]
    if isinstance(content, nn.Module):
        while isinstance(content, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            content = content.module
        return Weights(content.state_dict(), ".".join(seen), facts, tuple(notices), content)
    where = f" under {'.'.join(seen)}" if seen else ""
    keys = f"; its keys are {', '.join(map(str, list(content)[:8]))}" if isinstance(content, Mapping) else ""
    raise ModelError(f"{path}: no state dict found{where}{keys}")


def _holds_weights(value: Any) -> bool:
    """A mapping with a tensor in it, near the top: an optimizer's state under `model` would not be one."""
    if isinstance(value, nn.Module):
        return True
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(inner, Tensor) for inner in value.values()) or any(
        _holds_weights(value.get(name)) for name in WRAPPERS
    )


def plain_facts(values: Mapping[Any, Any]) -> dict[str, Any]:
    """What is plain among `values`: numbers, short texts, and such values one level down (a parsed command line)."""
    facts: dict[str, Any] = {}
    for name, value in values.items():
        if len(facts) == MAX_FACTS:
            break
        plain = _plain(value)
        if plain is not None:
            facts[str(name)] = plain
        elif isinstance(value, argparse.Namespace) or (isinstance(value, Mapping) and str(name) in _CONFIGS):
            inner = vars(value) if isinstance(value, argparse.Namespace) else value
            found = {str(key): _plain(each) for key, each in list(inner.items())[:MAX_FACTS]}
            facts[str(name)] = {key: each for key, each in found.items() if each is not None}
    return facts


_CONFIGS = ("args", "config", "cfg", "opt", "options", "hparams", "hyper_parameters", "params_dict", "metrics")


def _plain(value: Any) -> Any:
    """A value JSON can hold, or None."""
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
    if isinstance(value, Tensor):
        return _plain(value.item()) if value.ndim == 0 and not value.is_complex() else None
    if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)) and len(value) <= 32:
        items = [_plain(item) for item in value]
        return None if any(item is None for item in items) else items
    if type(value).__module__ in ("pathlib", "pathlib._local", "datetime"):
        return str(value)
    return None
