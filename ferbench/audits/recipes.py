"""The recipe of the faces against the recipe that the checkpoint was trained on."""

from __future__ import annotations

from ferbench.audits.subject import Scored
from ferbench.findings import Finding

_ADVICE = (
    "align again with the recipe of the checkpoint, or give both recipe ids beside the score: the commonest reason for "
    "half of a published score is faces that were made another way"
)


def audit_recipe(scored: Scored) -> list[Finding]:
    """One finding per recipe that a model states and the faces do not have."""
    manifest = scored.manifest
    recipe_id = manifest.recipe.id if manifest and manifest.recipe else str(scored.provenance.get("recipe_id") or "")
    findings = []
    for stated in dict.fromkeys(model.recipe_id for model in scored.models):
        if not stated or stated == recipe_id:
            continue
        models = ", ".join(model.name for model in scored.models if model.recipe_id == stated)
        these = f"these faces are of recipe {recipe_id}" if recipe_id else "these faces have no recipe"
        message = f"{models} was trained on faces of recipe {stated}; {these}"
        findings.append(Finding("warning", "recipe", message, _ADVICE))
    return findings
