"""Batches: the logits of a clip must not depend on what else is in its batch, nor on its place in it.

Two published systems fail this: one takes frame differences across the whole batch (MS, test logits depend on the clip
before), one adds the positional code of the batch index instead of time (ABAW 2021's CNN-Transformer). A model that
normalises over the batch, or was left in train mode, fails it too. On lists sorted by class that is label leakage.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferbench.audits.subject import Clip, Trial, run_units
from ferbench.errors import ModelError
from ferbench.findings import Finding

UNITS = 16
"""Clips that are compared, or images of an image model."""
TOLERANCE = {"float32": 1e-3, "tf32": 5e-3, "fp16": 1e-2, "bf16": 6e-2}
"""Precision -> largest difference, as a fraction of the largest output. Kernels are chosen by batch size and add up in
another order: 2e-7 to 1e-6 was seen in float32 on a CPU (ResNet-18, R3D-18, ViT-B/32). bfloat16 has 8 bits of mantissa, and
cuDNN's convolutions round to TF32 (10 bits) unless told otherwise; those rows are by that arithmetic, not measured. Models
that mix batch mates differ by 1e-2 to 1 and more."""
_ADVICE = (
    "score it with --batch-size 1, and say so; mend the model: nothing in forward may reach over the first axis, and "
    "layers that normalise over the batch need running statistics and eval()"
)


def audit_batches(trial: Trial) -> list[Finding]:
    """A batch of one against a batch of k, in two orders."""
    units = trial.units(UNITS)
    size = min(max(trial.options.batch_size, 2), len(units))
    if size < 2:
        return []
    order = np.random.default_rng(trial.options.seed).permutation(len(units))
    try:
        together = run_units(trial, units, batch_size=size)
        shuffled = np.empty_like(together)
        shuffled[order] = run_units(trial, [units[place] for place in order], batch_size=size)
        again = run_units(trial, units, batch_size=size)
    except ModelError as error:
        return [_not_run(f"batches of {size}", error)]
    if difference(together, again) > tolerance(trial):
        return []  # it differs from itself: said by the audit of repeated runs, and there is nothing to compare
    alone, ran_alone = _alone(trial, units)
    found = max(difference(alone, together), difference(together, shuffled)) if ran_alone else (
        difference(together, shuffled)
    )  # fmt: skip
    if found <= tolerance(trial):
        return [] if ran_alone else [_not_run("batches of 1", None)]
    reference = alone if ran_alone else shuffled
    changed = int((reference.argmax(axis=1) != together.argmax(axis=1)).sum())
    worst = float(np.abs(reference - together).max())
    message = (
        f"the outputs of a sample depend on its batch{_cause(trial, units, size)}: they differ by {worst:.3g} between "
        f"a batch of {1 if ran_alone else size} and {'a batch' if ran_alone else 'another batch'} of {size} "
        f"(outputs are up to {float(np.abs(reference).max()):.3g}), and {changed} of {len(units)} predictions change"
    )
    return [Finding("error", "batch-invariance", message, _ADVICE, count=changed)]


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The largest difference of two sets of outputs, as a fraction of the largest; NaN on one side only is infinite."""
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return float("inf")
    if not one.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        gap = np.nan_to_num(np.abs(one - other), nan=0.0)
    scale = float(np.nan_to_num(np.abs(one), posinf=0.0, nan=0.0).max())
    return float(gap.max()) / max(scale, 1e-12)


def tolerance(trial: Trial) -> float:
    """What may differ by rounding in the precision that the model runs in: by --amp, by its weights, by the device."""
    weights = next(iter(trial.model.module.parameters()), None) if trial.model.module is not None else None
    kind = {"torch.float16": "fp16", "torch.bfloat16": "bf16"}.get(
        str(weights.dtype) if weights is not None else "", ""
    )
    if trial.options.amp != "off":
        kind = trial.options.amp
    return TOLERANCE[kind or ("tf32" if trial.options.device.startswith("cuda") else "float32")]


def _alone(trial: Trial, units: list[Clip]) -> tuple[NDArray[np.float32], bool]:
    try:
        return run_units(trial, units, batch_size=1), True
    except ModelError:  # an exported program may take one batch size only
        return np.empty((0, 0), np.float32), False


def _cause(trial: Trial, units: list[Clip], size: int) -> str:
    """In words: its place in the batch, or its batch mates."""
    try:
        copies = run_units(trial, [units[0]] * size, batch_size=size)
        mates = run_units(trial, [units[0], *units[1:size]], batch_size=size)
    except ModelError:
        return ""
    by_place = difference(copies[:1].repeat(size, axis=0), copies) > tolerance(trial)
    by_mates = difference(copies[:1], mates[:1]) > tolerance(trial)
    if by_place and not by_mates:
        return " (on its place in it, not on what else is in it)"
    return " (on what else is in it)" if by_mates else ""


def _not_run(what: str, error: ModelError | None) -> Finding:
    reason = f": {error.message}" if error else ""
    return Finding("note", "batch-invariance", f"whether outputs depend on the batch was not tried: no {what}{reason}")
