"""`models`: what is known about the built-in models, and one as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ferbench.models import model_module


def describe(name: str) -> dict[str, Any]:
    """A built-in model's card and input spec as plain values."""
    module = model_module(name)
    spec = {key: value for key, value in module.INPUT_SPEC.as_dict().items() if value not in ("", [])}
    return {"name": name, **module.CARD, "input": ", ".join(f"{key} {value}" for key, value in spec.items())}


def export_model(name: str, path: Path) -> None:
    """Write a built-in model with its weights as TorchScript, its input spec inside."""
    from ferbench.models.loading import built_in, save_torchscript

    module, spec = built_in(name)
    save_torchscript(module, spec, path)
