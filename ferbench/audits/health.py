"""Whether the outputs can be a score at all: numbers, of as many classes as are named, that depend on the input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    outputs, failures = _outputs(trial, clips)
    if failures and not len(outputs):
        advice = "see what the model takes: --input layout, height, width, channels, clip_len; or another --batch-size"
        return [Finding("error", "model-fails", failures[-1].message, advice)]
    findings = []
    if failures:
        message = f"the model fails on {len(failures)} of {len(clips)} clips: {failures[-1].message}"
        findings.append(
            Finding("warning", "model-fails", message, "see what is special about them", count=len(failures))
        )
    named = len(trial.model.spec.classes) or len(trial.labels or ())
    if named and outputs.shape[1] != named:
        message = f"the model has {outputs.shape[1]} outputs for {named} classes"
        findings.append(
            Finding("error", "class-count", message, "say its classes in order: --input classes=neutral,happy,…")
        )
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    if bad:
        message = f"the outputs of {bad} of {len(outputs)} clips are not finite numbers"
        advice = "half precision may overflow (--amp off); or the weights hold NaN, or the input has another range"
        findings.append(Finding("error", "nan-logits", message, advice, count=bad))
    elif (
        not failures
        and _are_clips_different(clips)
        and difference(outputs[:1].repeat(len(outputs), axis=0), outputs) < _SAME
    ):
        message = f"the outputs are the same for {len(clips)} different clips: the model does not look at its input"
        findings.append(
            Finding("warning", "same-outputs", message, "see whether the weights were loaded into the network")
        )
    return findings


def _outputs(trial: Trial, clips: list[Clip]) -> tuple[NDArray[np.float32], list[ModelError]]:
    """(n, K) outputs of the clips that the model takes, in a batch or else one by one; and what it said of the others."""
    try:
        return trial.run(clips, batch_size=max(trial.options.batch_size, 1)), []
    except ModelError as error:
        whole = error
    outputs, failures = [], []
    for clip in clips:
        try:
            outputs.append(trial.run([clip], batch_size=1))
        except ModelError as error:
            failures.append(error)
    # An exported program may take its own batch size and no other.
    return (np.concatenate(outputs), failures) if outputs else (np.empty((0, 0), np.float32), [whole])


def _are_clips_different(clips: list[Clip]) -> bool:
    return len(clips) >= _LEAST and len({clip.tobytes() for clip in clips}) >= _LEAST
