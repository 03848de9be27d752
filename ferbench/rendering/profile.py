"""What `--profile` measured, as a terminal table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ferbench.rendering.wording import plain


def profile_table(profile: Mapping[str, Any]) -> RenderableType:
    """A row per model: parameters, operations, times with their quartiles, memory; a dash where it cannot be told."""
    table = Table(box=SIMPLE_HEAD, title=None, pad_edge=False)
    unit = str(profile.get("unit", "clip"))
    for name in ("model", "parameters", f"FLOPs/{unit}", "latency, batch 1", f"{unit}s/s", "memory"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in profile.get("members") or [profile]:
        latency, throughput = row["latency"], row["throughput"]
        table.add_row(
            Text(plain(str(row.get("model", "")))),
            "-" if row["parameters"] is None else f"{row['parameters'] / 1e6:,.2f} M",
            "-" if row["flops"] is None else f"{row['flops'] / 1e9:,.2f} G",
            f"{1000 * latency['median']:,.1f} ms ({1000 * latency['low']:,.1f}..{1000 * latency['high']:,.1f})",
            f"{throughput['per_second']:,.1f} (batch {throughput['batch_size']})",
            "-" if row["peak_memory"] is None else f"{row['peak_memory'] / 2**20:,.0f} MiB",
        )
    table.caption = plain(
        f"on {profile.get('device')}; memory: {profile.get('memory_kind')}; FLOPs: one multiply-add is two"
    )
    return table
