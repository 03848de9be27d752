"""ferbench: facial expression recognition research, reproducibly.

The public names below are loaded when they are first used, so that `import ferbench` and `ferbench --help` stay instant.
"""

from __future__ import annotations

import importlib
from typing import Any

from ferbench._version import __version__

_PUBLIC = {
    "FerbenchError": "ferbench.errors",
    "LabelSet": "ferbench.labels",
    "Manifest": "ferbench.manifest",
    "read_manifest": "ferbench.manifest",
    "write_manifest": "ferbench.manifest",
    "manifest_of": "ferbench.manifest",
    "Recipe": "ferbench.recipe",
    "Sampler": "ferbench.sampling",
    "Face": "ferbench.faces",
    "AlignedFace": "ferbench.faces",
    "InputSpec": "ferbench.inputspec",
    "Predictions": "ferbench.predictions",
    "read_predictions": "ferbench.predictions",
    "write_predictions": "ferbench.predictions",
    "Report": "ferbench.report",
    "build_report": "ferbench.report",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ferbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
