"""The output folder of `align`: whose it is, what earlier runs left, its tables, and its lock.

    OUT/<sample_id>/00001.jpg     crops of a clip; OUT/<sample_id>.jpg of an image
    OUT/<sample_id>/face1/…       with `--faces all`: each person's, below the sample's folder; of an image face1.jpg
    OUT/manifest.parquet          one row per sample, failed ones too
    OUT/faces.parquet             one row per crop: box, landmarks, matrix
    OUT/contact_sheet.jpg         a picture of them
    OUT/report.html               the same as a page, with how good they are and what failed
    OUT/shards/…                  with `--pack`, the crops; see `ferbench.jobs.align.packing`
    OUT/.ferbench/                while unfinished only: journal.jsonl, crops.json, and crops being written; of shards
                                  journal-3-of-16.jsonl and so on for each, and what they all work on (`sharded`)
    OUT/.ferbench.lock            while a run works here

A sample is finished when its line is in the journal, which is written after its crops were renamed into place. The tables
are made from the journal at the end, in the order of the source, so that they do not depend on who finished first or how
often the job was stopped. What align did not write it never replaces or removes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferbench import remote
from ferbench.alignment.quality import Quality
from ferbench.errors import UsageError
from ferbench.jobs.align.gathering import Columns, FacesWriter, parts_of_line
from ferbench.jobs.align.journal import Journal
from ferbench.jobs.align.options import BOXES, CROPS
from ferbench.jobs.align.outcome import CropRow, Outcome
from ferbench.jobs.align.packing import index_shards
from ferbench.jobs.align.paths import (
    CONTACT_SHEET,
    FACES,
    LOCK,
    MANIFEST,
    REPORT,
    RESERVED,
    SHARD_INDEX,
    STATE_FOLDER,
    on_disk,
)
from ferbench.jobs.align.persons import (
    PERSON_COLUMNS,
    crops_of_sources,
    is_by_person,
    outcomes_of_sources,
    spread_over_rows,
    table_of_sources,
)
from ferbench.jobs.locks import locked, refuse_held
from ferbench.manifest import Manifest, read_manifest, write_manifest
from ferbench.media.shard_index import samples_in_shards
from ferbench.recipe import Recipe
from ferbench.sharding import Share
from ferbench.storage import TEMPORARY_PREFIX, remove, storage_errors, write_atomically, write_json

FACES_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("crop", pa.int32(), nullable=False),
        pa.field("frame_index", pa.int32(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("box", pa.list_(pa.float32(), 4)),
        pa.field("landmarks", pa.list_(pa.float32(), 10)),
        pa.field("matrix", pa.list_(pa.float64(), 6), nullable=False),
    ]
)
"""Columns of faces.parquet; the fields of `CropRow` with the sample they belong to."""

READING_COLUMNS = {
    "source": pa.string(),
    "source_start": pa.int32(),
    "source_end": pa.int32(),
    "source_bytes": pa.int64(),
    "source_frames": pa.int32(),
    "frames_sampled": pa.int32(),
    "frames_with_face": pa.int32(),
    "decoder": pa.string(),
    "notes": pa.string(),
    **{field.name: pa.float32() for field in dataclasses.fields(Quality)},
}
"""What an aligned manifest has beyond the schema: fields of `Outcome`."""

_GATHERED = {
    "place": pa.int64(), "number": pa.int32(), "sample_id": pa.string(), "crops": pa.string(), "num_crops": pa.int32(),
    "status": pa.string(), "error": pa.string(), "sha256": pa.string(), **READING_COLUMNS,
}  # fmt: skip
"""What is gathered of each row: its source sample's place, which person it is, and fields of `Outcome`."""

_OF_ALIGN = {"path", "media", "start_frame", "end_frame", "num_frames", "status", "error", "sha256", *READING_COLUMNS}
"""Columns that align sets; the others are the source's."""

CROPS_PATTERN = "crops*.json"
SHARE_LOCK = "lock-"
OF_STATE = (TEMPORARY_PREFIX, "journal", "crops", "packed", "unfinished", "source.parquet", "plan.json", SHARE_LOCK)
"""How the names of everything in the state folder begin."""


class AlignStore:
    """One output folder under one recipe."""

    def __init__(self, out: Path, recipe: Recipe, *, keep: str = CROPS, share: Share | None = None) -> None:
        """`share` is the part that this run does, where several work here at once."""
        self.out = out
        self.recipe = recipe
        self.keep = keep
        self.share = share
        self.state = out / STATE_FOLDER
        name = f"-{share.name}" if share else ""
        self.journal = Journal(self.journal_of(share))
        self.staging = self.state / f"unfinished{name}"
        self._crops_file = self.state / f"crops{name}.json"

    def journal_of(self, share: Share | None) -> Path:
        """Where a shard records, or a run that does everything."""
        return self.state / f"journal{f'-{share.name}' if share else ''}.jsonl"

    # --- what is there -------------------------------------------------------------------------------------------------

    @property
    def is_unfinished(self) -> bool:
        """Whether an earlier run was stopped, at whatever moment."""
        return self.state.exists()

    def finished(self) -> Mapping[str, Outcome]:
        """How earlier runs ended, by sample_id; UsageError when their recipe was another.

        From the tables and, over them, from every journal: shards do not repeat the tables in theirs.
        """
        recipe_ids, outcomes = self.journal.read()
        for recipe_id in sorted(recipe_ids):
            self._same_recipe(recipe_id)
        if self.journal.path.exists() and self.share is None:
            return outcomes  # it began with what the tables say
        manifest = self.written_manifest()
        if manifest is None or not (self.out / FACES).exists():
            return outcomes  # without the table of crops, nothing can be said of them
        self._same_recipe(manifest.recipe.id if manifest.recipe else "none")
        of_tables = {outcome.sample_id: outcome for outcome in outcomes_of(manifest)}
        return of_tables if not outcomes else {**of_tables, **outcomes}

    def written_manifest(self) -> Manifest | None:
        """The manifest of an earlier run; UsageError when the file there is not one that align wrote here."""
        path = self.out / MANIFEST
        if not path.exists():
            return None
        manifest = read_manifest(path)
        has_columns = set(READING_COLUMNS) <= set(manifest.table.column_names)
        kept = manifest.provenance.get("kept", CROPS)
        if manifest.recipe is None or not has_columns or (kept == CROPS and manifest.root != self.out.resolve()):
            raise UsageError(f"{path} was not written by align; choose another output folder")
        return manifest

    def _same_recipe(self, theirs: str) -> None:
        if theirs != self.recipe.id:
            raise UsageError(
                f"{self.out} holds faces of recipe {theirs}, and this run's is {self.recipe.id}; "
                "choose another output folder, or --overwrite to start anew"
            )

    def is_current(self, source: Manifest) -> bool:
        """Whether the tables are there and say of the samples what the source says of them now."""
        written = self.written_manifest()
        tables = (FACES, CONTACT_SHEET, REPORT) if self.keep == CROPS else (FACES,)
        if written is None or not all((self.out / name).exists() for name in tables):
            return False
        if self.keep == BOXES and written.root != source.root:
            return False
        if samples_in_shards(written) and not (self.out / SHARD_INDEX).exists():
            return False
        theirs, ours = written.table, source.table
        if is_by_person(self.recipe):
            again = PERSON_COLUMNS.keys() & set(ours.column_names)
            theirs, ours = table_of_sources(written), ours.drop_columns(sorted(again))
        theirs, ours = (table.drop_columns(_present(table)) for table in (theirs, ours))
        same_meaning = (written.labels, written.name) == (source.labels, source.name)
        return same_meaning and bool(theirs.equals(ours))

    # --- whose it is ---------------------------------------------------------------------------------------------------

    def recorded_crops(self) -> set[str]:
        """Crops that earlier runs wrote or were about to write: their paths, of packed ones those of the packs."""
        manifest = self.written_manifest()
        has_crops = manifest is not None and manifest.provenance.get("kept", CROPS) == CROPS
        recorded: set[str] = set()
        if manifest is not None and has_crops:
            crops = crops_of_sources(manifest) if is_by_person(manifest.recipe) else manifest.column("path")
            recorded = set(map(on_disk, crops))
        return recorded | _names_in(self.state.glob(CROPS_PATTERN))

    def refuse_foreign(self, crops: Iterable[str]) -> None:
        """UsageError when one of `crops`, or a file of ours, would replace what align did not write."""
        recorded = self.recorded_crops()
        is_ours = self.written_manifest() is not None or self._is_state()
        places = [name for name in dict.fromkeys(map(on_disk, crops)) if name not in recorded]
        places += [] if is_ours else sorted(RESERVED - {LOCK})
        # One listing instead of a look for each of a million names: what is in no folder there is not there.
        there = {name.casefold() for name in remote.names_in(self.out)}
        for name in places:
            if name.partition("/")[0].casefold() not in there:
                continue
            place = self.out / name
            if remote.exists(place) or place.is_symlink():
                raise UsageError(f"{place} is there, and align did not write it; choose another output folder")

    def _is_state(self) -> bool:
        """Whether the state folder is a run's, be it one that began a moment ago."""
        names = [path.name for path in self.state.iterdir()] if self.state.is_dir() else None
        return names is not None and all(name.startswith(OF_STATE) for name in names)

    def discard(self) -> None:
        """Remove what earlier runs wrote here, and nothing else: the crops their records name, and our own files."""
        recorded = self.recorded_crops()
        if self.written_manifest() is None and not self.journal.exists():
            return
        for name in [*sorted(recorded), *sorted(RESERVED - {LOCK})]:
            self.remove_crops(name)

    def remove_crops(self, name: str) -> None:
        """Remove one path below the folder, and folders that are empty after it."""
        if on_disk(name) != name:
            return  # a sample of a pack goes when its pack is written anew
        remove(self.out / name)
        folder = (self.out / name).parent
        while folder != self.out and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other runs out of the folder; UsageError when one is at work. The kernel lets go for a killed run.

        Shards of one division work beside each other, each under a lock of its own; nothing else does beside them.
        """
        whole = self.out / LOCK
        busy = f"another run is writing to {self.out}; wait for it to end"
        if self.share is None:
            with locked(whole, busy):
                refuse_held(sorted(self.state.glob(f"{SHARE_LOCK}*")), f"{busy} ({{}} is held)")
                yield
            return
        own = self.state / f"{SHARE_LOCK}{self.share.name}"
        with locked(own, f"another run does shard {self.share} of {self.out}; wait for it to end"):
            # Each looks after it has its own, so of two that do not go together at most one goes on.
            others = [
                path for path in self.state.glob(f"{SHARE_LOCK}*") if not path.name.endswith(f"-of-{self.share.of}")
            ]
            refuse_held([whole], busy)
            refuse_held(
                sorted(others), f"a run that divides {self.out} differently is at work ({{}} is held); wait for it"
            )
            yield
        with suppress(OSError):
            self.state.rmdir()  # where there was nothing to do

    # --- recording -----------------------------------------------------------------------------------------------------

    def open(self, crops: Iterable[str]) -> None:
        """Begin or continue recording. `crops` are the paths this run may write, noted for a later `discard`."""
        with storage_errors(self.out, "starting the journal"):
            remove(self.staging)
            # Shards note their own: each repeating all of theirs would be the source over and over.
            known = _names_in([self._crops_file]) if self.share else self.recorded_crops()
            write_json(self._crops_file, sorted(known | set(map(on_disk, crops))))
            if not self.journal.path.exists():
                self.journal.create(self.recipe.id, () if self.share else self._outcomes_of_tables())
        self.journal.open()

    def _outcomes_of_tables(self) -> Iterator[Outcome]:
        manifest = self.written_manifest()
        known = manifest is not None and (self.out / FACES).exists()
        return outcomes_of(manifest, self.out / FACES) if manifest and known else iter(())

    # --- finishing -----------------------------------------------------------------------------------------------------

    def write_tables(self, source: Manifest) -> Manifest:
        """Write faces.parquet and manifest.parquet for the rows of `source`, all of which are recorded."""
        by_person = is_by_person(self.recipe)
        gathered = Columns(_GATHERED)

        def write_faces(temporary: Path) -> None:
            with pq.ParquetWriter(temporary, FACES_SCHEMA) as writer:
                faces = FacesWriter(writer, FACES_SCHEMA)
                for place, line in enumerate(self.journal.lines(source.column("sample_id"))):
                    head, parts = parts_of_line(line)
                    for number, (row, crops) in enumerate(parts, start=1):
                        faces.add(row["sample_id"], crops)
                        is_person = row is not head
                        gathered.add({**row, "place": place, "number": number if is_person else None})
                faces.flush()

        write_atomically(self.out / FACES, write_faces, staging=self.staging)
        rows = gathered.arrays()
        if by_person:
            source = spread_over_rows(source, rows["place"], rows["sample_id"], rows["number"])
        columns: dict[str, Any] = {name: rows[name] for name in ("status", "error", "sha256", *READING_COLUMNS)}
        if self.keep == BOXES:
            kept = source.with_columns(**columns)
            aligned = kept.replace(recipe=self.recipe, provenance={**source.provenance, "kept": BOXES})
            write_manifest(aligned, self.out / MANIFEST, staging=self.staging)
            return aligned
        num_crops, is_image = rows["num_crops"], pc.equal(source.table.column("media"), "image")
        columns |= {
            "path": rows["crops"],
            "media": pc.if_else(is_image, "image", "frames"),
            # The crops are the whole sample now; the range within the source is kept beside it.
            "start_frame": pa.nulls(len(source), pa.int32()),
            "end_frame": pa.nulls(len(source), pa.int32()),
            "num_frames": pc.if_else(pc.equal(num_crops, 0), pa.scalar(None, pa.int32()), num_crops),
        }
        aligned = source.with_columns(**columns).replace(root=self.out.resolve(), recipe=self.recipe)
        write_manifest(aligned, self.out / MANIFEST, staging=self.staging)
        index_shards(self.out, aligned)
        return aligned

    def finish(self) -> None:
        """Remove the journal: the tables hold everything now."""
        self.journal.close()
        remove(self.state)


def _names_in(files: Iterable[Path]) -> set[str]:
    """Of lists of crops; a file that is not there has none."""
    return {name for path in files if path.exists() for name in json.loads(path.read_text(encoding="utf-8"))}


def _present(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name in _OF_ALIGN]


def outcomes_of(manifest: Manifest, faces_path: Path | None = None) -> Iterator[Outcome]:
    """The outcomes that a finished job's tables hold; without `faces_path`, without their rows."""
    rows = _outcomes_of_rows(manifest, faces_path)
    return outcomes_of_sources(manifest, rows) if is_by_person(manifest.recipe) else rows


def _outcomes_of_rows(manifest: Manifest, faces_path: Path | None) -> Iterator[Outcome]:
    faces: dict[str, list[CropRow]] = {}
    if faces_path is not None:
        for batch in pq.ParquetFile(faces_path).iter_batches():
            for row in batch.to_pylist():
                name = row.pop("sample_id")
                faces.setdefault(name, []).append(CropRow.from_dict(row))
    names = ["sample_id", "status", "error", "sha256", "path", "num_frames", *READING_COLUMNS]
    names = [name for name in names if name in manifest.table.column_names]  # an older ferbench had fewer
    for row in manifest.table.select(names).to_pylist():
        crops, count = row.pop("path"), row.pop("num_frames") or 0
        kept_boxes = manifest.provenance.get("kept") == BOXES
        if kept_boxes:
            crops, count = "", row["frames_sampled"] if row["status"] == "ok" else 0
        row |= {"crops": crops, "num_crops": count}
        yield Outcome(**row, rows=tuple(faces.get(row["sample_id"], ())))
