"""State dicts from files: opened without executing anything, unwrapped, and matched to a module key by key."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ferbench.errors import ModelError

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "ema")
"""Keys under which training code stores the weights, tried in this order."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a .safetensors or torch file; ModelError when it holds none, or would have to run code to load."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: not a readable safetensors file ({error})") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: holds pickled Python objects, which would run code when loaded; save the state dict alone with "
            "torch.save(model.state_dict(), path)",
            reason="unsafe-checkpoint",
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise ModelError(f"{path}: not a readable checkpoint ({_first_line(error)})") from error
    return _unwrapped(content, path)


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    seen = []
    while isinstance(content, Mapping):
        inner = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            # Beside the weights there may be an epoch or a score; they are no weights.
            tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
            break
        seen.append(inner)
        content = content[inner]
    where = f" under {'.'.join(seen)}" if seen else ""
    keys = f"; its keys are {', '.join(map(str, list(content)[:8]))}" if isinstance(content, Mapping) else ""
    raise ModelError(f"{path}: no state dict found{where}{keys}")


def _spellings(weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The weights as they are, and without one, two, … prefixes that every key has."""
    spellings = [weights]
    while prefix := next((prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        spellings.append(weights)
    return spellings


def load_into(module: nn.Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Copy `weights` into `module`; ModelError lists missing, unexpected and mis-shaped keys.

    A prefix of `PREFIXES` before every key is dropped, where the keys fit better without it: a network may have a part
    that is called `module`.
    """
    own = module.state_dict()
    weights = max(_spellings(dict(weights)), key=lambda spelling: len(own.keys() & spelling.keys()))
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    misshaped = [
        f"{key} is {tuple(weights[key].shape)}, the model has {tuple(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    problems = [
        f"{len(found)} {kind}: {', '.join(found[:5])}{', …' if len(found) > 5 else ''}"
        for kind, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if found
    ]
    if problems:
        raise ModelError(f"{where}: the weights do not fit the model: {'; '.join(problems)}")
    module.load_state_dict(dict(weights))


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
