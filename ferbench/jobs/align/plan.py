"""What an align run has to do, given what its output folder holds. Decides; writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench import remote
from ferbench.detection import weights_sha256
from ferbench.errors import FaceError, ManifestError, MediaError, UsageError
from ferbench.jobs.align.boxes import Boxes
from ferbench.jobs.align.options import ALL, BOXES, PACKS, AlignOptions, RunOptions
from ferbench.jobs.align.outcome import Outcome
from ferbench.jobs.align.packing import packed_path, staged_place
from ferbench.jobs.align.paths import STATE_FOLDER, crops_path, is_of_a_run, on_disk
from ferbench.jobs.align.persons import rows_of
from ferbench.jobs.align.sample import AlignTask, sha256_of_source, size_of_source
from ferbench.jobs.align.store import AlignStore
from ferbench.manifest import Manifest
from ferbench.media.packs import find_place, frame_names, picture_bytes


@dataclass(frozen=True, slots=True)
class AlignPlan:
    """What a run would do, before it does it."""

    store: AlignStore
    source: Manifest
    """The samples that will have a row, in order."""
    own: Manifest
    """Those of them that this run answers for: all, or with `--shard` its part."""
    todo: tuple[AlignTask, ...]
    retried: int
    """How many of `todo` failed in an earlier run."""
    renamed: tuple[Outcome, ...]
    """Earlier outcomes whose source now has another id; their crops go."""
    crops: Mapping[str, str]
    """Sample id -> path of its crops, for every row of the source."""
    standing: Mapping[str, Outcome]
    """Earlier outcomes of `own` that need no second try."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--dry-run --json`."""
        return {
            **({"shard": str(self.store.share)} if self.store.share else {}),
            "samples": len(self.own),
            "media": media_counts(self.own),
            "to_do": len(self.todo),
            "to_retry": self.retried,
            "already_done": len(self.own) - len(self.todo),
            "recipe_id": self.store.recipe.id,
            "recipe": self.store.recipe.as_dict(),
        }


def media_counts(source: Manifest) -> dict[str, int]:
    """Samples by what they are: video, frames, image."""
    return dict(sorted(Counter(source.column("media")).items()))


def plan_align(
    source: Manifest, out: Path, options: AlignOptions, run: RunOptions, *, boxes: Boxes | None = None
) -> AlignPlan:
    """Plan a run. Raises UsageError when `out` holds something else, ManifestError when two samples' crops collide.

    With `boxes`, `source` is their manifest, and nothing is detected.
    """
    if options.keep == BOXES and (run.pack != "none" or boxes):
        raise UsageError("--keep boxes writes no crops: it goes neither with --pack nor with --from-boxes")
    if options.faces == ALL and (run.pack != "none" or options.keep == BOXES or boxes):
        raise UsageError("--faces all writes folders of crops: it goes neither with --pack nor with boxes")
    recipe = boxes.recipe_of(options) if boxes else options.recipe(weights_sha256())
    if options.keep == BOXES and remote.spot_of(out) and not remote.spot_of(source.root):
        raise UsageError("--keep boxes keeps the paths of the source: in a store it needs a source that is there too")
    remote.pull(out, is_of_a_run)
    store = AlignStore(out, recipe, keep=options.keep, share=run.share)
    finished = {} if run.overwrite else store.finished()
    if finished:
        remote.list_samples(source.root, source.column("path"))
    renamed = renamed_of(source, finished, out)
    crops = _crops_of(source, options, run)
    wanted, keep = _rows_kept(source, finished, run.limit)
    mine = keep & _own_places(len(source), run)
    own = source if mine.all() else source.where(pa.array(mine))
    tasks, standing, retried = [], {}, 0
    root = str(source.root)
    for number, sample in zip(np.flatnonzero(mine).tolist(), own.samples(), strict=True):
        earlier = finished.get(sample.sample_id)
        task = AlignTask(
            sample_id=sample.sample_id,
            place=_place_of(root, sample.path),
            source=sample.path,
            media=sample.media,
            start_frame=sample.start_frame,
            end_frame=sample.end_frame,
            crops=crops[sample.sample_id],
            error=sample.error if sample.status == "failed" and not source.recipe else None,
            rows=boxes.ranges.get(sample.sample_id) if boxes else None,
            found=boxes.outcomes[sample.sample_id] if boxes else None,
            attempt=earlier.attempt + 1 if earlier else 1,
        )
        if wanted[number] and not (earlier and _stands(earlier, task, out)):
            retried += earlier is not None and not earlier.succeeded
            tasks.append(task)
        elif earlier:
            standing[sample.sample_id] = earlier
    if options.keep != BOXES:
        _refuse_nested(crops.values())
    _refuse_inside_source(tasks, out)
    store.refuse_foreign(task.crops for task in tasks if task.crops)
    store.journal.close_readers()
    remote.forget_listings()
    kept = source if keep.all() else source.where(pa.array(keep))
    return AlignPlan(store, kept, own, tuple(tasks), retried, renamed, crops, standing)


def _rows_kept(
    source: Manifest, finished: Mapping[str, Outcome], limit: int | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) rows within the limit; (N,) rows that have a place in the tables: those, and what earlier runs did beyond."""
    wanted = np.arange(len(source)) < (len(source) if limit is None else limit)
    if wanted.all():
        return wanted, wanted
    beyond = np.array([sample_id in finished for sample_id in source.column("sample_id")], bool)
    return wanted, wanted | beyond


def _own_places(count: int, run: RunOptions) -> NDArray[np.bool_]:
    """(count,) rows that this run works on. Packed samples go by whole packs, which one process writes."""
    share = run.share
    if share is None:
        return np.ones(count, bool)
    places = np.arange(count)
    mine: NDArray[np.bool_] = share.takes(places if run.pack == "none" else places // run.shard_size)
    return mine


def _crops_of(source: Manifest, options: AlignOptions, run: RunOptions) -> dict[str, str]:
    """Sample id -> where its crops go, relative to the output folder."""
    rows = zip(source.column("sample_id"), source.column("media"), strict=True)
    if options.keep == BOXES:
        return {name: "" for name, _ in rows}
    if options.faces == ALL:  # a folder for an image too: its persons' crops go below it
        return {name: crops_path(name, "frames", options.format) for name, _ in rows}
    crops = {name: crops_path(name, media, options.format) for name, media in rows}
    if run.pack == "none":
        return crops
    return {
        name: packed_path(path, media, position, suffix=PACKS[run.pack], shard_size=run.shard_size)
        for position, ((name, path), media) in enumerate(zip(crops.items(), source.column("media"), strict=True))
    }


def renamed_of(source: Manifest, finished: Mapping[str, Outcome], out: Path) -> tuple[Outcome, ...]:
    """Earlier samples that are not in the source by id but are by what they were made of.

    An id changes when a file with the same stem comes beside it. UsageError for those that are not there at all.
    """
    known = set(source.column("sample_id"))
    strangers = [finished[sample_id] for sample_id in sorted(set(finished) - known)]
    if not strangers:
        return ()
    columns = (source.column(name) for name in ("path", "start_frame", "end_frame"))
    present = set(zip(*columns, strict=True))
    lost = [outcome.sample_id for outcome in strangers if outcome.origin not in present]
    if lost:
        raise UsageError(
            f"{out} holds faces of {len(lost)} samples that are not in this source, first: {lost[0]!r}; "
            "choose another output folder, or --overwrite to start anew"
        )
    return tuple(strangers)


def _place_of(root: str, path: str) -> str:
    """The absolute place of a manifest's path, as pathlib spells it."""
    is_plain = "//" not in path and "/." not in path and path[:1] != "." and path[-1:] != "/"
    return f"{root.rstrip('/')}/{path}" if is_plain else str(Path(root) / path)


def _stands(earlier: Outcome, task: AlignTask, out: Path) -> bool:
    """Whether an earlier outcome needs no second try: same source, unchanged since, and nothing to gain.

    Failures are tried again, except the one that the same bytes under the same recipe can only repeat: no face.
    """
    place = Path(task.place)
    if earlier.origin != (task.source, task.start_frame, task.end_frame) or earlier.crops != task.crops:
        return False
    if not earlier.succeeded:
        is_final = earlier.reason == FaceError.default_reason and earlier.sha256 is not None
        return is_final and remote.exists(place) and _same_bytes(earlier, task)
    written = [row for row in rows_of(earlier) if row.succeeded]
    found = [_found_crops(out, row, task.media) if task.crops else out / STATE_FOLDER for row in written]
    crops = found[0]  # those of several persons are of one age: they were renamed into place together
    if crops is None or None in found:
        return False
    changed, made = remote.modified(place), remote.modified(crops)
    if changed is None:
        return True  # the raw videos may be gone by now; the crops are good
    if size_of_source(place, task.media) != earlier.source_bytes:
        return False
    return (made is not None and changed <= made) or _same_bytes(earlier, task)


def _same_bytes(earlier: Outcome, task: AlignTask) -> bool:
    try:
        return sha256_of_source(Path(task.place), task.media) == earlier.sha256
    except MediaError:
        return False


def _found_crops(out: Path, row: Outcome, media: str) -> Path | None:
    """The file or folder whose age is that of the row's crops; None when they are not all there."""
    packed, staged = out / on_disk(row.crops), staged_place(out, row.crops)
    if remote.spot_of(out) is not None and on_disk(row.crops) != row.crops and not remote.exists(staged):
        return packed if remote.exists(packed) else None  # not fetched for this: what is in a store is whole
    place = None if remote.spot_of(out) else find_place(out / row.crops)
    if place is not None:
        try:
            whole = picture_bytes(place) if media == "image" else len(frame_names(place)) == row.num_crops
        except MediaError:
            whole = False
        if whole:
            return place.pack
    crops = staged if remote.exists(staged) else out / row.crops
    if not remote.exists(crops) or (media != "image" and len(remote.files_in(crops)) != row.num_crops):
        return None
    return crops


def _refuse_nested(crops: Iterable[str]) -> None:
    """ManifestError when one sample's crops would lie inside another's folder, which is replaced as a whole."""
    count = Counter(crops)
    for path, times in count.items():
        if times > 1:
            raise ManifestError(f"{times} samples would write the same crops, {path!r}; rename one")
    seen: set[str] = set()
    for path in count:
        folder = path.rpartition("/")[0]
        while folder and folder not in seen:
            if folder in count:
                raise ManifestError(f"sample ids {folder!r} and {path!r} cannot both have a folder; rename one")
            seen.add(folder)
            folder = folder.rpartition("/")[0]


def _refuse_inside_source(tasks: Iterable[AlignTask], out: Path) -> None:
    """UsageError when crops would land among the frames of a frame folder that is a source."""
    inside = {out.resolve(), *out.resolve().parents}
    for task in tasks:
        if task.media == "frames" and Path(task.place).resolve() in inside:
            raise UsageError(f"{out} lies inside the frame folder {task.place}, a source; choose another output folder")
