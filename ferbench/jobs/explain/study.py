"""What is explained, and what came of it so far: handed from part to part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferbench.explaining.figures import Saved
from ferbench.jobs.explain.choose import Chosen
from ferbench.jobs.explain.options import ExplainOptions
from ferbench.manifest import Manifest
from ferbench.storage import write_bytes


@dataclass(slots=True)
class Study:
    """What is explained, and what came of it so far."""

    manifest: Manifest
    chosen: Chosen
    options: ExplainOptions
    out: Path
    notices: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """sample_id -> `reason: message`."""
    files: list[str] = field(default_factory=list)
    """What was written, relative to `out`."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Layer, method, model: plain values for the record."""

    def keep(self, name: str, saved: Saved) -> str:
        """Write a figure's two files and return the name of the picture."""
        for suffix, data in ((".png", saved.png), (".pdf", saved.pdf)):
            write_bytes(self.out / f"{name}{suffix}", data)
            self.files.append(f"{name}{suffix}")
        return f"{name}.png"
