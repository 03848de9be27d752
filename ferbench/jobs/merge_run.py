"""`merge FOLDER` of an evaluation: the parts below OUT/shards as OUT/predictions.parquet, scored as `evaluate` would.

The rows are those of a run without `--shard`, bit for bit. Once nothing is left to try again, the parts and their journals
are removed: the folder is as one run leaves it, and `evaluate` without `--shard` finds it finished.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench import remote
from ferbench.dialects import read_any_manifest
from ferbench.errors import PredictionsError
from ferbench.jobs.audit import audit_predictions
from ferbench.jobs.evaluate.job import EvaluateResult, num_failed_of
from ferbench.jobs.evaluate.sharded import PREDICTIONS, SHARDS, ShardRecord, is_of_a_run, question_of, sum_of_digests
from ferbench.jobs.locks import refuse_held
from ferbench.jobs.merge import MergeOptions, MergeResult, merge_shards, recorded_place, write_merged
from ferbench.jobs.score import write_report
from ferbench.jobs.shards import Shard, read_shards
from ferbench.predictions import read_predictions
from ferbench.report import Report, ReportOptions
from ferbench.sharding import share_of_name
from ferbench.storage import remove


@dataclass(frozen=True, slots=True, eq=False)
class MergedRun:
    """What came of it."""

    merge: MergeResult
    evaluated: EvaluateResult
    report: Report
    max_failures: int
    """Samples that may fail, as the parts were told."""


def has_parts(out: Path) -> bool:
    """Whether `evaluate --shard` left something to merge in a folder, which of a store is fetched for it."""
    remote.pull(out, is_of_a_run)
    remote.forget_listings()
    return any((out / SHARDS).glob("*.parquet")) or any((out / SHARDS).glob("journal-*-of-*.jsonl"))


def merge_run(out: Path) -> MergedRun:
    """Merge and score the parts in `out`.

    Raises PredictionsError naming every part that is missing, doubled, cut off or of another job, and UsageError while one
    is being made; nothing is written then.
    """
    refuse_held(
        sorted((out / SHARDS).glob(".lock-*")), f"a shard of {out} is still at work ({{}} is held); wait for it to end"
    )
    shards = read_shards(_latest(sorted((out / SHARDS).glob("*.parquet")), out))
    records = [_record_of(shard) for shard in shards]
    _refuse_other_jobs(shards, records)
    place = recorded_place(shards)
    manifest = read_any_manifest(place) if place is not None else None
    merged = merge_shards(shards, MergeOptions())
    job, first = records[0].job, min(records, key=lambda record: record.index)
    about = {
        "job": question_of(job, sum_of_digests(record.media for record in records)),
        "asked": shards[0].predictions.provenance["asked"],
        "merged": {**merged.predictions.provenance["merged"], "job": job, "shards": len(shards)},
        "command": _command(shards[0].predictions.provenance),
        **({"profile": profile} if (profile := _profile(shards)) else {}),
    }
    written = write_merged(shards, merged, out / PREDICTIONS, more=about)
    predictions = read_predictions(out / PREDICTIONS)
    findings = audit_predictions(predictions, manifest=manifest)
    report = write_report(
        predictions, out, aligned=manifest if manifest and manifest.recipe else None,
        options=ReportOptions(**{**first.reporting, "by": tuple(first.reporting["by"])}), audits=findings,
    )  # fmt: skip
    known = frozenset(
        name for name, status in zip(*(manifest.column(key) for key in ("sample_id", "status")), strict=True)
        if status == "failed"
    ) if manifest is not None else frozenset()  # fmt: skip
    result = EvaluateResult(predictions, num_failed_of(predictions, known))
    if not result.num_failed:
        _remove_parts(out)
    return MergedRun(written, result, report, first.max_failures)


def _latest(paths: Sequence[Path], out: Path) -> list[Path]:
    """The files of a division that is complete, where there are several; all files where none is."""
    if not paths:
        raise PredictionsError(f"nothing is merged: no shard of {out} is finished yet", reason="merge")
    by_division: dict[int, list[Path]] = {}
    for path in paths:
        share = share_of_name(path.name)
        by_division.setdefault(share.of if share else 0, []).append(path)
    strays = by_division.pop(0, [])
    complete = [files for of, files in sorted(by_division.items()) if len(files) == of]
    return [*complete[0], *strays] if complete else list(paths)


def _record_of(shard: Shard) -> ShardRecord:
    """What the part says of itself. PredictionsError for predictions that `evaluate --shard` did not write."""
    try:
        return ShardRecord(**shard.predictions.provenance["shard"])
    except (KeyError, TypeError) as error:
        raise PredictionsError(
            f"nothing is merged: {shard.path} was not written by `ferbench evaluate --shard`; merge such files by name, "
            "ferbench merge FILE... -o OUT.parquet",
            reason="merge",
        ) from error


def _refuse_other_jobs(shards: Sequence[Shard], records: Sequence[ShardRecord]) -> None:
    """PredictionsError naming the parts whose models, manifest, options or versions are not those of most."""
    jobs = [record.job for record in records]
    usual = max(sorted(set(jobs)), key=jobs.count)
    others = [str(shard.path) for shard, job in zip(shards, jobs, strict=True) if job != usual]
    if others:
        raise PredictionsError(
            f"nothing is merged: {', '.join(others)} {'is' if len(others) == 1 else 'are'} of another job than the other "
            f"{len(shards) - len(others)} (model files, manifest, batch size, device or versions differ); run "
            f"{'it' if len(others) == 1 else 'them'} again as the others were",
            reason="merge",
        )


def _command(provenance: Mapping[str, Any]) -> str:
    """What was typed, without the number of the part."""
    return re.sub(r" --shard(?: |=)\S+", "", str(provenance.get("command", "")))


def _profile(shards: Sequence[Shard]) -> Any:
    """What `--profile` measured, once for all parts."""
    return next((found for shard in shards if (found := shard.predictions.provenance.get("profile"))), None)


def _remove_parts(out: Path) -> None:
    for pattern in ("*.parquet", "journal-*-of-*.jsonl"):
        for path in sorted((out / SHARDS).glob(pattern)):
            remove(path)
    if not any((out / SHARDS).iterdir()):
        (out / SHARDS).rmdir()
