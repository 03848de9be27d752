"""Train and test of the manifest that was scored: whoever or whatever is on both sides. The search is that of `check`."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from ferbench.audits.subject import Scored
from ferbench.cards import card_of
from ferbench.checks import CheckOptions, Context
from ferbench.checks.leaks import check_leaks, is_published
from ferbench.checks.probing import Probes
from ferbench.checks.sides import sides_of
from ferbench.findings import Finding


def audit_leakage(scored: Scored) -> list[Finding]:
    """One finding per rule of the leak check: a subject, group, file or validation part that is on both sides.

    What a published split has across its sides is a note: the score compares with published ones as it is. Nothing without
    a manifest, or without a split.
    """
    manifest = scored.manifest
    sides = sides_of(manifest) if manifest is not None else ()
    if manifest is None or not sides:
        return []
    context = Context(manifest, CheckOptions(per_rule=1), card_of(manifest), sides, Probes(0))
    found = check_leaks(context)
    published = is_published(context)
    found.sort(key=lambda finding: finding.rule)
    return [_summary(list(group), published) for _, group in groupby(found, key=lambda finding: finding.rule)]


def _summary(findings: list[Finding], published: bool) -> Finding:
    """The gravest of a rule, with how many there are beside it."""
    worst = next((finding for finding in findings if finding.severity == "error"), findings[0])
    # `check` lists one value and counts the rest: a rest stands for as many values as its count says.
    others = sum(finding.count if finding.message.startswith("and ") else 1 for finding in findings) - 1
    message = worst.message + (f"; and {others:,} more" if others else "")
    severity = "note" if published and worst.severity == "warning" else worst.severity
    return replace(worst, severity=severity, message=message)
