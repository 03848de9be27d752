"""`packs`: shards against the index beside them: there, as long, with as many samples, and the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ferbench import remote
from ferbench.checks.context import Context, rest
from ferbench.engines import worker_count
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.media.shard_index import INDEX, ShardEntry, read_index, samples_in_shards, shard_problem
from ferbench.progress import progress
from ferbench.storage import sha256_of_file

_AGAIN = "copy it again, or run ferbench align again, which makes its samples anew"
_NO_INDEX = "run ferbench align again with the same options: it writes the index, and nothing else"


def no_packs(context: Context) -> str:
    """Why there is nothing to look at."""
    return "" if samples_in_shards(context.manifest) else "its samples lie in no packs"


def check_packs(context: Context) -> list[Finding]:
    """A finding per shard that is not what its index says. Every shard is read once, in threads."""
    counts = samples_in_shards(context.manifest)
    findings, whole = [], []
    indexes: dict[Path, dict[str, ShardEntry]] = {}
    for folder in sorted({(context.manifest.root / name).parent for name in counts}):
        try:
            index = read_index(folder)
        except DataError as error:
            findings.append(Finding("error", "shard-index", error.message, _NO_INDEX))
            continue
        if index is None:
            findings.append(
                Finding(
                    "warning", "no-shard-index", f"{remote.shown(folder)}: no {INDEX} says what is in it", _NO_INDEX
                )
            )
        else:
            indexes[folder] = index
            remote.list_folder(folder)
    for name, count in counts.items():
        path = context.manifest.root / name
        if path.parent not in indexes:
            continue
        problem = shard_problem(path, indexes[path.parent].get(path.name), count)
        if problem is None:
            whole.append(name)
        else:
            findings.append(Finding("error", problem.rule, f"{name}: {problem.message}", _AGAIN))
    findings += [
        Finding("error", "shard-checksum", f"{name}: its SHA-256 is not what the index says", _AGAIN)
        for name in _differing(context, whole, indexes)
    ]
    return list(_first_of_each(findings, context.options.per_rule))


def _differing(context: Context, names: list[str], indexes: dict[Path, dict[str, ShardEntry]]) -> list[str]:
    paths = [context.manifest.root / name for name in names]
    wrong = []
    with (
        progress("reading shards", len(names)) as advance,
        ThreadPoolExecutor(worker_count(context.options.workers, len(names))) as pool,
    ):
        for name, path, digest in zip(names, paths, pool.map(_digest, paths), strict=True):
            if digest != indexes[path.parent][path.name].sha256:
                wrong.append(name)
            advance(name)
    return wrong


def _digest(path: Path) -> str:
    try:
        remote.ensure(path)
        return sha256_of_file(path)
    except OSError as error:
        return f"unreadable: {error}"


def _first_of_each(findings: list[Finding], most: int) -> Iterator[Finding]:
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    for rule, found in by_rule.items():
        yield from found[:most]
        yield from rest(found[0].severity, rule, len(found) - most, "shards", found[0].advice)
