"""`files`: what is missing, empty or not what the manifest says it is."""

from __future__ import annotations

import numpy as np

from ferbench.checks.context import Context
from ferbench.findings import Finding

_ADVICE = {
    "missing-file": "complete the copy, or say where the files are with --root",
    "empty-file": "an interrupted copy leaves such files; copy it again",
    "truncated": "an interrupted copy leaves such files; copy it again",
    "not-a-video": "the column media says video; correct it, or get the right file",
    "not-an-image": "the column media says image, or it lies among frames; correct it, or get the right file",
    "bad-range": "correct start_frame and end_frame",
    "bug": "a mistake in ferbench or one of its libraries: report it, with the file",
    "worker-died": "the file kills the decoder; convert it with another program",
}
_OTHERWISE = "look at the file with another program; leave the sample out if it stays unreadable"


def check_files(context: Context) -> list[Finding]:
    """A finding per sample that cannot be read; failed rows were given up before and are not visited."""
    by_reason: dict[str, list[int]] = {}
    for row, error in sorted(context.probes.errors.items()):
        by_reason.setdefault(error.partition(":")[0], []).append(row)
    findings = []
    for reason, rows in by_reason.items():

        def say(row: int) -> str:
            message = context.probes.errors[row].partition(": ")[2]
            path = context.value("path", row)
            return f"{path}: {message.partition(': ')[2] or message}"

        advice = _ADVICE.get(reason, _OTHERWISE)
        if reason == "missing-file" and len(rows) == int((~context.failed()).sum()) > 1:
            advice = f"none is below {context.manifest.root}: say where they are with --root"
        findings += context.each("error", reason, np.array(rows), say, advice)
    return findings
