"""Which samples are scored, each once, with the name of the fold it is tested in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from ferbench import remote
from ferbench.errors import MediaError, ProtocolError
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.manifest import Manifest, Sample
from ferbench.media import IMAGE_SUFFIXES, frame_files
from ferbench.media.packs import find_place
from ferbench.protocol import scored_in
from ferbench.storage import sha256_of_value


@dataclass(frozen=True, slots=True)
class Selected:
    """The samples to score."""

    samples: tuple[Sample, ...]
    folds: tuple[str, ...]
    """Name of each sample's fold."""
    rows: tuple[int, ...]
    """Of the manifest."""
    part: tuple[str | None, ...]
    """For every row of the manifest the fold it is tested in, None for rows outside the parts asked for; no limit."""
    unlabelled: int
    """Samples of the parts asked for that have no label and cannot be scored."""


def select_samples(manifest: Manifest, options: EvaluateOptions) -> Selected:
    """The labelled samples of the test parts asked for, in the manifest's order.

    Folds, else a fixed split, else the whole manifest under the fold name `all`. Raises UsageError for a fold or a split
    that the manifest does not have, ProtocolError when there is nothing to score.
    """
    names = scored_in(manifest, split=options.split, fold=options.fold)
    tested = [row for row, name in enumerate(names) if name is not None]
    tested = tested[: options.limit]
    part = manifest.replace(table=manifest.table.take(pa.array(tested, pa.int64())))
    labelled = [(row, sample) for row, sample in zip(tested, part.samples(), strict=True) if sample.label is not None]
    if not labelled:
        raise ProtocolError(f"manifest {manifest.name!r} has no labelled samples to score")
    rows, samples = zip(*labelled, strict=True)
    return Selected(samples, tuple(str(names[row]) for row in rows), rows, tuple(names), len(tested) - len(labelled))


def media_of(manifest: Manifest, samples: Sequence[Sample]) -> dict[str, str]:
    """By sample_id, a hash of the status and the sizes of the files, which a changed root or a replaced file changes."""
    return {sample.sample_id: sha256_of_value(_size_of(manifest, sample))[:16] for sample in samples}


def _is_frame(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _size_of(manifest: Manifest, sample: Sample) -> list[object]:
    path = manifest.path_of(sample)
    place = find_place(path)
    path = place.pack if place else path
    if place is None and remote.spot_of(path) is not None:
        files = remote.files_in(path) if sample.media == "frames" else {"": remote.look(path)}
        known = [facts.size for name, facts in files.items() if facts is not None and (not name or _is_frame(name))]
        return [sample.sample_id, sample.status, len(known), sum(known)]
    try:
        sizes = [
            file.stat().st_size for file in (frame_files(path) if sample.media == "frames" and not place else [path])
        ]
    except (OSError, MediaError):
        sizes = []
    return [sample.sample_id, sample.status, len(sizes), sum(sizes)]
