"""`make-splits`: folds or a fixed split of a manifest, as parquet and in a dialect of the papers."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.dialects import ExportOptions, dialect_module, read_any_manifest, write_files
from ferbench.errors import UsageError
from ferbench.manifest import Manifest, write_manifest
from ferbench.protocol import SplitOptions, folds_of, make_splits

MANIFEST = "manifest.parquet"


@dataclass(frozen=True, slots=True)
class SplitsResult:
    """What was written."""

    manifest: Manifest
    path: Path
    dialect_files: tuple[Path, ...]

    def sizes(self) -> list[dict[str, Any]]:
        """Per fold: name, and the samples and class counts of train and test."""
        names = self.manifest.labels.names
        rows = []
        for fold in folds_of(self.manifest):
            row: dict[str, Any] = {"fold": fold.name}
            for part, rows_of_part in (("train", fold.train), ("test", fold.test)):
                count = Counter(rows_of_part.column("label"))
                row[part] = len(rows_of_part)
                row[f"{part}_per_class"] = {name: count.get(label, 0) for label, name in enumerate(names)}
            rows.append(row)
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "manifest": str(self.path),
            "dialect_files": [str(path) for path in self.dialect_files],
            "protocol": dict(self.manifest.protocol),
            "folds": self.sizes(),
        }


def split_manifest(
    source: Path, out: Path, options: SplitOptions, *, dialect: str = "", root: Path | None = None
) -> SplitsResult:
    """Split the manifest at `source` and write `out/manifest.parquet`, and `out/<dialect>/…` when one is asked for."""
    manifest = make_splits(read_any_manifest(source, root=root), options)
    path = out / MANIFEST
    if path.exists() and path.resolve() == source.resolve():
        raise UsageError(f"{path}: the splits would replace the manifest they are made of; choose another -o")
    # All texts are made before anything is written: what a dialect refuses must not leave new folds beside old lists.
    module = dialect_module(dialect) if dialect else None
    texts = module.format_files(manifest, ExportOptions()) if module else {}
    write_manifest(manifest, path)
    files = write_files(out / dialect, texts, module.FILES) if module else []
    return SplitsResult(manifest, path, tuple(files))


def default_output(source: Path) -> Path:
    """`splits` beside the manifest."""
    return Path(os.path.normpath(source.parent / "splits"))
