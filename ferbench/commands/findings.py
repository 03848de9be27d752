"""What `index`, `check`, `import` and `make-splits` do with findings: print them, and exit with 4 on errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ferbench.commands.options import console
from ferbench.errors import DataError


def print_findings(findings: Sequence[Any]) -> None:
    """The findings table, errors first; one line when there are none."""
    from ferbench.rendering.findings import findings_table
    from ferbench.rendering.terminal import print_tables

    if findings:
        print_tables([findings_table(findings)], console())
    else:
        console().print("nothing differs from the card", markup=False)


def refuse_errors(findings: Sequence[Any], what: str) -> None:
    """DataError, exit code 4, when any finding is an error."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise DataError(f"{what}: {len(errors)} findings are errors, first: {errors[0].message}", reason="findings")
