"""Checks: what would spoil a result, looked for in a manifest, its files, its splits and its card.

One file per family. A family is a function of a `Context` that returns findings; `CHECKS` is the table. What touches the
disk is done once for all families, in worker processes (`probing`); the families themselves only look at columns.

    options      CheckOptions: which families, and their numbers
    context      what a family sees: the manifest, its card, its sides, what the files are
    sides        who trains, validates and tests; and what is on more than one side
    probing      one visit to each sample's files
    phash        the perceptual hash of a picture; near: pairs of pictures that look the same
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ferbench.checks.clips import check_clips
from ferbench.checks.context import Context
from ferbench.checks.counts import check_counts, no_counts
from ferbench.checks.files import check_files
from ferbench.checks.frames import check_frames
from ferbench.checks.leaks import check_leaks, no_sides
from ferbench.checks.options import CheckOptions
from ferbench.checks.packs import check_packs, no_packs
from ferbench.checks.pictures import check_pictures
from ferbench.checks.rows import check_rows
from ferbench.errors import UsageError
from ferbench.findings import Finding


def _always(context: Context) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Check:
    """One family of checks."""

    summary: str
    find: Callable[[Context], list[Finding]]
    needs_files: bool = False
    """Whether it looks at the samples' files, so that they must be visited first."""
    why_not: Callable[[Context], str] = _always
    """Why it has nothing to look at in this manifest; empty when it has. Asked before any file is visited."""


CHECKS: dict[str, Check] = {
    "rows": Check("rows listed twice, without a label, or failed", check_rows),
    "files": Check("files that are missing, empty, or not what they should be", check_files, needs_files=True),
    "packs": Check("shards against their index: sizes, counts, checksums", check_packs, why_not=no_packs),
    "frames": Check("frame counts, frame ranges and the names of frames", check_frames, needs_files=True),
    "clips": Check("clips shorter than a model's, and media of several kinds", check_clips),
    "counts": Check("class counts, class order and label base, against the card", check_counts, why_not=no_counts),
    "leaks": Check("a subject, group, file or row on both sides of a split", check_leaks, why_not=no_sides),
    "pictures": Check(
        "the same or nearly the same picture on both sides", check_pictures, needs_files=True, why_not=no_sides
    ),
}
"""Name -> family, in the order of the report. A new family is a file and a row."""


def chosen_checks(options: CheckOptions) -> list[str]:
    """The families to run, in order; UsageError for a name that is not in CHECKS."""
    for name in (*options.only, *options.skip):
        if name not in CHECKS:
            raise UsageError(f"unknown check {name!r}; known: {', '.join(CHECKS)}")
    chosen = [name for name in CHECKS if name in (options.only or CHECKS) and name not in options.skip]
    if not chosen:
        raise UsageError(f"no check is left to run; known: {', '.join(CHECKS)}")
    return chosen


__all__ = ["CHECKS", "Check", "CheckOptions", "Context", "chosen_checks"]
