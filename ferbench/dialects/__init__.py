"""The manifest formats of the papers' code. One file per dialect; a new one is a file and a row in `DIALECTS`.

A writer knows its label base, order, path convention and separators, and refuses what its grammar cannot hold, naming
the sample.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import Manifest, read_manifest

Writer = Callable[[Manifest, Path], list[Path]]
"""(manifest with folds, folder to write into) -> the files written."""

DIALECTS: dict[str, str] = {
    "former": "ferbench.dialects.former",
}
"""Name -> module with a `write_folds` function of type `Writer`."""


def writer_of(dialect: str) -> Writer:
    """The writer of a dialect; UsageError lists the known ones."""
    if dialect not in DIALECTS:
        raise UsageError(f"unknown dialect {dialect!r}; known: {', '.join(DIALECTS)}")
    writer: Writer = importlib.import_module(DIALECTS[dialect]).write_folds
    return writer


def read_any_manifest(path: Path, *, root: Path | None = None) -> Manifest:
    """Read a manifest by its suffix: `.parquet`, or a `.csv` with class names."""
    if path.suffix == ".parquet":
        return read_manifest(path, root=root)
    if path.suffix == ".csv":
        from ferbench.dialects.csv_table import read_csv_manifest

        return read_csv_manifest(path, root=root)
    raise ManifestError(f"{path}: a manifest is a .parquet or .csv file")
