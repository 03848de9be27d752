"""The manifest formats of the papers' code. One file per dialect; a new one is a file and a row in `DIALECTS`.

A writer knows its label base, order, path convention and separators, and refuses what its grammar cannot hold, naming
the sample.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import Manifest, read_manifest
from ferbench.storage import remove, write_text

Formatter = Callable[[Manifest], dict[str, str]]
"""A manifest with folds -> file name to text. Raises ManifestError for what the grammar cannot hold."""

DIALECTS: dict[str, str] = {
    "former": "ferbench.dialects.former",
}
"""Name -> module with a `format_folds` function of type `Formatter`, and `FILES`, a pattern of the names it may give."""


def dialect_module(dialect: str) -> ModuleType:
    """The module of a dialect; UsageError lists the known ones."""
    if dialect not in DIALECTS:
        raise UsageError(f"unknown dialect {dialect!r}; known: {', '.join(DIALECTS)}")
    return importlib.import_module(DIALECTS[dialect])


def replace_list_files(folder: Path, texts: Mapping[str, str], pattern: re.Pattern[str]) -> list[Path]:
    """Write list files, and remove those of an earlier split that this one does not have: they would mix two splits."""
    if folder.is_dir():
        for path in folder.iterdir():
            if pattern.fullmatch(path.name) and path.name not in texts:
                remove(path)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def read_any_manifest(path: Path, *, root: Path | None = None) -> Manifest:
    """Read a manifest by its suffix: `.parquet`, or a `.csv` with class names."""
    if path.suffix == ".parquet":
        return read_manifest(path, root=root)
    if path.suffix == ".csv":
        from ferbench.dialects.csv_table import read_csv_manifest

        return read_csv_manifest(path, root=root)
    raise ManifestError(f"{path}: a manifest is a .parquet or .csv file")
