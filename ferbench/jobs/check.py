"""`check`: visit the files once, run the families of checks, correct the frame counts where that is asked for."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferbench._version import __version__
from ferbench.cards import card_of
from ferbench.checks import CHECKS, CheckOptions, Context, chosen_checks
from ferbench.checks.frames import recounted
from ferbench.checks.probing import ProbeJob, Probes, ProbeTask
from ferbench.checks.sides import sides_of
from ferbench.engines import EngineOptions, engine_of
from ferbench.errors import FerbenchError, ManifestError, MissingExtraError, StorageError, UsageError
from ferbench.findings import Finding, by_severity, count_severities
from ferbench.manifest import Manifest, write_manifest
from ferbench.progress import progress
from ferbench.sources import BUNDLED, MANIFEST_SUFFIXES, open_source
from ferbench.storage import write_atomically

_AT_ONCE = {"image": 64, "frames": 16, "video": 1}
"""Samples per task, by what they are: enough that handing tasks out costs nothing beside the work."""
_COLUMNS = ("severity", "rule", "sample", "message", "advice", "count")
REPORT_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class FixOptions:
    """Where the manifest with the real frame counts goes."""

    out: Path | None = None
    overwrite: bool = False
    """Put it in the place of the manifest that was checked."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was looked at and what was found."""

    name: str
    samples: int
    checked: tuple[str, ...]
    """Families that ran."""
    not_checked: Mapping[str, str]
    """Families that had nothing to look at, and why."""
    findings: tuple[Finding, ...]
    visited: int
    """Samples whose files were looked at."""
    unreadable: int = 0
    """Those of them that could not be read: findings of `files`, where that ran."""
    recounted: int | None = None
    """Rows whose frame count was corrected; None without `fix`."""
    fixed: Path | None = None
    """The corrected manifest."""
    report: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "manifest": self.name,
            "samples": self.samples,
            "checked": list(self.checked),
            "not_checked": dict(self.not_checked),
            "visited": self.visited,
            "unreadable": self.unreadable,
            "severities": count_severities(self.findings),
            "recounted": self.recounted,
            "fixed": str(self.fixed) if self.fixed else None,
            "report": str(self.report) if self.report else None,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check_manifest(
    source: str, options: CheckOptions, *, root: Path | None = None, fix: FixOptions | None = None,
    report: Path | None = None,
) -> CheckResult:  # fmt: skip
    """Check the manifest at `source` (a .parquet, a .csv, or `bundled:NAME`), and write the findings to `report`.

    With `fix`, a manifest whose `num_frames` are the real ones is written, atomically; nothing else in it changes but the
    provenance, which says so. Raises ManifestError (exit code 4) for a manifest that breaks a rule of its own, such as an
    id that occurs twice; UsageError for contradicting options. Findings are not raised: they are in the result.
    """
    chosen = chosen_checks(options)
    target = _fix_target(source, fix, chosen)
    if report is not None and report.suffix not in REPORT_SUFFIXES:
        raise UsageError(f"{report}: a report of findings is a {' or '.join(REPORT_SUFFIXES)} file")
    manifest = _read(source, root)
    card, sides = card_of(manifest), sides_of(manifest)
    context = Context(manifest, options, card, sides, Probes(0), fix=target is not None)
    reasons = {name: CHECKS[name].why_not(context) for name in chosen}
    running = [name for name in chosen if not reasons[name]]
    probes, visited = Probes(0), 0
    if any(CHECKS[name].needs_files for name in running):
        job = ProbeJob(
            pictures="pictures" in running, count=target is not None, decode=options.decode, deadline=options.deadline
        )
        probes, visited = _visit(manifest, job, options)
    context = Context(manifest, options, card, sides, probes, fix=target is not None)
    findings = by_severity(finding for name in running for finding in CHECKS[name].find(context))
    changed = None
    if target is not None:
        changed = _write_fixed(context, target)
    if report is not None:
        write_findings(findings, report)
    return CheckResult(
        manifest.name, len(manifest), tuple(running), {name: why for name, why in reasons.items() if why},
        tuple(findings), visited, len(probes.errors), changed, target, report,
    )  # fmt: skip


def _read(source: str, root: Path | None) -> Manifest:
    if not source.startswith(BUNDLED) and Path(source).suffix not in MANIFEST_SUFFIXES:
        raise ManifestError(f"{source}: a manifest is a {' or '.join(MANIFEST_SUFFIXES)} file")
    return open_source(source, root=root)


def _fix_target(source: str, fix: FixOptions | None, chosen: list[str]) -> Path | None:
    """Where the corrected manifest goes; UsageError before any work where that cannot be."""
    if fix is None:
        return None
    if "frames" not in chosen:
        raise UsageError("--fix counts frames, and the check 'frames' was left out")
    if fix.out is None and not fix.overwrite:
        raise UsageError("--fix needs a place for the corrected manifest: -o PATH, or --overwrite for the same place")
    if fix.out is None and source.startswith(BUNDLED):
        raise UsageError(f"{source} comes with ferbench and stays as it is; give -o PATH")
    target = fix.out or Path(source)
    if target.suffix != ".parquet":
        raise UsageError(f"{target}: a corrected manifest is written as .parquet; give -o PATH.parquet")
    if not fix.overwrite and target.exists() and Path(source).exists() and target.samefile(source):
        raise UsageError(f"{target}: the manifest that is checked; say --overwrite to replace it")
    return target


# --- visiting the files ------------------------------------------------------------------------------------------------


def _visit(manifest: Manifest, job: ProbeJob, options: CheckOptions) -> tuple[Probes, int]:
    """Every sample that no earlier job gave up, through an engine."""
    probes, visited = Probes(len(manifest), pictures=job.pictures), 0
    table = manifest.table
    wanted = pc.invert(pc.fill_null(pc.equal(table.column("status"), "failed"), False))
    counts = pc.value_counts(table.column("media").filter(wanted)).to_pylist()
    tasks_in_all = sum(math.ceil(entry["counts"] / _AT_ONCE[entry["values"]]) for entry in counts)
    with progress("visiting files", sum(entry["counts"] for entry in counts)) as advance:
        engine = EngineOptions(options.workers, tasks_in_all, shared=(str(manifest.root.absolute()),))
        for tasks, found in engine_of(options.engine)(job, _tasks(manifest), engine):
            # These say something about the job, not about the sample.
            if isinstance(found, (StorageError, UsageError, MissingExtraError)):
                raise found
            if isinstance(found, FerbenchError):
                probes.errors.update({task.row: found.as_row() for task in tasks})
            else:
                for probe in found:
                    probes.put(probe)
            visited += len(tasks)
            for _ in tasks:
                advance("")
    return probes, visited


def _tasks(manifest: Manifest) -> Iterator[list[ProbeTask]]:
    """A few samples of one kind at a time, in the manifest's order."""
    waiting: dict[str, list[ProbeTask]] = {}
    for row, sample in enumerate(manifest.samples()):
        if sample.status == "failed":
            continue
        tasks = waiting.setdefault(sample.media, [])
        place = str(manifest.path_of(sample))
        tasks.append(ProbeTask(row, place, sample.media, sample.start_frame, sample.end_frame, sample.num_frames))
        if len(tasks) == _AT_ONCE[sample.media]:
            yield waiting.pop(sample.media)
    yield from (tasks for tasks in waiting.values() if tasks)


# --- writing -----------------------------------------------------------------------------------------------------------


def _write_fixed(context: Context, target: Path) -> int:
    manifest, changed = recounted(context)
    provenance = {**manifest.provenance, "recounted": {"rows": changed, "ferbench": __version__}}
    write_manifest(manifest.replace(provenance=provenance), target)
    return changed


def write_findings(findings: list[Finding], path: Path) -> None:
    """All findings as a table, .csv or .parquet, atomically."""
    columns = {name: [getattr(finding, name) for finding in findings] for name in _COLUMNS}
    if path.suffix == ".parquet":
        types = [(name, pa.int64() if name == "count" else pa.string()) for name in _COLUMNS]
        table = pa.table(columns, schema=pa.schema(types))
        write_atomically(path, lambda temporary: pq.write_table(table, temporary))
        return

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(zip(*columns.values(), strict=True))

    write_atomically(path, write)
