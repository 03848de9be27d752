"""Several `align --shard i/n` in one folder, and the merge that makes of it what one run would have left.

    OUT/.ferbench/plan.json        how the source is divided, and what the tables will need
    OUT/.ferbench/source.parquet   the samples that all of them work on
    OUT/.ferbench/journal-3-of-16.jsonl, crops-3-of-16.json, unfinished-3-of-16, lock-3-of-16     of one shard

Each shard plans against every journal there and records in its own; only the merge writes tables. So a folder that was
begun in 16 parts may be finished in 4, or by one run without `--shard`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench import remote
from ferbench.errors import DataError, ManifestError
from ferbench.jobs.align.options import CROPS, RunOptions
from ferbench.jobs.align.outcome import Outcome
from ferbench.jobs.align.packing import Packer
from ferbench.jobs.align.paths import CONTACT_SHEET, REPORT, STATE_FOLDER, is_of_a_run
from ferbench.jobs.align.plan import AlignPlan, renamed_of
from ferbench.jobs.align.result import AlignResult, counted
from ferbench.jobs.align.store import AlignStore
from ferbench.manifest import Manifest, read_manifest, write_manifest
from ferbench.recipe import Recipe
from ferbench.sharding import Share
from ferbench.storage import write_atomically

SOURCE, PLAN = "source.parquet", "plan.json"
MOST_NAMED = 3
"""Samples of a shard that are named where many are missing."""
MOST_SHARDS = 20


@dataclass(frozen=True, slots=True)
class Division:
    """What the merge must know of the runs whose outcomes it joins."""

    of: int
    """How many shards the latest runs were."""
    pack_size: int
    """Samples per pack, which stay in one shard; 0 where there are no packs."""
    keep: str
    recipe: dict[str, dict[str, Any]]
    max_failures: int

    def shares(self) -> list[Share]:
        """All of them."""
        return [Share(index, self.of) for index in range(1, self.of + 1)]

    def share_at(self, place: int) -> Share:
        """Whose the sample at `place` of the source is."""
        return Share((place // self.pack_size if self.pack_size else place) % self.of + 1, self.of)


def record_plan(plan: AlignPlan, run: RunOptions) -> None:
    """Leave in the folder what the merge needs. Every shard writes the same, under temporary names of its own."""
    store, share = plan.store, plan.store.share
    assert share is not None
    pack_size = 0 if run.pack == "none" else run.shard_size
    division = Division(share.of, pack_size, store.keep, store.recipe.as_dict(), run.max_failures)
    text = json.dumps(dataclasses.asdict(division), indent=2, ensure_ascii=False) + "\n"
    write_manifest(plan.source, store.state / SOURCE, staging=store.staging)
    write_atomically(store.state / PLAN, lambda temporary: temporary.write_text(text, "utf-8"), staging=store.staging)


def has_shards(out: Path) -> bool:
    """Whether `align --shard` left something to merge in a folder."""
    return remote.has_file(out / STATE_FOLDER / PLAN)


def read_division(out: Path) -> Division:
    """The recorded plan; DataError where it is not there or cannot be read."""
    path = out / STATE_FOLDER / PLAN
    try:
        return Division(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{out}: no `ferbench align --shard` left anything to merge there") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); run one of the shards again, it writes it anew") from error


def merge_align(out: Path) -> tuple[AlignResult, int]:
    """Write the tables, the contact sheet and the page of a folder that shards worked in, and remove their records.

    The bytes are those of one run. Returns what one run would, and how many failures the shards allowed.
    Raises ManifestError naming, shard by shard, the samples that have no outcome yet, and
    UsageError when a shard is still at work; nothing is changed then.
    """
    from ferbench.rendering.align_page import write_align_page
    from ferbench.rendering.contact_sheet import write_contact_sheet

    started = time.monotonic()
    remote.pull(out, is_of_a_run)
    remote.forget_listings()
    division = read_division(out)
    store = AlignStore(out, Recipe.from_dict(division.recipe), keep=division.keep)
    with store.lock():
        source = read_manifest(store.state / SOURCE)
        finished = store.finished()
        _refuse_missing(source, finished, division, store)
        for outcome in renamed_of(source, finished, out):
            store.remove_crops(outcome.crops)
        store.open(())
        try:
            if division.pack_size:
                crops = {name: finished[name].crops for name in source.column("sample_id")}
                Packer(out, source, crops, ()).finish_stopped()
            manifest = store.write_tables(source)
            if division.keep == CROPS:
                write_contact_sheet(manifest, out / CONTACT_SHEET)
                write_align_page(manifest, out / REPORT)
            store.finish()
        finally:
            store.journal.close()
    return counted(out, source, store.recipe, counts=(0, len(source)), started=started), division.max_failures


def _refuse_missing(source: Manifest, finished: Mapping[str, Outcome], division: Division, store: AlignStore) -> None:
    """ManifestError when a sample has no outcome, or one that was made of another file than the source names now; and
    when a shard of the latest division never ran, which would have looked whether what is there still stands."""
    columns = (source.column(name) for name in ("sample_id", "path", "start_frame", "end_frame"))
    by_share: dict[Share, list[str]] = {}
    for place, (sample_id, *origin) in enumerate(zip(*columns, strict=True)):
        outcome = finished.get(sample_id)
        if outcome is None or outcome.origin != tuple(origin):
            by_share.setdefault(division.share_at(place), []).append(sample_id)
    count = sum(map(len, by_share.values()))
    problems = [f"shard {share}: {_listed(names)}" for share, names in sorted(by_share.items())]
    idle = [share for share in division.shares() if share not in by_share and not store.journal_of(share).exists()]
    problems += [f"shard {share} has not run" for share in idle]
    if problems:
        shown = "; ".join(problems[:MOST_SHARDS]) + ("; …" if len(problems) > MOST_SHARDS else "")
        raise ManifestError(
            f"nothing is merged: {count} of {len(source)} samples of {store.out} have no outcome yet. {shown}. "
            "Run those shards again; they do only what is left",
            reason="merge",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:MOST_NAMED]))
    return f"{len(names)} ({shown}{', …' if len(names) > MOST_NAMED else ''})"
