"""`frames`: declared frame counts and ranges against the real ones, and the names of frames in folders."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench.checks.context import Context
from ferbench.checks.sides import BEYOND, frame_ranges
from ferbench.findings import Finding
from ferbench.manifest import Manifest


def check_frames(context: Context) -> list[Finding]:
    """Counts that are wrong, ranges that reach beyond the end, rows without a count, and names that mislead."""
    return [*_counts(context), *_ranges(context), *_uncounted(context), *_names(context)]


def real_counts(context: Context) -> NDArray[np.int64]:
    """(N,) frames that are there, -1 where nobody counted."""
    return context.probes.num_frames


def recounted(context: Context) -> tuple[Manifest, int]:
    """The manifest with every count that could be made, and how many rows that changes."""
    declared, real = _declared(context.manifest), real_counts(context)
    wrong = (real >= 0) & (real != declared)
    counts = np.where(real >= 0, real, declared)
    column = pa.array(counts, pa.int32(), mask=counts < 0)
    return context.manifest.with_columns(num_frames=column), int(wrong.sum())


def _declared(manifest: Manifest) -> NDArray[np.int64]:
    return manifest.table.column("num_frames").fill_null(-1).to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _counts(context: Context) -> list[Finding]:
    declared, real = _declared(context.manifest), real_counts(context)
    rows = np.flatnonzero((declared >= 0) & (real >= 0) & (declared != real))

    def say(row: int) -> str:
        corrected = f"; corrected to {real[row]}" if context.fix else ""
        return f"num_frames says {declared[row]}, there are {real[row]}{corrected}"

    advice = "" if context.fix else "--fix writes a manifest with the real counts"
    return context.each("warning" if context.fix else "error", "num-frames", rows, say, advice)


def _ranges(context: Context) -> list[Finding]:
    starts, ends = frame_ranges(context.manifest)
    real, total = real_counts(context), context.probes.total
    has_end = ends != BEYOND
    # A range that was read to its end need not have met the end of the source.
    rows = np.flatnonzero(has_end & (real >= 0) & (starts + real < ends))

    def say(row: int) -> str:
        there = total[row] if total[row] >= 0 else starts[row] + real[row]
        return f"its range [{starts[row]}, {ends[row]}) ends beyond the end: there are {there} frames"

    return context.each("error", "range", rows, say, "correct end_frame, or get the complete file")


def _uncounted(context: Context) -> list[Finding]:
    media = context.manifest.table.column("media").to_numpy()
    declared = _declared(context.manifest)
    rows = np.flatnonzero((declared < 0) & (media != "image") & ~context.failed())
    if not len(rows) or context.fix:
        return []
    message = f"{len(rows):,} clips have no frame count, first: {context.sample_id(int(rows[0]))}"
    return [Finding("note", "no-count", message, "--fix counts them", count=len(rows))]


def _names(context: Context) -> list[Finding]:
    misordered, gaps = context.probes.misordered, context.probes.gaps
    return [
        *context.each(
            "warning", "frame-names", sorted(misordered), lambda row: f"its frames are not zero-padded: {misordered[row]}",
            "ferbench reads them by their numbers; code that sorts names as text mixes them up: rename them",
        ),
        *context.each(
            "warning", "frame-gaps", sorted(gaps), lambda row: f"frames are missing: {gaps[row]}",
            "frames that were dropped shift every later index; extract them again if that was not meant",
        ),
    ]  # fmt: skip
