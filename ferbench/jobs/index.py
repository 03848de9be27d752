"""`index`: an official layout as a verified manifest."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferbench._version import __version__
from ferbench.cards import Card, read_card, verify_counts
from ferbench.datasets import UNCARDED, Reading, find_reader, resolve_options
from ferbench.errors import DataError, LabelError, ManifestError
from ferbench.findings import Finding, by_severity, count_severities
from ferbench.jobs.index_files import HERE, LookOptions, missing_files
from ferbench.manifest import Manifest, manifest_of, write_manifest

MISSING = "no-file"


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What was found and written."""

    manifest: Manifest
    path: Path | None
    layout: str
    rows_read: int
    findings: tuple[Finding, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """Per part (split or fold, else `all`): total and samples per class."""
        for column in ("split", "fold"):
            if self.manifest.has_values(column):
                values = self.manifest.table.column(column)
                parts = {
                    str(part): pc.equal(values, pa.scalar(part, values.type)).fill_null(False)
                    for part in sorted(set(pc.unique(values).to_pylist()) - {None})
                }
                break
        else:
            parts = {"all": None}
        return {name: self._count(mask) for name, mask in parts.items()}

    def _count(self, mask: Any) -> dict[str, int]:
        labels = self.manifest.table.column("label")
        found = Counter((labels if mask is None else labels.filter(mask)).to_pylist())
        names = self.manifest.labels.names
        return {"samples": sum(found.values()), **{name: found.get(label, 0) for label, name in enumerate(names)}}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        failed = pc.sum(pc.equal(self.manifest.table.column("status"), "failed")).as_py() or 0
        return {
            "manifest": str(self.path) if self.path else None,
            "dataset": self.manifest.name,
            "root": str(self.manifest.root),
            "layout": self.layout,
            "rows_read": self.rows_read,
            "samples": len(self.manifest),
            "missing_files": failed,
            "counts": self.counts(),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def index_dataset(
    name: str, root: Path, out: Path | None, options: Mapping[str, str], *, looking: LookOptions = HERE
) -> IndexResult:
    """Read the copy of dataset `name` below `root`, compare it with its card, and write the manifest to `out`.

    The manifest is written whatever was found, unless nothing could be read; what differs is in the result and in the
    manifest's provenance. Raises DataError when nothing of the dataset is there, UsageError for unknown names.
    """
    root = Path(os.path.abspath(root))
    if name in UNCARDED:
        reading = importlib.import_module(UNCARDED[name]).read_uncarded(root)
        card = Card(name=name, folder=root, title=name, labels=reading.labels)
        root = root if root.is_dir() else root.parent
        resolved = resolve_options(card, options)
    else:
        card = read_card(name)
        resolved = resolve_options(card, options)
        reading = find_reader(card)(root, card, resolved)
    manifest, findings = manifest_of_reading(reading, card, root, resolved, looking=looking)
    if out is not None:
        write_manifest(manifest, out)
    return IndexResult(manifest, out, reading.layout, reading.rows_read, tuple(findings))


def manifest_of_reading(
    reading: Reading, card: Card, root: Path, options: Mapping[str, str], *, looking: LookOptions = HERE
) -> tuple[Manifest, list[Finding]]:
    """The manifest in the card's class order, and everything that differs from the card."""
    columns = dict(reading.columns)
    if not len(columns["sample_id"]):
        reasons = "; ".join(skip.as_finding().message for skip in reading.skipped) or "it holds no rows"
        raise DataError(f"{root}: no sample of {card.name} was read ({reasons})", reason="empty")
    columns["label"] = _labels_by_name(reading, card)
    missing = np.zeros(len(columns["sample_id"]), dtype=bool)
    if not reading.files_known:
        missing = missing_files(root, columns["path"], looking)
        if missing.any():
            paths = columns["path"]
            paths = paths if isinstance(paths, (pa.Array, pa.ChunkedArray)) else pa.array(paths, pa.string())
            there, nothing = pa.array(~missing), pa.scalar(None, pa.string())
            # A user's own table may say of some samples already that they failed.
            status, error = (
                pa.array(columns[name], pa.string()) if name in columns else nothing for name in ("status", "error")
            )
            columns["status"] = pc.if_else(there, status, pa.scalar("failed"))
            columns["error"] = pc.if_else(
                there, error, pc.binary_join_element_wise(pa.scalar(f"{MISSING}:"), paths, " ")
            )
    try:
        manifest = manifest_of(columns, labels=card.labels, name=card.name, root=root)
    except ManifestError as error:
        raise DataError(f"{root}: {error.message}", reason=error.reason) from error
    facts = {**options, **reading.facts}
    findings = [
        *_missing_finding(missing, columns["path"], root),
        *verify_counts(manifest, card.counts, facts=facts),
        *reading.findings,
        *(skip.as_finding() for skip in reading.skipped),
    ]
    provenance = {
        "dataset": card.name,
        "ferbench": __version__,
        "layout": reading.layout,
        "label_base": reading.base,
        "facts": facts,
        "rows_read": reading.rows_read,
        "findings": count_severities(findings),
        "notes": [finding.message for finding in by_severity(findings)[:20]],
    }
    return manifest.replace(provenance=provenance), by_severity(findings)


def _labels_by_name(reading: Reading, card: Card) -> pa.Array:
    """The label column in the card's order."""
    labels = reading.columns["label"]
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    if not isinstance(labels, pa.Array):
        labels = pa.array(labels, pa.int64(), from_pandas=True)
    if reading.labels.names == card.labels.names:
        return labels.cast(pa.int16())
    mapping = reading.labels.mapping_to(card.labels)
    unknown = [name for name, label in zip(reading.labels.names, mapping, strict=True) if label is None]
    if unknown:
        raise LabelError(f"{card.name} has no class {unknown[0]!r}; its classes: {', '.join(card.labels.names)}")
    return pa.array(mapping, pa.int16()).take(labels.cast(pa.int64()))


def _missing_finding(missing: Any, paths: Sequence[str], root: Path) -> list[Finding]:
    if not missing.any():
        return []
    first = ", ".join(str(paths[row]) for row in np.flatnonzero(missing)[:3])
    return [
        Finding(
            "error",
            "missing-file",
            f"{int(missing.sum()):,} of {len(missing):,} files are not below {root}: {first}",
            "their rows are in the manifest as failed; complete the copy and index it again",
            count=int(missing.sum()),
        )
    ]
