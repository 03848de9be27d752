"""What the scripts `make_NAME_reference.py` share: the original network filled with drawn weights, and its reference file.

Nothing of an original is in ferbench: a script imports it from a checkout that its user names.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from reference_weights import RULE, drawn, drawn_input
from torch import Tensor, nn

FOLDER = Path(__file__).parent / "reference"


@dataclass(frozen=True)
class Original:
    """One original network and how it stands to ours."""

    model: str
    """Our name."""
    repository: str
    checkout: Path
    network: nn.Module
    logits: Callable[[Any], Tensor] = lambda output: output
    """The logits in what the original returns."""
    prepare: Callable[[nn.Module, Mapping[str, Any]], None] = lambda network, case: None
    """Called with the network before each case: where an original is put right to be compared with ours by default."""
    has_dead_layers: bool = False
    """True where the original registers tensors that its logits do not depend on: they are found by their gradients."""


def fill(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Overwrite every tensor of the state dict by the drawn one of its key; returns their shapes."""
    state = network.state_dict()
    for key, value in state.items():
        value.copy_(torch.from_numpy(drawn(key, tuple(value.shape))))
    return {key: tuple(value.shape) for key, value in state.items()}


def write_reference(original: Original, cases: Sequence[Mapping[str, Any]]) -> None:
    """Run the original on the input of each case (`options` of ours, `seed`, `shape`) and write FOLDER/MODEL.json."""
    torch.set_num_threads(1)
    shapes = fill(original.network)
    original.network.eval()
    ignored = without_influence(original, cases[0]) if original.has_dead_layers else set()
    answered = []
    for case in cases:
        original.prepare(original.network, case)
        with torch.no_grad():
            logits = original.logits(original.network(torch.from_numpy(drawn_input(case))))
        answered.append({**case, "logits": _rounded(logits.tolist())})
    values = {
        "model": original.model,
        "repository": original.repository,
        "commit": _commit(original.checkout),
        "weights": RULE,
        "registered parameters": sum(parameter.numel() for parameter in original.network.parameters()),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "cases": answered,
        "keys": {key: shape for key, shape in shapes.items() if key not in ignored},
        "ignored": {key: shape for key, shape in shapes.items() if key in ignored},
    }
    path = FOLDER / f"{original.model}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(_text(values), encoding="utf-8")
    print(f"{path}: {len(values['keys'])} keys used, {len(ignored)} not")
    for case in answered:
        print(case["options"], case["logits"])


def without_influence(original: Original, case: Mapping[str, Any]) -> set[str]:
    """Keys of the state dict that the logits do not depend on: parameters without a gradient, and buffers beside them."""
    network = original.network
    original.logits(network(torch.from_numpy(drawn_input(case)))).square().sum().backward()
    used = {key for key, value in network.named_parameters() if value.grad is not None and bool(value.grad.any())}
    network.zero_grad(set_to_none=True)
    beside = {key.rpartition(".")[0] for key in used}
    buffers = {key for key, _ in network.named_buffers() if key.rpartition(".")[0] in beside}
    return set(network.state_dict()) - used - buffers


def _rounded(values: Any) -> Any:
    """Nested lists of floats with six digits behind the point."""
    return [_rounded(each) for each in values] if isinstance(values, list) else round(values, 6)


def _commit(checkout: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown: not a git checkout"


def _text(values: Mapping[str, Any]) -> str:
    """JSON with one line per key and per row of logits."""
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and name in ("keys", "ignored"):
            inner = ",\n".join(f"    {json.dumps(key)}: {json.dumps(shape)}" for key, shape in value.items())
            lines.append(f"  {json.dumps(name)}: {{\n{inner}\n  }}" if value else f"  {json.dumps(name)}: {{}}")
        elif name == "cases":
            inner = ",\n".join(f"    {json.dumps(case)}" for case in value)
            lines.append(f"  {json.dumps(name)}: [\n{inner}\n  ]")
        else:
            lines.append(f"  {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
