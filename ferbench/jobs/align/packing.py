"""Packed output: the crops of many samples in one tar (WebDataset) or parquet file (Hugging Face datasets).

    OUT/shards/00000.tar           samples 0 .. shard_size - 1 of the source, in its order
    OUT/shards/index.json          what each of them holds (`ferbench.media.shard_index`)
    OUT/.ferbench/crops/shards/…   crops of samples whose shard is not complete yet, as folders
    OUT/.ferbench/packed/…         what the index will say of the shards that were written

Which shard a sample is in depends on its place in the source alone, so a stopped job continues sample by sample and ends in
the same bytes. A shard is written, by a rename, as soon as all of its samples are done; then their folders go.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench import remote
from ferbench.errors import DataError, MediaError
from ferbench.jobs.align.paths import SHARDS, STATE_FOLDER
from ferbench.manifest import Manifest, Sample
from ferbench.media import frame_files
from ferbench.media.packs import find_place, picture_bytes
from ferbench.media.shard_index import INDEX, ShardEntry, entry_of, read_index, samples_in_shards, write_index
from ferbench.storage import remove, storage_errors, write_atomically, write_json

ROWS_PER_GROUP = 16
"""Samples per row group of a parquet shard: what is read to get at one of them."""

Pictures = list[tuple[str, bytes]]
"""(file name, encoded bytes) of a sample's crops in order."""


def packed_record(out: Path, shard: str) -> Path:
    """Where it waits what the index will say of a shard: a file each, because several machines may write shards."""
    return out / STATE_FOLDER / "packed" / f"{Path(shard).name}.json"


def staged_place(out: Path, crops: str) -> Path:
    """Where the crops of a packed sample lie until their shard is written."""
    return out / STATE_FOLDER / "crops" / crops


class Packer:
    """Writes the shards of one job."""

    def __init__(
        self, out: Path, source: Manifest, crops: Mapping[str, str], todo: Iterable[str], *, own: Manifest | None = None
    ) -> None:
        """`crops`: sample id -> packed path of every row of `source`; `todo`: ids that this run aligns; `own`: the rows
        whose shards it writes, by default all."""
        self._out = out
        self._labels = source.labels.names
        self._crops = crops
        self._members: dict[str, list[Sample]] = {}
        for sample in (source if own is None else own).samples():
            self._members.setdefault(shard_of(crops[sample.sample_id]), []).append(sample)
        self._waiting: dict[str, set[str]] = {shard: set() for shard in self._members}
        for sample_id in todo:
            self._waiting[shard_of(crops[sample_id])].add(sample_id)
        self._is_stills = set(source.column("media")) <= {"image"}

    def finish_stopped(self) -> None:
        """Write the shards that an earlier run completed but did not get to write."""
        for shard, waiting in self._waiting.items():
            if not waiting and remote.exists(self._staged(shard)):
                self._write(shard)

    def done(self, sample_id: str) -> None:
        """A sample ended, well or not; its shard is written when it was the last."""
        shard = shard_of(self._crops[sample_id])
        self._waiting[shard].discard(sample_id)
        if not self._waiting[shard]:
            self._write(shard)

    def _staged(self, shard: str) -> Path:
        return staged_place(self._out, shard)

    def _write(self, shard: str) -> None:
        place = self._out / shard
        pictures = ((sample, self._pictures(sample)) for sample in self._members[shard])
        rows = ((sample, found) for sample, found in pictures if found)
        first = next(rows, None)
        if first is None:
            remove(place)  # every sample of it failed
        else:
            entries = _Counted(first, rows)
            writer = self._write_tar if shard.endswith(".tar") else self._write_parquet

            def write(temporary: Path) -> None:
                writer(temporary, iter(entries))
                # Before the shard gets its name: a shard that is there never has an earlier one's record.
                entry = entry_of(temporary, counts=(entries.samples, entries.pictures), file=place.name)
                write_json(packed_record(self._out, shard), asdict(entry))

            write_atomically(place, write)
        with storage_errors(place, "removing packed crops"):
            remove(self._staged(shard))

    def _pictures(self, sample: Sample) -> Pictures:
        """From the staged folder, else from the shard as an earlier run wrote it; [] for a failed sample."""
        crops = self._crops[sample.sample_id]
        staged = staged_place(self._out, crops)
        try:
            if sample.media == "image":
                remote.ensure(staged)
                if staged.is_file():
                    return [(staged.suffix[1:], staged.read_bytes())]
                place = find_place(self._out / crops)
                return [(staged.suffix[1:], picture_bytes(place))] if place else []
            remote.ensure_folder(staged)
            folder = staged if staged.is_dir() else self._out / crops
            if folder is not staged and find_place(folder) is None:
                return []
            if folder is staged:  # files as they are: asked for one by one, each would be looked up in an object store
                return [(file.name, file.read_bytes()) for file in frame_files(folder)]
            return [(file.name, _bytes_of(file)) for file in frame_files(folder)]
        except MediaError:
            return []

    def _facts(self, sample: Sample, count: int) -> dict[str, Any]:
        name = None if sample.label is None else self._labels[sample.label]
        return {"sample_id": sample.sample_id, "label": sample.label, "class": name, "num_frames": count}

    def _write_tar(self, path: Path, entries: Iterator[tuple[Sample, Pictures]]) -> None:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for sample, pictures in entries:
                key = key_of(self._crops[sample.sample_id])
                for name, data in pictures:
                    _add(tar, f"{key}.{name}", data)
                if sample.label is not None:
                    _add(tar, f"{key}.cls", str(sample.label).encode())
                facts = json.dumps(self._facts(sample, len(pictures)), sort_keys=True, ensure_ascii=False)
                _add(tar, f"{key}.json", facts.encode())

    def _write_parquet(self, path: Path, entries: Iterator[tuple[Sample, Pictures]]) -> None:
        schema = parquet_schema(self._labels, stills=self._is_stills)
        column = "image" if self._is_stills else "frames"
        rows: list[dict[str, Any]] = []
        with pq.ParquetWriter(path, schema, compression="none") as writer:
            for sample, pictures in entries:
                found = [{"bytes": data, "path": name} for name, data in pictures]
                rows.append(
                    {
                        "key": key_of(self._crops[sample.sample_id]),
                        **self._facts(sample, len(pictures)),
                        column: found[0] if self._is_stills else found,
                    }
                )
                if len(rows) == ROWS_PER_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, schema))
                    rows.clear()
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))


def parquet_schema(classes: Sequence[str], *, stills: bool) -> pa.Schema:
    """Columns of a parquet shard, with the note by which `datasets.load_dataset` knows images and class names."""
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image: dict[str, Any] = {"_type": "Image"}
    features: dict[str, Any] = {
        "key": {"dtype": "string", "_type": "Value"},
        "sample_id": {"dtype": "string", "_type": "Value"},
        "label": {"names": list(classes), "_type": "ClassLabel"} if classes else {"dtype": "int64", "_type": "Value"},
        "class": {"dtype": "string", "_type": "Value"},
        "num_frames": {"dtype": "int32", "_type": "Value"},
        "image" if stills else "frames": image if stills else {"feature": image, "_type": "Sequence"},
    }
    fields = [
        ("key", pa.string()), ("sample_id", pa.string()), ("label", pa.int64()), ("class", pa.string()),
        ("num_frames", pa.int32()), ("image", picture) if stills else ("frames", pa.list_(picture)),
    ]  # fmt: skip
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def packed_path(crops: str, media: str, position: int, *, suffix: str, shard_size: int) -> str:
    """The packed form of a sample's crops path: `shards/00000.tar/clip_a`, `shards/00000.tar/still_b.jpg`.

    A dot would end a WebDataset key, so dots of the id are percent-encoded.
    """
    stem, dot, ending = crops.rpartition(".") if media == "image" else (crops, "", "")
    key = stem.replace(".", "%2E")
    return f"shards/{position // shard_size:05d}{suffix}/{key}{dot}{ending}"


def shard_of(crops: str) -> str:
    """`shards/00000.tar` of a packed path."""
    return "/".join(crops.split("/")[:2])


def key_of(crops: str) -> str:
    """`clip_a` of `shards/00000.tar/clip_a`; without its suffix where it is an image."""
    folder, _, name = "/".join(crops.split("/")[2:]).rpartition("/")
    stem = name.partition(".")[0]
    return f"{folder}/{stem}" if folder else stem


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)  # time, owner and mode stay at their constant defaults: the same bytes every time
    tar.addfile(member, io.BytesIO(data))


def _bytes_of(file: Path) -> bytes:
    place = find_place(file)
    return picture_bytes(place) if place else file.read_bytes()


class _Counted:
    """Entries of a shard as they are written, counted."""

    def __init__(self, first: tuple[Sample, Pictures], rest: Iterator[tuple[Sample, Pictures]]) -> None:
        self._entries = itertools.chain([first], rest)
        self.samples = self.pictures = 0

    def __iter__(self) -> Iterator[tuple[Sample, Pictures]]:
        for sample, pictures in self._entries:
            self.samples += 1
            self.pictures += len(pictures)
            yield sample, pictures


def index_shards(out: Path, manifest: Manifest) -> None:
    """Write the index of the shards that the samples of `manifest`, at `out`, are in; nothing where they are in none.

    What is known of a shard from writing it, or from an index that is younger than the shard, is not computed again.
    """
    names = list(samples_in_shards(manifest))
    if not names:
        return
    earlier = _earlier_entries(out / SHARDS)
    entries = [_recorded(out, name) or earlier.get(Path(name).name) or entry_of(out / name) for name in names]
    write_index(out / SHARDS, entries)


def _recorded(out: Path, name: str) -> ShardEntry | None:
    path = packed_record(out, name)
    remote.ensure(path)
    return ShardEntry(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def _earlier_entries(folder: Path) -> dict[str, ShardEntry]:
    """Of an earlier run's index, what the shards' sizes and ages agree with."""
    try:
        entries = read_index(folder) or {}
    except DataError:
        return {}
    index = remote.look(folder / INDEX)
    kept = {}
    for name, entry in entries.items():
        shard = remote.look(folder / name)
        if shard and index and shard.size == entry.bytes and shard.modified <= index.modified:
            kept[name] = entry
    return kept
