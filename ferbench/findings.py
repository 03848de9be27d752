"""Finding: one thing that differs from what a dataset, a manifest or a split should be, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

SEVERITIES = ("error", "warning", "note")
"""An error makes `index` and `check` exit with 4; a warning is worth a look; a note is said for the record."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, of one sample or of the whole."""

    severity: str
    rule: str
    """One short kebab-case word for the kind of finding: `class-count`, `missing-file`, `leak`."""
    message: str
    advice: str = ""
    """What to do next; empty where nothing needs doing."""
    sample: str | None = None
    count: int = 1
    """How many samples or rows it stands for."""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, got {self.severity!r}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then notes; otherwise in the order given."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def count_severities(findings: Iterable[Finding]) -> dict[str, int]:
    """`{"error": 1, "warning": 0, "note": 3}`."""
    found = Counter(finding.severity for finding in findings)
    return {severity: found[severity] for severity in SEVERITIES}
