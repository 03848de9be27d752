"""Train mode: layers that are still training, and outputs that differ when the same input is given twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ferbench.audits.batches import difference, tolerance
from ferbench.audits.subject import Trial, run_units
from ferbench.errors import ModelError
from ferbench.findings import Finding

_UNITS = 4
_LISTED = 4
_SENSITIVE = ("Dropout", "BatchNorm", "SyncBatchNorm", "InstanceNorm", "DropPath", "StochasticDepth")
"""Parts of the names of layers that do another thing in train mode. The flag of any other layer changes nothing."""


def audit_train_mode(trial: Trial) -> list[Finding]:
    """Layers with `training` on after the model was put in eval mode and run once: its code turned it on again."""
    with suppress(ModelError):  # it may take other batches only; the flags say what they say
        run_units(trial, trial.units(1), batch_size=1)
    training = [name for name, layer in _layers(trial.model.module) if _is_training(layer)]
    if not training:
        return []
    listed = ", ".join(training[:_LISTED]) + (f" and {len(training) - _LISTED} more" if len(training) > _LISTED else "")
    message = f"the model is in train mode although it was put in eval mode: {listed}"
    advice = (
        "take the self.train() (or training=True) out of the model's code; layers set so drop units or use the batch"
    )
    return [Finding("error", "train-mode", message, advice, count=len(training))]


def audit_repeats(trial: Trial) -> list[Finding]:
    """The same batch twice gives two outputs."""
    units = trial.units(_UNITS)
    outputs = None
    for size in dict.fromkeys((len(units), trial.options.batch_size, 1)):
        try:
            outputs = [run_units(trial, units, batch_size=size) for _ in range(3)]
            break
        except ModelError:
            continue
    if not outputs:
        return []
    found = max(difference(outputs[0], other) for other in outputs[1:])
    if found <= tolerance(trial):
        return []
    changed = max(int((outputs[0].argmax(axis=1) != other.argmax(axis=1)).sum()) for other in outputs[1:])
    message = (
        f"the same input gives different outputs: they differ by {100 * found:.1f}% of the largest, and "
        f"{changed} of {len(units)} predictions change"
    )
    advice = (
        "something in it is random in eval mode: dropout with training=True, a layer left in train mode, noise or random "
        "frames in forward. No score of it can be repeated"
    )
    return [Finding("error", "not-deterministic", message, advice)]


def _layers(module: Any) -> Iterator[tuple[str, Any]]:
    """(name, layer) of everything in the network, TorchScript included; nothing of an exported program or ONNX."""
    if module is None or not hasattr(module, "named_modules") or type(module).__module__.startswith("torch.fx"):
        return
    for name, layer in module.named_modules():
        yield name or "the model itself", layer


def _is_training(layer: Any) -> bool:
    kind = str(getattr(layer, "original_name", type(layer).__name__))  # TorchScript keeps the class's name there
    return bool(getattr(layer, "training", False)) and any(part in kind for part in _SENSITIVE)
