"""Audits, printed before the score: what would make the numbers wrong, or less than they seem.

`audit_predictions` needs the predictions alone (no torch); `audit_model` runs a loaded model on a few clips before the run,
and `evaluate` stores what it finds in the predictions' provenance, so that `score` repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferbench.audits import AUDITS, MODEL_AUDITS, Clip, ModelAuditOptions, Scored, Trial
from ferbench.errors import DataError
from ferbench.findings import Finding, by_severity
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel


def audit_predictions(predictions: Predictions, *, manifest: Manifest | None = None) -> list[Finding]:
    """Every audit of predictions, and what the audits of the model found when they were made; errors first.

    Without a `manifest` (the score of a foreign file) the audits that compare with one find nothing.
    """
    scored = Scored(predictions, manifest)
    found = [finding for audit in AUDITS.values() for finding in audit.find(scored)]
    return by_severity([*recorded_findings(predictions.provenance), *found])


def audit_model(
    model: LoadedModel,
    clips: Sequence[Clip],
    targets: Sequence[int | None] | NDArray[np.int64] | None = None,
    *,
    labels: LabelSet | None = None,
    options: ModelAuditOptions | None = None,
) -> list[Finding]:
    """Every audit of a model, on float32 clips (T, C, H, W) as `ferbench.clips.load_clip` gives them; errors first.

    `targets` are indices into `labels` (the dataset's), or into the model's outputs where no labels are given; None, for
    one clip or for all, is unknown. The clips should be of many classes: the audits of the input compare accuracies.
    A model that fails on a clip is no reason to stop: what could not be tried is a note.
    """
    options = options or ModelAuditOptions()
    kept = list(clips)[: options.most_clips]
    if not kept:
        return []
    trial = Trial(model, kept, _outputs_of(model, targets, labels, len(kept)), labels, options)
    return by_severity([finding for audit in MODEL_AUDITS.values() for finding in audit.find(trial)])


def _outputs_of(
    model: LoadedModel, targets: Sequence[int | None] | NDArray[np.int64] | None, labels: LabelSet | None, count: int
) -> NDArray[np.int64] | None:
    """(count,) the model's output of each target, -1 where it is unknown or the model lacks the class."""
    if targets is None:
        return None
    known = [-1 if target is None else int(target) for target in list(targets)[:count]]
    if labels is None or not model.spec.classes:
        return np.array(known, np.int64)
    places = labels.mapping_to(LabelSet.of(model.spec.classes))
    outputs = [places[target] if target >= 0 else None for target in known]
    return np.array([-1 if output is None else output for output in outputs], np.int64)


def recorded_findings(provenance: Mapping[str, Any]) -> list[Finding]:
    """What `evaluate` recorded under `audits`; what is no finding is left out, since the file may be anyone's."""
    listed = provenance.get("audits")
    entries = listed if isinstance(listed, (list, tuple)) else ()
    return [finding for finding in map(_finding_of, entries) if finding is not None]


def _finding_of(entry: Any) -> Finding | None:
    try:
        finding = Finding(**entry)
    except (TypeError, ValueError):
        return None
    texts = (finding.rule, finding.message, finding.advice, finding.sample or "")
    is_whole = all(isinstance(text, str) for text in texts) and isinstance(finding.count, int)
    return finding if is_whole else None


def refuse_findings(findings: Sequence[Finding]) -> None:
    """DataError (exit code 4) naming the rules, when any finding is an error or a warning: what `--strict` means."""
    serious = [finding for finding in by_severity(findings) if finding.severity != "note"]
    if serious:
        rules = ", ".join(dict.fromkeys(finding.rule for finding in serious))
        raise DataError(f"--strict: the audits found {rules}; the scores are written all the same", reason="audits")
