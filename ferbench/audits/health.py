"""Whether the outputs can be a score at all: numbers, of as many classes as are named, that depend on the input."""

from __future__ import annotations

import numpy as np

from ferbench.audits.batches import difference
from ferbench.audits.subject import Clip, Trial
from ferbench.errors import ModelError
from ferbench.findings import Finding

_LEAST = 4
_SAME = 1e-6
"""Outputs of different clips closer than this, as a fraction of the largest, do not depend on the clips."""


def audit_health(trial: Trial) -> list[Finding]:
    """A model that fails, gives other numbers of classes than it names, NaN, or the same for everything."""
    clips = list(trial.clips[: max(trial.options.batch_size, _LEAST)])
    if not clips:
        return []
    try:
        outputs = trial.run(clips, batch_size=max(trial.options.batch_size, 1))
    except ModelError as error:
        advice = "see what the model takes: --input layout, height, width, channels, clip_len; or another --batch-size"
        return [Finding("error", "model-fails", error.message, advice)]
    findings = []
    named = len(trial.model.spec.classes) or len(trial.labels or ())
    if named and outputs.shape[1] != named:
        message = f"the model has {outputs.shape[1]} outputs for {named} classes"
        findings.append(
            Finding("error", "class-count", message, "say its classes in order: --input classes=neutral,happy,…")
        )
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    if bad:
        message = f"the outputs of {bad} of {len(clips)} clips are not finite numbers"
        advice = "half precision may overflow (--amp off); or the weights hold NaN, or the input has another range"
        findings.append(Finding("error", "nan-logits", message, advice, count=bad))
    elif _are_clips_different(clips) and difference(outputs[:1].repeat(len(outputs), axis=0), outputs) < _SAME:
        message = f"the outputs are the same for {len(clips)} different clips: the model does not look at its input"
        findings.append(
            Finding("warning", "same-outputs", message, "see whether the weights were loaded into the network")
        )
    return findings


def _are_clips_different(clips: list[Clip]) -> bool:
    return len(clips) >= _LEAST and len({clip.tobytes() for clip in clips}) >= _LEAST
