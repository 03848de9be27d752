"""The index of a folder of packs: per shard how many samples, pictures and bytes it has, and its SHA-256.

    OUT/shards/index.json     {"samples": 3, …, "shards": [{"file": "00000.parquet", "samples": 3, …}, …]}

`ferbench align --pack` writes it with its tables, `check` verifies it to the byte. Who is about to read shards looks at
their sizes, so that a copy that was cut short is a line, and not a thousand samples that cannot be read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow.compute as pc

from ferbench import remote
from ferbench.errors import DataError
from ferbench.manifest import Manifest, Sample
from ferbench.media.packs import open_pack
from ferbench.media.streaming import pack_of
from ferbench.storage import sha256_of_file, write_text

INDEX = "index.json"
"""Beside the shards."""
MOST_NAMED = 5
_IN_PACK = r"(?s)^(?P<pack>.*?\.(?:tar|parquet))/"
"""What `ferbench.media.streaming.pack_of` finds, in a column."""


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard."""

    file: str
    samples: int
    """That have pictures."""
    pictures: int
    bytes: int
    sha256: str


def entry_of(path: Path, *, counts: tuple[int, int] | None = None, file: str = "") -> ShardEntry:
    """The entry of a shard, which is read for it; `counts` are its samples and pictures, where they are known.

    Raises MediaError for a file that is no pack.
    """
    remote.ensure(path)
    samples, pictures = counts or open_pack(path).counts()
    return ShardEntry(file or path.name, samples, pictures, path.stat().st_size, sha256_of_file(path))


def write_index(folder: Path, entries: Iterable[ShardEntry]) -> None:
    """Write the index of the shards in `folder`, by name, atomically."""
    listed = sorted(entries, key=lambda entry: entry.file)
    totals = {name: sum(getattr(entry, name) for entry in listed) for name in ("samples", "pictures", "bytes")}
    # A line per shard, so that it can be read, and two of them compared.
    lines = ",\n".join(f"  {json.dumps(asdict(entry), ensure_ascii=False)}" for entry in listed)
    head = json.dumps(totals)[1:-1]
    write_text(folder / INDEX, f'{{{head}, "shards": [\n{lines}\n]}}\n')


def read_index(folder: Path) -> dict[str, ShardEntry] | None:
    """File name -> entry; None where there is no index. DataError when it cannot be read."""
    path = folder / INDEX
    remote.ensure(path)
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["shards"]
        entries = [ShardEntry(**{each.name: entry[each.name] for each in fields(ShardEntry)}) for entry in listed]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{remote.shown(path)}: not a readable index of shards ({error!r}); ferbench check --fix writes it anew"
        ) from error
    return {entry.file: entry for entry in entries}


def samples_in_shards(manifest: Manifest) -> dict[str, int]:
    """How many samples the manifest has in each pack that it names, by the pack's path below the root; no failed ones."""
    table = manifest.table
    found = pc.extract_regex(table.column("path"), _IN_PACK)
    is_good = pc.invert(pc.fill_null(pc.equal(table.column("status"), "failed"), False))
    counts = pc.value_counts(pc.struct_field(found, "pack").filter(is_good)).to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(
        (entry for entry in counts if entry["values"] is not None), key=lambda entry: str(entry["values"])
    )}  # fmt: skip


def shards_of(samples: Iterable[Sample]) -> dict[str, int]:
    """The same of some samples."""
    packs = (pack_of(sample.path) for sample in samples if sample.status != "failed")
    return dict(sorted(Counter(pack for pack in packs if pack is not None).items()))


def refuse_damaged_shards(root: Path, counts: Mapping[str, int]) -> None:
    """DataError naming the shards that are not there, have another size than their index says, or fewer samples than
    `counts` says. Contents are `check`'s to verify; a folder without an index is believed.
    """
    indexes: dict[Path, dict[str, ShardEntry] | None] = {}
    wrong = []
    for name, count in counts.items():
        path = root / name
        if path.parent not in indexes:
            indexes[path.parent] = read_index(path.parent)
            remote.list_folder(path.parent)  # so that nobody is asked about each shard
        index = indexes[path.parent]
        problem = None if index is None else shard_problem(path, index.get(path.name), count)
        if problem:
            wrong.append(f"{name}: {problem.message}")
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise DataError(
            f"{remote.shown(root)}: {len(wrong)} of {len(counts)} shards differ from their index: "
            f"{'; '.join(wrong[:MOST_NAMED])}{more}; copy them again, or run ferbench align again, which makes what "
            "is missing",
            reason="shards",
        )


@dataclass(frozen=True, slots=True)
class ShardProblem:
    """What is wrong with a shard."""

    rule: str
    message: str


def shard_problem(path: Path, entry: ShardEntry | None, count: int) -> ShardProblem | None:
    """What is wrong with a shard of which a manifest has `count` samples, short of reading it; None when nothing is."""
    if entry is None:
        return ShardProblem("shard-unlisted", "the index does not have it")
    found = remote.look(path)
    if found is None or found.is_folder:
        return ShardProblem("shard-missing", "not there")
    if found.size != entry.bytes:
        return ShardProblem("shard-size", f"{found.size:,} bytes, and the index says {entry.bytes:,}")
    if count > entry.samples:
        message = f"the manifest has {count:,} samples in it, and the index {entry.samples:,}"
        return ShardProblem("shard-count", message)
    return None
