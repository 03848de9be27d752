"""Audits: the silent mistakes of an evaluation, looked for before any number is printed.

One file per audit or small family. An audit is a function that returns findings, and a row of a table:

    AUDITS        look at predictions, and at the manifest they were made from where there is one; no torch
    MODEL_AUDITS  run the model on a few clips

An error makes the score wrong; a warning makes it less than it seems, or not comparable; a note is for the record.
`docs/audits.md` says what each means, what it cannot see, and why its thresholds are what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ferbench.audits.batches import audit_batches
from ferbench.audits.faces import audit_faces
from ferbench.audits.health import audit_health
from ferbench.audits.inputs import audit_input
from ferbench.audits.joining import audit_joining
from ferbench.audits.leakage import audit_leakage
from ferbench.audits.modes import audit_repeats, audit_train_mode
from ferbench.audits.outputs import audit_one_class, audit_repeated_logits
from ferbench.audits.permutation import audit_class_order
from ferbench.audits.recipes import audit_recipe
from ferbench.audits.selection import audit_selection, audit_trained_fold
from ferbench.audits.subject import Clip, ModelAuditOptions, Scored, Trial
from ferbench.findings import Finding


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit of predictions."""

    summary: str
    find: Callable[[Scored], list[Finding]]


@dataclass(frozen=True, slots=True)
class ModelAudit:
    """An audit of a model."""

    summary: str
    find: Callable[[Trial], list[Finding]]


AUDITS: dict[str, Audit] = {
    "joining": Audit(
        "samples that are missing or unknown, labels and folds that are not the manifest's", audit_joining
    ),
    "leakage": Audit("a subject, group, file or validation part on both sides of the split", audit_leakage),
    "selection": Audit("a checkpoint whose epoch was chosen on the test part", audit_selection),
    "trained-fold": Audit("a checkpoint scored on folds that it was trained on", audit_trained_fold),
    "recipe": Audit("the recipe of the faces against that of the checkpoint", audit_recipe),
    "class-order": Audit("another class order, or label base, that would score much higher", audit_class_order),
    "one-class": Audit("one class predicted for everything", audit_one_class),
    "same-logits": Audit("the very same logits for many samples", audit_repeated_logits),
    "faces": Audit("samples without a prediction, and how much the score depends on them", audit_faces),
}
"""Name -> audit of predictions, in the order of the report. A new audit is a function and a row."""

MODEL_AUDITS: dict[str, ModelAudit] = {
    "health": ModelAudit("outputs that are no numbers, too few or too many, or the same for every clip", audit_health),
    "train-mode": ModelAudit("layers that are still in train mode", audit_train_mode),
    "repeats": ModelAudit("the same batch twice", audit_repeats),
    "batches": ModelAudit("a batch of one against a batch of many, in two orders", audit_batches),
    "input": ModelAudit("BGR or RGB, and the range of the values", audit_input),
}
"""Name -> audit of a model on a few clips, in the order of the report."""

__all__ = ["AUDITS", "MODEL_AUDITS", "Audit", "Clip", "ModelAudit", "ModelAuditOptions", "Scored", "Trial"]
