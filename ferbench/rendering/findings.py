"""Findings as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ferbench.findings import Finding, by_severity
from ferbench.rendering.wording import plain

MOST_ROWS = 40


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """Severity, rule, sample and message with its advice; errors first, the rest counted."""
    table = Table(box=SIMPLE_HEAD, title=None, pad_edge=False)
    for name in ("severity", "rule", "finding"):
        table.add_column(name, no_wrap=name != "finding", overflow="fold")
    for finding in by_severity(findings)[:MOST_ROWS]:
        sample = f"{finding.sample}: " if finding.sample else ""
        advice = f"\n→ {finding.advice}" if finding.advice else ""
        table.add_row(finding.severity, finding.rule, Text(plain(f"{sample}{finding.message}") + advice))
    if len(findings) > MOST_ROWS:
        table.caption = f"and {len(findings) - MOST_ROWS} more; --json lists them all"
    return table
