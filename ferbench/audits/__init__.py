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
    "faces": Audit("samples without a face, and how much the score depends on them", audit_faces),
}
"""Name -> audit of predictions, in the order of the report. A new audit is a function and a row."""

MODEL_AUDITS: dict[str, ModelAudit] = {
    "batches": ModelAudit("a batch of one against a batch of many, in two orders", audit_batches),
}
"""Name -> audit of a model on a few clips, in the order of the report."""

__all__ = ["AUDITS", "MODEL_AUDITS", "Audit", "Clip", "ModelAudit", "ModelAuditOptions", "Scored", "Trial"]
