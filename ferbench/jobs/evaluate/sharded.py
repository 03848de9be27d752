"""`evaluate --shard i/n`: which samples a part is, and where it writes.

    OUT/shards/predictions-3-of-16.parquet     the part's predictions, for `ferbench merge OUT`
    OUT/shards/journal-3-of-16.jsonl           its finished blocks, until the merge

The last bits of an output may depend on what else is in the batch, so a part is whole blocks of the run without `--shard`,
one stretch of them: neighbours, which windows and packs have in common, stay together. Where the models of an ensemble
are over different samples, a block that lies across the border of two parts is done in both.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.jobs.evaluate.blocks import Block, block_size
from ferbench.jobs.evaluate.journal import NAME as JOURNAL
from ferbench.jobs.evaluate.options import FOLD, EvaluateOptions
from ferbench.jobs.evaluate.select import Selected, media_of
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions
from ferbench.sharding import Share
from ferbench.storage import sha256_of_value

PREDICTIONS = "predictions.parquet"
LOCK = ".ferbench-evaluate.lock"
SHARDS = "shards"
_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one run in its output folder."""

    predictions: Path
    journal: Path
    beside: tuple[Path, ...]
    """Journals of other runs there, whose finished blocks need not be done again."""
    lock: Path


def places_in(out: Path, share: Share | None) -> Places:
    """Of the run that does everything, or of one part."""
    whole, shards = out / JOURNAL, out / SHARDS
    journals = sorted(shards.glob("journal-*-of-*.jsonl"))
    if share is None:
        return Places(out / PREDICTIONS, whole, tuple(journals), out / LOCK)
    own = shards / f"journal-{share.name}.jsonl"
    beside = (whole, *(path for path in journals if path != own))
    return Places(shards / f"predictions-{share.name}.parquet", own, beside, shards / f".lock-{share.name}")


def is_of_a_run(name: str) -> bool:
    """Whether a run needs a file of an output folder that lies in a store: what it may continue, and what it may merge."""
    folder, _, base = name.rpartition("/")
    return name in (PREDICTIONS, JOURNAL) or (folder == SHARDS and base.startswith(("predictions-", "journal-")))


def part_of(selected: Selected, options: EvaluateOptions, views: ViewOptions, share: Share | None) -> Selected:
    """The samples that a part answers for, in the manifest's order; all of them where there are no parts."""
    if share is None:
        return selected
    # Of tasks that are a sample each. Windows score several, and their blocks may lie across a border.
    size = block_size(views, options.batch_size)
    names = [f"{model} {options.arch_of(member)}" for member, model in enumerate(options.model)]
    by_fold: dict[str, list[int]] = {}
    for place, fold in enumerate(selected.folds):
        # With models of their own, folds are run one after the other.
        by_fold.setdefault(fold if all(FOLD in name for name in names) else "", []).append(place)
    blocks = [own[start : start + size] for own in by_fold.values() for start in range(0, len(own), size)]
    mine = sorted(place for number in share.stretch(len(blocks)) for place in blocks[number])
    return dataclasses.replace(
        selected,
        samples=tuple(selected.samples[place] for place in mine),
        folds=tuple(selected.folds[place] for place in mine),
        rows=tuple(selected.rows[place] for place in mine),
        # Counted over the whole: said once, so that the merge adds up to it.
        unlabelled=selected.unlabelled if share.index == 1 else 0,
    )


def blocks_of(blocks: list[Block], part: Selected) -> list[Block]:
    """Those that have a sample of the part."""
    own = {sample.sample_id for sample in part.samples}
    return [block for block in blocks if any(sample.sample_id in own for sample in block.samples)]


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What a part says of itself in its provenance, under `shard`."""

    index: int
    """From 1."""
    of: int
    total: int
    """Samples of the whole."""
    job: str
    """Hash of all that decides the numbers but the media."""
    media: str
    """`digest_of` its samples; those of all parts add up to that of the whole."""
    max_failures: int
    reporting: dict[str, Any]
    """The report that was asked for, as `ReportOptions` has it."""


def digest_of(media: Mapping[str, str], part: Selected) -> str:
    """A hash, as 64 hex digits, of which samples these are and of their files: the sum of one for each, so that the hash
    of a whole follows from those of its parts."""
    total = sum(
        int.from_bytes(hashlib.sha256(f"{sample.sample_id}\0{media[sample.sample_id]}".encode()).digest(), "big")
        for sample in part.samples
    )
    return f"{total % _MODULUS:064x}"


def sum_of_digests(digests: Iterable[str]) -> str:
    """Of several parts, the digest of all their samples."""
    return f"{sum(int(digest, 16) for digest in digests) % _MODULUS:064x}"


def question_of(job: str, media: str) -> str:
    """The name under which finished predictions are known: the job, and the digest of its media."""
    return sha256_of_value({"job": job, "media": media})


def merged_job_of(predictions: Predictions) -> str | None:
    """The job of predictions that a merge of parts made; None of others."""
    record = predictions.provenance.get("merged")
    return str(record["job"]) if isinstance(record, dict) and "job" in record else None


class Media(Mapping[str, str]):
    """`media_of` every selected sample, looked at when it is asked for: a part asks for its own."""

    def __init__(self, manifest: Manifest, selected: Selected) -> None:
        self._manifest = manifest
        self._samples = {sample.sample_id: sample for sample in selected.samples}
        self._known: dict[str, str] = {}

    def __getitem__(self, sample_id: str) -> str:
        if sample_id not in self._known:
            self._known.update(media_of(self._manifest, [self._samples[sample_id]]))
        return self._known[sample_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)
