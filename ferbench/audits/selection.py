"""What a checkpoint says of its own making: an epoch chosen on the test part, training on what is scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ferbench.audits.subject import Scored, StatedModel
from ferbench.findings import Finding


def audit_selection(scored: Scored) -> list[Finding]:
    """A checkpoint that was selected on the test part."""
    names = [model.name for model in scored.models if model.facts.get("selection") == "test"]
    if not names:
        return []
    message = f"{', '.join(dict.fromkeys(names))} says that its epoch was chosen on the test part"
    advice = (
        "train again with --selection validation (carve one: make-splits --validation), or report it as selected on "
        "the test part, as most published code does"
    )
    return [Finding("error", "selected-on-test", message, advice, count=len(names))]


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
