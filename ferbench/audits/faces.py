"""Samples without a prediction: with and without them the score is another one, and papers differ in silence."""

from __future__ import annotations

import math
from collections import Counter

from ferbench.audits.subject import Scored
from ferbench.findings import Finding
from ferbench.metrics import confusion_matrix, uar, war

_NOTABLE = 0.01
"""Of WAR or UAR: from one point on, which of the two numbers is printed changes what a paper may claim."""
_ADVICE = (
    "print both, or say which: scored samples only is what most published code does, all samples counts them as errors"
)


def audit_faces(scored: Scored) -> list[Finding]:
    """How many samples have no prediction, why, and the score with and without them."""
    predictions = scored.predictions
    predicted = predictions.predicted
    without = int((predicted < 0).sum())
    if not without:
        return []
    confusion = confusion_matrix(predictions.targets, predicted, num_classes=len(predictions.labels))
    values = {
        name: (float(metric(confusion, "detected")), float(metric(confusion, "all")))
        for name, metric in (("UAR", uar), ("WAR", war))
    }
    reasons = Counter(
        (error or "no-prediction").partition(":")[0]
        for label, error in zip(predicted, predictions.errors, strict=True)
        if label < 0
    )
    why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(3))
    numbers = "; ".join(
        f"{name} is {_percent(detected)} on scored samples and {_percent(every)} on all"
        for name, (detected, every) in values.items()
    )
    # Without any prediction the first is NaN, and nothing is more apart.
    apart = any(not detected - every < _NOTABLE for detected, every in values.values())
    message = f"{without:,} of {len(predictions):,} samples have no prediction ({why}): {numbers}"
    return [Finding("warning" if apart else "note", "no-face", message, _ADVICE, count=without)]


def _percent(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{100 * value:.2f}"
