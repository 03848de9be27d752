"""`make-splits`: folds or a fixed split of a manifest, as parquet and in a dialect of the papers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferbench.dialects import ExportOptions, dialect_module, read_any_manifest, write_files
from ferbench.errors import UsageError
from ferbench.findings import Finding
from ferbench.manifest import Manifest, write_manifest
from ferbench.protocol import folds_of
from ferbench.protocols import apply_protocol
from ferbench.splitting import SplitOptions, make_splits
from ferbench.validation import ValidationOptions, carve_validation

MANIFEST = "manifest.parquet"


@dataclass(frozen=True, slots=True)
class PublishedOptions:
    """Whether the folds are published ones."""

    protocol: str = ""
    """A protocol of the dataset's card; `official` is its first. Empty makes folds of one's own."""
    rebuild: bool = False
    """Rebuild the folds by the published rule even where the copy's own lists say them."""


@dataclass(frozen=True, slots=True)
class SplitsResult:
    """What was written."""

    manifest: Manifest
    path: Path
    dialect_files: tuple[Path, ...]
    findings: tuple[Finding, ...] = ()

    def sizes(self) -> list[dict[str, Any]]:
        """Per fold: name, and the samples and class counts of train, validation (where there is one) and test."""
        names = self.manifest.labels.names
        rows = []
        for fold in folds_of(self.manifest):
            row: dict[str, Any] = {"fold": fold.name}
            for part, rows_of_part in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
                if rows_of_part is None:
                    continue
                labels = rows_of_part.table.column("label").drop_null().to_numpy()
                count = np.bincount(labels, minlength=len(names)).tolist()
                row[part] = len(rows_of_part)
                row[f"{part}_per_class"] = dict(zip(names, count, strict=True))
            rows.append(row)
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "manifest": str(self.path),
            "dialect_files": [str(path) for path in self.dialect_files],
            "protocol": dict(self.manifest.protocol),
            "folds": self.sizes(),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def split_manifest(
    source: Path,
    out: Path,
    options: SplitOptions,
    *,
    published: PublishedOptions | None = None,
    validation: ValidationOptions | None = None,
    dialect: str = "",
    root: Path | None = None,
) -> SplitsResult:
    """Split the manifest at `source` and write `out/manifest.parquet`, and `out/<dialect>/…` when one is asked for."""
    manifest = read_any_manifest(source, root=root)
    findings: tuple[Finding, ...] = ()
    if published and published.protocol:
        result = apply_protocol(manifest, published.protocol, seed=options.seed, rebuild=published.rebuild)
        manifest, findings = result.manifest, result.findings
    else:
        manifest = make_splits(manifest, options)
    if validation:
        manifest = carve_validation(manifest, validation, seed=options.seed)
    path = out / MANIFEST
    if path.exists() and path.resolve() == source.resolve():
        raise UsageError(f"{path}: the splits would replace the manifest they are made of; choose another -o")
    # All texts are made before anything is written: what a dialect refuses must not leave new folds beside old lists.
    module = dialect_module(dialect) if dialect else None
    texts = module.format_files(manifest, ExportOptions()) if module else {}
    write_manifest(manifest, path)
    files = write_files(out / dialect, texts, module.FILES) if module else []
    return SplitsResult(manifest, path, tuple(files), findings)


def default_output(source: Path) -> Path:
    """`splits` beside the manifest."""
    return Path(os.path.normpath(source.parent / "splits"))
