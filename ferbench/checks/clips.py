"""`clips`: samples shorter than a model's clip, per part and class, and media of several kinds in one manifest."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.checks.context import Context, counted_words
from ferbench.findings import Finding


def check_clips(context: Context) -> list[Finding]:
    """Short clips by split and class; mixed media."""
    return [*_short(context), *_mixed(context)]


def _short(context: Context) -> list[Finding]:
    table, wanted = context.manifest.table, context.options.clip_len
    frames = table.column("num_frames").fill_null(-1).to_numpy().astype(np.int64)
    if len(context.probes.num_frames) == len(frames):
        frames = np.where(context.probes.num_frames >= 0, context.probes.num_frames, frames)
    is_clip = (table.column("media").to_numpy() != "image") & ~context.failed()
    short = is_clip & (frames >= 0) & (frames < wanted)
    findings = []
    for name, part in _parts(context):
        rows = np.flatnonzero(short & part)
        if not len(rows):
            continue
        message = (
            f"{name}: {len(rows):,} of {int((is_clip & part).sum()):,} clips have fewer than {wanted} frames "
            f"({_classes(context, rows)}), first: {context.sample_id(rows[0])} with {frames[rows[0]]}"
        )
        advice = "the sampler's --short says what they become; published code repeats a frame, or drops them: say which"
        findings.append(Finding("warning", "short-clip", message, advice, count=len(rows)))
    return findings


def _parts(context: Context) -> list[tuple[str, NDArray[np.bool_]]]:
    """The parts of a fixed split; otherwise everything, since each fold trains on the others."""
    for sides in context.sides:
        if sides.kind == "split":
            return [(name, sides.part == part) for part, name in sides.names.items()]
    return [("all", np.ones(len(context.manifest), dtype=bool))]


def _classes(context: Context, rows: NDArray[np.int64]) -> str:
    labels = context.manifest.table.column("label").fill_null(-1).to_numpy().astype(np.int64)[rows]
    names = [*context.manifest.labels.names, "unlabelled"]
    counts = np.bincount(np.where(labels < 0, len(names) - 1, labels), minlength=len(names))
    return counted_words(list(zip(names, counts.tolist(), strict=True)))


def _mixed(context: Context) -> list[Finding]:
    counts = pc.value_counts(context.manifest.table.column("media").combine_chunks()).to_pylist()
    if len(counts) < 2:
        return []
    shown = counted_words(sorted((entry["values"], entry["counts"]) for entry in counts))
    advice = "a clip model sees an image as the same frame T times; make a manifest per kind if that is not meant"
    return [Finding("warning", "mixed-media", f"media of several kinds: {shown}", advice)]
