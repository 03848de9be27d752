"""What an align job leaves on disk, and how a stopped one is continued.

    OUT/<sample_id>/00001.jpg     crops of a clip; OUT/<sample_id>.jpg of an image
    OUT/manifest.parquet          one row per sample, failed ones too
    OUT/faces.parquet             one row per crop: box, landmarks, matrix
    OUT/contact_sheet.jpg         a picture of them
    OUT/.ferbench/                while unfinished only: journal.jsonl, and crops being written

A sample is finished when its line is in the journal, which is written after its crops were renamed into place. The
parquet files are made from the journal at the end, in the order of the source, so that they do not depend on who
finished first or how often the job was stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench.errors import UsageError
from ferbench.jobs.align_options import FORMATS
from ferbench.jobs.align_sample import STATE_FOLDER, CropRow, Outcome
from ferbench.manifest import Manifest, read_manifest, write_manifest
from ferbench.recipe import Recipe
from ferbench.storage import remove, storage_errors, write_atomically

MANIFEST, FACES, CONTACT_SHEET = "manifest.parquet", "faces.parquet", "contact_sheet.jpg"
RESERVED = {MANIFEST, FACES, CONTACT_SHEET, STATE_FOLDER}
ROWS_PER_GROUP = 16_384

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
    "source_frames": pa.int32(),
    "frames_sampled": pa.int32(),
    "frames_with_face": pa.int32(),
    "decoder": pa.string(),
    "notes": pa.string(),
}
"""What an aligned manifest has beyond the schema, with `source`, the path in the source: how the reading went."""


def crops_path(sample_id: str, media: str, image_format: str) -> str:
    """Where a sample's crops go, relative to the output folder.

    The id itself, with characters that a path cannot hold, dot names and ferbench's own file names percent-encoded.
    """
    parts = [
        quote(part, safe=" !#$&'()+,;=@[]^`{}~-_.\u00a0") if part.isascii() else part for part in sample_id.split("/")
    ]
    parts = [f"%{ord(part[0]):02X}{part[1:]}" if part.startswith(".") else part or "%" for part in parts]
    path = "/".join(parts) + (FORMATS[image_format] if media == "image" else "")
    return f"%{ord(path[0]):02X}{path[1:]}" if path.split("/")[0] in RESERVED else path


@dataclass(frozen=True, slots=True)
class Finished:
    """How an earlier run ended for a sample."""

    succeeded: bool
    reason: str | None
    sha256: str | None
    """Of the source as it was then; None where it could not be read."""


class AlignStore:
    """The output folder of one align job."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.out = out
        self.recipe = recipe
        self._state = out / STATE_FOLDER
        self._journal = self._state / "journal.jsonl"
        self._offsets: dict[str, tuple[int, Finished]] = {}
        self._file: IO[bytes] | None = None

    # --- continuing ----------------------------------------------------------------------------------------------------

    def finished(self) -> dict[str, Finished]:
        """How earlier runs ended, by sample_id; UsageError when their recipe was another."""
        if self._journal.exists():
            return {sample_id: finished for sample_id, (_, finished) in self._read_offsets().items()}
        manifest = self._written_manifest()
        if manifest is None:
            return {}
        self._same_recipe(manifest.recipe.id if manifest.recipe else "none")
        columns = [manifest.column(name) for name in ("sample_id", "status", "error", "sha256")]
        return {name: _finished(*rest) for name, *rest in zip(*columns, strict=True)}

    def _written_manifest(self) -> Manifest | None:
        """The manifest of an earlier run; UsageError when the file there is not one that align wrote here."""
        path = self.out / MANIFEST
        if not path.exists():
            return None
        manifest = read_manifest(path)
        if (
            manifest.recipe is None
            or "source" not in manifest.table.column_names
            or manifest.root != self.out.resolve()
        ):
            raise UsageError(f"{path} was not written by align; choose another output folder")
        return manifest

    def _same_recipe(self, theirs: str) -> None:
        if theirs != self.recipe.id:
            raise UsageError(
                f"{self.out} holds faces of recipe {theirs}, and this run's is {self.recipe.id}; "
                "choose another output folder, or --overwrite to start anew"
            )

    def _read_offsets(self) -> dict[str, tuple[int, Finished]]:
        """Where each sample's last whole line begins. The first line is the recipe id; a torn last line is ignored."""
        offsets: dict[str, tuple[int, Finished]] = {}
        position = 0
        with self._journal.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if position == 0:
                    self._same_recipe(line.decode().strip())
                else:
                    outcome = Outcome.from_line(line.decode())
                    offsets[outcome.sample_id] = (position, _finished(outcome.status, outcome.error, outcome.sha256))
                position += len(line)
        return offsets

    def discard(self) -> None:
        """Remove what earlier runs wrote here, and nothing else: the crops their records name, and our own files."""
        for path in [*self._recorded_crops(), *(self.out / name for name in sorted(RESERVED))]:
            remove(path)
            _remove_empty_parents(path.parent, self.out)

    def _recorded_crops(self) -> Iterator[Path]:
        manifest = self._written_manifest()
        if manifest is not None:
            yield from (self.out / path for path in manifest.column("path"))
        if (crops := self._state / "crops.txt").exists():
            yield from (self.out / line for line in crops.read_text(encoding="utf-8").splitlines())

    # --- recording -----------------------------------------------------------------------------------------------------

    def open(self, crops: Iterable[str]) -> None:
        """Begin or continue recording. `crops` are the paths this run may write, for a later `discard`."""
        with storage_errors(self.out, "starting the journal"):
            remove(self._state / "unfinished")
            self._state.mkdir(parents=True, exist_ok=True)
            (self._state / "crops.txt").write_text("".join(f"{path}\n" for path in crops), encoding="utf-8")
            if not self._journal.exists():
                write_atomically(self._journal, self._first_journal)
            self._offsets = self._read_offsets()
            self._cut_torn_line()
            self._file = self._journal.open("ab")

    def _first_journal(self, temporary: Path) -> None:
        """A new journal, holding what the finished run before this one knew."""
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"{self.recipe.id}\n")
            manifest = self._written_manifest()
            if manifest is not None:
                for outcome in _recorded_outcomes(manifest, self.out / FACES):
                    file.write(outcome.as_line())

    def _cut_torn_line(self) -> None:
        data = self._journal.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with self._journal.open("r+b") as file:
                file.truncate(whole)

    def record(self, outcome: Outcome) -> None:
        """Add one outcome. It is with the operating system when this returns, so killing the process loses nothing."""
        assert self._file is not None
        with storage_errors(self._journal, "recording a sample"):
            position = self._file.tell()
            self._file.write(outcome.as_line().encode())
            self._file.flush()
        self._offsets[outcome.sample_id] = (position, _finished(outcome.status, outcome.error, outcome.sha256))

    def outcomes(self, sample_ids: Iterable[str]) -> Iterator[Outcome]:
        """The recorded outcomes in the order asked for, read from disk one at a time."""
        with self._journal.open("rb") as file:
            for sample_id in sample_ids:
                file.seek(self._offsets[sample_id][0])
                yield Outcome.from_line(file.readline().decode())

    def close(self) -> None:
        """Close the journal's file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # --- finishing -----------------------------------------------------------------------------------------------------

    def write_tables(self, source: Manifest, image_format: str) -> Manifest:
        """Write faces.parquet and manifest.parquet for the rows of `source`, all of which are recorded."""
        sample_ids = source.column("sample_id")
        staging = self._state / "unfinished"
        outcomes: list[Outcome] = []  # without their rows, which are the bulk
        counts: list[int] = []

        def write_faces(temporary: Path) -> None:
            rows: list[dict[str, Any]] = []
            with pq.ParquetWriter(temporary, FACES_SCHEMA) as writer:
                for outcome in self.outcomes(sample_ids):
                    outcomes.append(dataclasses.replace(outcome, rows=()))
                    counts.append(len(outcome.rows))
                    rows += [{"sample_id": outcome.sample_id, **dataclasses.asdict(row)} for row in outcome.rows]
                    while len(rows) >= ROWS_PER_GROUP:
                        writer.write_table(pa.Table.from_pylist(rows[:ROWS_PER_GROUP], FACES_SCHEMA))
                        del rows[:ROWS_PER_GROUP]
                writer.write_table(pa.Table.from_pylist(rows, FACES_SCHEMA))

        write_atomically(self.out / FACES, write_faces, staging=staging)
        media = source.column("media")
        columns: dict[str, Any] = {
            "path": [crops_path(name, kind, image_format) for name, kind in zip(sample_ids, media, strict=True)],
            "media": ["image" if kind == "image" else "frames" for kind in media],
            # The crops are the whole sample now: the range within the source no longer applies to `path`.
            "start_frame": pa.nulls(len(source), pa.int32()),
            "end_frame": pa.nulls(len(source), pa.int32()),
            "num_frames": [count or None for count in counts],
            "status": [outcome.status for outcome in outcomes],
            "error": [outcome.error for outcome in outcomes],
            "sha256": [outcome.sha256 for outcome in outcomes],
            "source": pa.array(source.column("path"), pa.string()),
        }
        for name, kind in READING_COLUMNS.items():
            columns[name] = pa.array([getattr(outcome, name) for outcome in outcomes], kind)
        aligned = source.with_columns(**columns).replace(root=self.out.resolve(), recipe=self.recipe)
        write_manifest(aligned, self.out / MANIFEST, staging=staging)
        return aligned

    def finish(self) -> None:
        """Remove the journal: the tables hold everything now."""
        self.close()
        remove(self._state)


def _recorded_outcomes(manifest: Manifest, faces_path: Path) -> Iterator[Outcome]:
    """The outcomes that a finished job's tables hold."""
    faces: dict[str, list[CropRow]] = {}
    for batch in pq.ParquetFile(faces_path).iter_batches():
        for row in batch.to_pylist():
            name = row.pop("sample_id")
            faces.setdefault(name, []).append(CropRow.from_dict(row))
    for row in manifest.table.select(["sample_id", "status", "error", "sha256", *READING_COLUMNS]).to_pylist():
        yield Outcome(**row, rows=tuple(faces.get(row["sample_id"], ())))


def _finished(status: str, error: str | None, sha256: str | None) -> Finished:
    return Finished(status == "ok", error.partition(":")[0] if error else None, sha256)


def _remove_empty_parents(folder: Path, stop: Path) -> None:
    while folder != stop and stop in folder.parents and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
