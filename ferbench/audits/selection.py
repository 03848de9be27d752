"""What a checkpoint says of its own making: an epoch chosen on the test part, training on what is scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ferbench.audits.subject import Scored, StatedModel
from ferbench.findings import Finding


def audit_selection(scored: Scored) -> list[Finding]:
    """A checkpoint that was selected on the test part, or on a validation part that is scored."""
    findings = []
    for part, what in (("test", "the test part"), ("validation", "the validation part, which is what is scored")):
        names = [model.name for model in scored.models if _chosen_on(model, scored) == part]
        if names:
            message = f"{', '.join(dict.fromkeys(names))} says that its epoch was chosen on {what}"
            findings.append(Finding("error", "selected-on-test", message, _ADVICE[part], count=len(names)))
    return findings


_ADVICE = {
    "test": (
        "train again with --select-on validation (carve one: make-splits --validation), or report it as selected on "
        "the test part, as most published code does"
    ),
    "validation": (
        "make a split whose test part it is and train again: a part that selects is then carved out of train (Aff-Wild2: "
        "make-splits --protocol validation-as-test); or report it as selected on what is scored, as published code does"
    ),
}
"""What to do, by the part that the epoch was chosen on."""


def _chosen_on(model: StatedModel, scored: Scored) -> str:
    """`test` or `validation`, where its epoch was chosen on what is scored; empty where not, or nobody knows."""
    selection = model.facts.get("selection")
    if selection == "test":
        return "test"
    # A validation part carved in training is another than the one that a later manifest has: the same file, or nothing.
    trained, data = model.facts.get("manifest_sha256"), scored.provenance.get("manifest_sha256")
    is_scored = "validation" in scored.predictions.folds and bool(trained) and trained == data
    return "validation" if selection == "validation" and is_scored else ""


def audit_trained_fold(scored: Scored) -> list[Finding]:
    """A checkpoint that held one fold out, and is scored on others of the same dataset: it was trained on them."""
    findings = []
    for model in scored.models:
        held_out, folds = _held_out(model), _scored_folds(scored, model)
        others = sorted(folds - {held_out})
        if (
            held_out is None
            or held_out not in _known_folds(scored, folds)
            or not others
            or _is_other_data(scored, model)
        ):
            continue
        count = sum(fold in others for fold in scored.predictions.folds)
        message = (
            f"{model.name} was trained with fold {held_out} held out, and scores fold {', '.join(others)} too: it was "
            f"trained on those {count:,} samples"
        )
        advice = f"score it with --fold {held_out}, or give one checkpoint per fold: --model ckpt_{{fold}}.safetensors"
        findings.append(Finding("error", "trained-on-test", message, advice, count=count))
    return findings


def _held_out(model: StatedModel) -> str | None:
    """Name of the fold that it was not trained on; None where it does not say."""
    protocol = model.facts.get("protocol")
    places: list[Mapping[str, Any]] = [model.facts, protocol if isinstance(protocol, Mapping) else {}]
    for place in places:
        for key in ("held_out", "test_fold", "fold"):
            value = place.get(key)
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                return str(value)
    return None


def _scored_folds(scored: Scored, model: StatedModel) -> set[str]:
    return {model.fold} if model.fold is not None else set(scored.predictions.folds)


def _known_folds(scored: Scored, folds: set[str]) -> set[str]:
    """Names of folds of this protocol: a checkpoint of another protocol may call its folds anything."""
    protocol = scored.provenance.get("protocol")
    names = protocol.get("fold_names") if isinstance(protocol, Mapping) else None
    return (
        {str(name) for name in (names if isinstance(names, (list, tuple)) else ())}
        | folds
        | set(scored.predictions.folds)
    )


def _is_other_data(scored: Scored, model: StatedModel) -> bool:
    trained, data = model.facts.get("manifest"), scored.provenance.get("manifest")
    return bool(trained and data and trained != data)
