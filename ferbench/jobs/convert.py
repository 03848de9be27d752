"""`export` and `import`: a manifest in a published format, and back."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferbench.cards import find_card, verify_counts
from ferbench.dialects import (
    ExportOptions,
    ImportOptions,
    check_variant,
    dialect_module,
    read_any_manifest,
    write_files,
)
from ferbench.errors import UsageError
from ferbench.findings import Finding
from ferbench.manifest import Manifest, write_manifest


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    samples: int
    left_out: dict[str, int]
    """Reason -> samples that the files do not hold."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "folder": str(self.folder),
            "files": [str(path) for path in self.files],
            "samples": self.samples,
            "left_out": self.left_out,
        }


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was read and written."""

    manifest: Manifest
    path: Path
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        count = Counter(self.manifest.column("label"))
        return {
            "manifest": str(self.path),
            "samples": len(self.manifest),
            "root": str(self.manifest.root),
            "counts": {name: count.get(label, 0) for label, name in enumerate(self.manifest.labels.names)},
            "findings": [finding.as_dict() for finding in self.findings],
        }


def export_manifest(
    source: Path, dialect: str, out: Path, options: ExportOptions, *, root: Path | None = None
) -> ExportResult:
    """Write the manifest at `source` as files of `dialect` in the folder `out`.

    All contents are made before anything is written, so that what a dialect refuses leaves `out` as it was.
    """
    module = dialect_module(dialect)
    check_variant(dialect, options.variant)
    manifest = read_any_manifest(source, root=root)
    files = module.format_files(manifest, options)
    written = write_files(out, files, module.FILES, media=options.media)
    left_out = {} if getattr(module, "KEEPS_FAILED", False) else _left_out(manifest, options)
    return ExportResult(out, tuple(written), len(manifest), left_out)


def _left_out(manifest: Manifest, options: ExportOptions) -> dict[str, int]:
    table = manifest.table
    failed = pc.fill_null(pc.equal(table.column("status"), "failed"), False)
    short = pc.and_(
        pc.fill_null(pc.less(table.column("num_frames"), options.min_frames), False), pc.invert(failed)
    )  # fmt: skip
    part = next((name for name in ("fold", "split") if manifest.has_values(name)), None)
    in_none = pc.and_(pc.is_null(table.column(part)), pc.invert(failed)) if part else pa.array([False])
    counts = {
        "failed": pc.sum(failed).as_py() or 0,
        f"fewer than {options.min_frames} frames": pc.sum(short).as_py() or 0,
        f"in no {part}": pc.sum(in_none).as_py() or 0,
    }
    return {reason: count for reason, count in counts.items() if count}


def import_files(place: Path, dialect: str, out: Path, options: ImportOptions) -> ImportResult:
    """Read somebody's files of `dialect`, a file or a folder, as the manifest `out`; compared with the dataset's card."""
    module = dialect_module(dialect)
    check_variant(dialect, options.variant)
    if not place.exists():
        raise UsageError(f"{place}: no such file or folder")
    manifest = module.read_files(place, options)
    card = find_card(options.dataset)
    findings = verify_counts(manifest, card.counts, facts=manifest.provenance.get("facts")) if card else []
    findings += [Finding("note", "as-read", str(note)) for note in manifest.provenance.get("notes", ())]
    provenance = {
        **manifest.provenance,
        "imported": {"dialect": dialect, "variant": options.variant, "from": place.name},
        **({"dataset": card.name} if card else {}),
    }
    manifest = dataclasses.replace(manifest, provenance=provenance)
    write_manifest(manifest, out)
    return ImportResult(manifest, out, tuple(findings))
