"""`--faces all`: every person of a clip as a sample of its own.

    clip_7            ->  clip_7/face1     the person more to the left
                          clip_7/face2     the other

A task is still one source sample, and its outcome one line of the journal; that outcome carries one of each person. The
tables have a row for each person instead, with two more columns, from which the outcomes of the sources come back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

from ferbench.alignment import align_clip
from ferbench.alignment.tracking import link_faces
from ferbench.errors import FaceError
from ferbench.faces import AlignedFace, Face
from ferbench.jobs.align.options import ALL, AlignOptions
from ferbench.jobs.align.outcome import Outcome
from ferbench.manifest import Manifest
from ferbench.media import FrameBatch
from ferbench.recipe import Recipe

PERSON_COLUMNS = {"source_id": pa.string(), "face": pa.int32()}
"""What a manifest of persons has besides: the sample of the source, and which of its persons, from 1.

`face` is null where the source sample failed as a whole; such a row has the source's own id."""


def is_by_person(recipe: Recipe | None) -> bool:
    """Whether faces of this recipe are every person's."""
    return recipe is not None and recipe.as_dict().get("selection", {}).get("faces") == ALL


# --- who is there ------------------------------------------------------------------------------------------------------


def find_persons(
    faces_per_frame: Sequence[Sequence[Face]], *, min_score: float, min_presence: float
) -> list[list[Face | None]]:
    """Each person's face or None per frame, the persons from left to right; of the same place, from top to bottom.

    A person is a track of `link_faces` over the faces of at least `min_score` that is there in at least the share
    `min_presence` of the frames; in a single frame, every face. Raises FaceError, reason `no-face`, when nobody is.
    """
    confident = [[face for face in faces if face.score >= min_score] for faces in faces_per_frame]
    tracks, total = link_faces(confident), len(confident)
    if not tracks:
        raise FaceError("no face found" if total == 1 else f"no face found in any of the {total} frames")
    present = [track for track in tracks if len(track.faces) / total >= min_presence]
    if not present:
        most = max(len(track.faces) for track in tracks)
        raise FaceError(f"nobody is in {min_presence:.0%} of the {total} frames, the most present person is in {most}")
    persons: list[list[Face | None]] = []
    for track in sorted(present, key=lambda track: _place(track.faces)):
        person: list[Face | None] = [None] * total
        for position, face in zip(track.positions, track.faces, strict=True):
            person[position] = face
        persons.append(person)
    return persons


def _place(faces: Sequence[Face]) -> tuple[float, float, float]:
    """Orders persons: median x of the box centre, then median y, then the larger."""
    x, y = np.median([face.centre for face in faces], axis=0)
    return float(x), float(y), -float(np.median([face.size for face in faces]))


def align_persons(
    batch: FrameBatch, faces: Mapping[int, Sequence[Face]], options: AlignOptions
) -> Iterator[dict[int, AlignedFace] | FaceError]:
    """Of each person, the crops by frame index, or why there are none: the missing-face policy may refuse."""
    order = sorted(batch.frames)
    persons = find_persons(
        [faces[index] for index in order], min_score=options.min_score, min_presence=options.min_presence
    )
    for person in persons:
        own = {index: [] if face is None else [face] for index, face in zip(order, person, strict=True)}
        try:  # with one face a frame, any rule selects the same
            yield align_clip(
                batch.frames, own, crop=options.crop_options(), select="largest", missing=options.missing
            )  # fmt: skip
        except FaceError as error:
            yield error


# --- one source's outcome and its persons' -----------------------------------------------------------------------------


def begin_person(source: Outcome, number: int, *, suffix: str) -> Outcome:
    """What is known of a source's person before it is aligned. `suffix`: of its one crop; empty for a clip's folder."""
    name = f"face{number}"
    return dataclasses.replace(source, sample_id=f"{source.sample_id}/{name}", crops=f"{source.crops}/{name}{suffix}")


def with_persons(source_id: str, persons: Sequence[Outcome]) -> Outcome:
    """The outcome of the source sample: well when one of its persons is. The same from a worker and from the tables."""
    first = next((person for person in persons if person.succeeded), persons[0])
    return Outcome(
        sample_id=source_id,
        status=first.status,
        error=first.error,
        source=first.source,
        crops=first.crops.rpartition("/")[0],
        source_start=first.source_start,
        source_end=first.source_end,
        source_bytes=first.source_bytes,
        source_frames=first.source_frames,
        frames_sampled=first.frames_sampled,
        frames_with_face=max(person.frames_with_face for person in persons),
        num_crops=sum(person.num_crops for person in persons),
        decoder=first.decoder,
        sha256=first.sha256,
        attempt=first.attempt,
        persons=tuple(persons),
    )


def rows_of(outcome: Outcome) -> tuple[Outcome, ...]:
    """The outcomes that have a row of the manifest each."""
    return outcome.persons or (outcome,)


# --- tables ------------------------------------------------------------------------------------------------------------


def spread_over_rows(
    source: Manifest, places: pa.ChunkedArray, ids: pa.ChunkedArray, numbers: pa.ChunkedArray
) -> Manifest:
    """The rows of `source` at `places`, a person each, under their `ids`, with `PERSON_COLUMNS`.

    `numbers` are of the persons of a sample, from 1; null where the sample failed as a whole.
    """
    table = source.table.take(places)
    names = PERSON_COLUMNS.keys() & set(table.column_names)  # the source may itself be such a manifest
    source_ids = table.column("sample_id")
    table = _named(table.drop_columns(sorted(names)), ids)
    for name, array in zip(PERSON_COLUMNS, (source_ids, numbers), strict=True):
        table = table.append_column(name, array)
    return source.replace(table=table)


def table_of_sources(manifest: Manifest) -> pa.Table:
    """The other way: the first row of each source sample, under the source's id."""
    table = manifest.table
    ids = np.array(manifest.column("source_id"), dtype=object)
    is_first = np.r_[True, ids[1:] != ids[:-1]] if len(ids) else np.zeros(0, bool)
    return _named(table, table.column("source_id")).filter(pa.array(is_first)).drop_columns(list(PERSON_COLUMNS))


def _named(table: pa.Table, sample_ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index("sample_id"), "sample_id", sample_ids)


def crops_of_sources(manifest: Manifest) -> list[str]:
    """Where each row's source sample has its crops: the folder above a person's, which is written as a whole."""
    rows = zip(manifest.column("path"), manifest.column("face"), strict=True)
    return [path if face is None else path.rpartition("/")[0] for path, face in rows]


def outcomes_of_sources(manifest: Manifest, rows: Iterable[Outcome]) -> Iterator[Outcome]:
    """The outcomes of the source samples; `rows` are those of the manifest's rows."""
    numbered = zip(manifest.column("source_id"), manifest.column("face"), rows, strict=True)
    for source_id, group in groupby(numbered, key=lambda row: row[0]):
        members = list(group)
        yield members[0][2] if members[0][1] is None else with_persons(source_id, [row for _, _, row in members])
