"""What a job of any size takes, from what one clip takes: the tables of docs/scaling.md.

    python benchmarks/scaling_model.py benchmarks/results/2026-11-23-clip-costs.csv

Bytes of a clip are read from the file that clip_costs.py wrote; the other constants are below, each with where it was
measured. Everything is multiplication: what does not grow in proportion (start-up, the end of a job) is in the simulation.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from dataclasses import dataclass
from pathlib import Path

SIZES = (10_000, 1_000_000, 100_000_000)

# results/2026-11-23-clip-costs.txt
WHOLE_MS = {"source": 147.7, "224x224": 83.3, "1280x720": 325.3}
"""`align` as it is, a clip: the stages, process hops, planning, tables."""
JOURNAL_BYTES, FACES_BYTES, MANIFEST_BYTES = 7_400, 1_670, 280
"""A clip of 16 frames, each."""
CROPS = 16
RECORD_MS, PACK_MS = 0.53, 0.93
"""Of the driver, a clip: its line in the journal; its crops read again and written into a shard."""
READ_MS = 3.6
"""Crops to the float array of a model."""
FORWARD_MS = {"mini-xception": 17, "former-dfer": 119, "ms": 1_123}
"""One core."""

# The Ray engine's driver for one result, tasks that do nothing and results of 8 kB, 2 to 8 workers: 0.40 to 0.51
RAY_MS = 0.45
# results/2026-11-23-merge-scale.txt: bytes of memory a row beyond 240 MB of libraries, from 100,000 to a million rows
PLAN_BYTES, MERGE_BYTES = 900, 1_000
SHARD_SIZE = 1_000
# results/2026-11-22-align-scale.txt: a worker with its decoder
WORKER_MIB = 470


@dataclass(frozen=True)
class Clip:
    """The mean of the clips of one size."""

    size: str
    seconds: float
    source_bytes: float
    crop_bytes: float


def clips_of(path: Path) -> list[Clip]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for size in dict.fromkeys(row["size"] for row in rows):
        own = [row for row in rows if row["size"] == size]
        mean = {name: statistics.fmean(float(row[name]) for row in own) for name in own[0] if name != "size"}
        found.append(Clip(size, WHOLE_MS[size] / 1000, mean["source_bytes"], mean["crop_bytes"]))
    return found


def amount(value: float, units: str = "B") -> str:
    """1,234,000 bytes as `1.2 MB`."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000:
            return f"{value:.0f} {prefix}{units}" if value >= 10 or not prefix else f"{value:.1f} {prefix}{units}"
        value /= 1000
    return f"{value:,.1f} P{units}"


def duration(seconds: float) -> str:
    """The unit that people would use."""
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}" if seconds >= length * 10 else f"{seconds / length:.1f} {unit}"
    return f"{seconds / 86_400:,.0f} days"


def table(head: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("costs", type=Path, help="of clip_costs.py --csv")
    clips = clips_of(parser.parse_args().costs)
    names = ["as recorded" if clip.size == "source" else clip.size for clip in clips]
    head = ["", *(f"{size:,} clips" for size in SIZES)]

    def row(name: str, form, per_clip: float) -> list[str]:  # type: ignore[no-untyped-def]
        return [name, *(form(per_clip * size) for size in SIZES)]

    def hours(seconds: float) -> str:
        return f"{seconds / 3600:,.0f}" if seconds >= 36_000 else f"{seconds / 3600:.1f}"

    rows = []
    for name, clip in zip(names, clips, strict=True):
        rows.append(row(f"align, {name}: core-hours", hours, clip.seconds))
        rows.append(row(f"read, {name}", amount, clip.source_bytes))
    first = clips[0]
    rows += [
        row("crops written", amount, first.crop_bytes),
        row("files of crops, in folders", lambda value: f"{value:,.0f}", CROPS),
        row("packs of 1,000 clips instead", lambda value: f"{value:,.0f}", 1 / SHARD_SIZE),
        row("journal while unfinished", amount, JOURNAL_BYTES),
        row("faces.parquet", amount, FACES_BYTES),
        row("manifest.parquet", amount, MANIFEST_BYTES),
        row("memory to plan", amount, PLAN_BYTES),
        row("memory to merge", amount, MERGE_BYTES),
        row("one driver: lines of the journal", duration, RECORD_MS / 1000),
        row("with Ray", duration, (RECORD_MS + RAY_MS) / 1000),
        row("with Ray and packs", duration, (RECORD_MS + RAY_MS + PACK_MS) / 1000),
        row("evaluate, reading: core-hours", hours, READ_MS / 1000),
    ]
    rows += [row(f"evaluate, {model} on CPU: core-hours", hours, ms / 1000) for model, ms in FORWARD_MS.items()]
    table(head, rows)

    print("Workers that one driver can keep busy, by seconds a clip:\n")
    ways = {"its own": RECORD_MS, "packs": RECORD_MS + PACK_MS, "Ray": RECORD_MS + RAY_MS}
    ways["Ray, packs"] = ways["Ray"] + PACK_MS
    table(
        ["clips", "seconds", *ways],
        [
            [name, f"{clip.seconds:.2f}", *(f"{clip.seconds / ms * 1000:.0f}" for ms in ways.values())]
            for name, clip in zip(names, clips, strict=True)
        ],
    )


if __name__ == "__main__":
    main()
