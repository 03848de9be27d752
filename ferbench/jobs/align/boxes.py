"""Boxes without crops, and crops from them: what `--keep boxes` leaves, `--from-boxes` takes up without detecting again.

A folder of boxes has the two tables of an align folder and no pictures: faces.parquet, and a manifest whose paths are still
those of the source. Crops of any template and size are cut from the same frames with the same faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ferbench import remote
from ferbench.alignment import CropOptions, align_face, full_frame
from ferbench.errors import ManifestError, MediaError, UsageError
from ferbench.faces import AlignedFace, Face
from ferbench.jobs.align.options import BOXES, AlignOptions
from ferbench.jobs.align.outcome import CropRow, Outcome
from ferbench.jobs.align.paths import FACES, MANIFEST
from ferbench.jobs.align.store import READING_COLUMNS, outcomes_of
from ferbench.manifest import Manifest, read_manifest
from ferbench.media import FrameBatch
from ferbench.recipe import Recipe


@dataclass(frozen=True, slots=True)
class FrameList:
    """Chooses the frames that were detected: a `FrameChooser` of fixed places in the source."""

    places: tuple[int, ...]

    def indices(self, num_frames: int) -> Sequence[int]:
        """The places; MediaError when the source has become shorter."""
        if max(self.places, default=0) >= num_frames:
            raise MediaError(
                f"frame {max(self.places)} was detected, and {num_frames} are there now", reason="truncated"
            )
        return self.places


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """A folder that `--keep boxes` wrote."""

    folder: Path
    manifest: Manifest
    """The samples as their source has them; failed ones stay failed."""
    recipe: Recipe
    """How the boxes were found."""
    ranges: Mapping[str, tuple[int, int]]
    """Sample id -> its rows of faces.parquet, half-open."""
    outcomes: Mapping[str, Outcome]
    """Without their rows."""

    def recipe_of(self, options: AlignOptions) -> Recipe:
        """The recipe of crops made with these options: equal to that of crops made in one go."""
        stages = {**self.recipe.as_dict(), **options.crop_stages()}
        return Recipe.of(**stages)


def read_boxes(folder: Path, *, root: Path | None = None) -> Boxes:
    """The tables of a folder of boxes. UsageError for a folder that is none; ManifestError for one that is damaged."""
    path = folder / MANIFEST
    remote.ensure(path)
    remote.ensure(folder / FACES)
    if not path.exists():
        raise UsageError(f"{folder}: no {MANIFEST} of `ferbench align --keep boxes` is there")
    manifest = read_manifest(path, root=root)
    if manifest.recipe is None or manifest.provenance.get("kept") != BOXES:
        raise UsageError(f"{folder}: it was not written by `ferbench align --keep boxes`, so the sources are not in it")
    outcomes = {outcome.sample_id: outcome for outcome in outcomes_of(manifest)}
    try:
        ids = pq.read_table(folder / FACES, columns=["sample_id"]).column("sample_id").combine_chunks()
    except (pa.ArrowInvalid, OSError) as error:
        raise ManifestError(f"{folder / FACES}: not a readable table of faces ({error})") from error
    samples = manifest.replace(
        table=manifest.table.drop_columns([name for name in READING_COLUMNS if name in manifest.table.column_names]),
        recipe=None,
        provenance={key: value for key, value in manifest.provenance.items() if key != "kept"},
    )
    return Boxes(folder, samples, manifest.recipe, _ranges(ids), outcomes)


def _ranges(ids: pa.Array) -> dict[str, tuple[int, int]]:
    """Runs of equal ids; a sample's rows lie together."""
    codes = ids.dictionary_encode()
    indices = codes.indices.to_numpy()
    starts = np.flatnonzero(np.r_[True, indices[1:] != indices[:-1]]) if len(indices) else np.zeros(0, np.int64)
    ends = np.r_[starts[1:], len(indices)]
    names = codes.dictionary.take(pa.array(indices[starts])).to_pylist()
    return {name: (int(start), int(end)) for name, start, end in zip(names, starts, ends, strict=True)}


class BoxesFile:
    """Rows of a faces.parquet by their place, the last row group kept."""

    def __init__(self, folder: Path) -> None:
        remote.ensure(folder / FACES)
        self._file = pq.ParquetFile(folder / FACES)
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._groups: tuple[tuple[int, ...], pa.Table] | None = None

    def rows(self, first: int, last: int) -> list[CropRow]:
        """Rows first .. last - 1."""
        groups = tuple(
            range(
                int(np.searchsorted(self._starts, first, "right")) - 1, int(np.searchsorted(self._starts, last, "left"))
            )
        )
        if self._groups is None or self._groups[0] != groups:
            self._groups = (groups, self._file.read_row_groups(list(groups)))
        table = self._groups[1].slice(first - int(self._starts[groups[0]]), last - first)
        return [CropRow.from_dict(row) for row in table.drop_columns(["sample_id"]).to_pylist()]


def crops_of_boxes(batch: FrameBatch, rows: Sequence[CropRow], crop: CropOptions) -> dict[int, AlignedFace]:
    """The crops by frame index, cut where the rows say."""
    crops: dict[int, AlignedFace] = {}
    for row in rows:
        if row.frame_index in crops:
            continue  # a frame that a short clip repeats
        frame = batch.frames[row.frame_index]
        if row.box is None or row.landmarks is None:
            crops[row.frame_index] = full_frame(frame, crop)
            continue
        landmarks = np.array(row.landmarks, np.float32).reshape(5, 2)
        face = Face(np.array(row.box, np.float32), landmarks, row.score or 0.0)
        crops[row.frame_index] = align_face(frame, face, crop, origin=row.origin)
    return crops
