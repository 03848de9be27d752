"""Reading shards of tar files as a manifest, whoever wrote them; the grammar is in `webdataset`."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ferbench.dialects.lists import official_labels, read_order
from ferbench.dialects.options import ImportOptions
from ferbench.errors import FerbenchError, ManifestError
from ferbench.labels import LabelSet, canonical_name
from ferbench.manifest import Manifest, manifest_of
from ferbench.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from ferbench.textfiles import numbered_lines, whole_number

NOT_IN_JSON = frozenset({"path", "split", "fold", "status", "error", "start_frame", "end_frame", "label", "media"})
"""Columns that are not values of a sample's JSON: the shard or the members say them."""
_SHARD = re.compile(
    r"(?:fold_(?P<fold>[1-9]\d*)|(?P<part>train|val|valid|validation|test))(?:-(?P<number>\d+)|/(?P<of_clip>\d+))\.tar"
)
_PARTS = {"val": "validation", "valid": "validation"}
_ORDER = ("train", "validation", "test")
_MOST_BYTES = 1 << 24
"""Of a JSON or label; more is no label."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file and what its name says."""

    path: Path
    folder: str
    """Where its members lie after extraction: `train`, `fold_1`."""
    fold: int | None
    part: str | None
    number: int
    in_folder: bool


@dataclass(slots=True)
class Found:
    """One sample of a shard."""

    shard: Shard
    key: str
    media: list[str] = field(default_factory=list)
    """Members that are pictures or videos."""
    label: int | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.shard.path}: sample {self.key!r}"


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """A folder of shards, or one of them.

    Class names are those of `--labels`, of classnames.txt, or of the dataset; where the JSON has the class name too, both
    must agree. Raises ManifestError for a shard that is missing or broken, for frames, and for a sample without
    label or media.
    """
    shards = _shards(place)
    folder = place if place.is_dir() else place.parent.parent if shards[0].in_folder else place.parent
    samples = [sample for shard in shards for sample in _samples(shard)]
    if not samples:
        raise ManifestError(f"{place}: the shards hold no samples")
    order = _order(folder, samples, options)
    labels = official_labels(options, order)
    missing = order.missing_from(labels)
    if missing:
        raise ManifestError(
            f"{place}: the class {missing[0]!r} is none of {options.dataset}: {', '.join(labels.names)}"
        )
    mapping = order.mapping_to(labels)
    root = (options.root or folder).absolute()
    columns: dict[str, list[Any]] = {
        "sample_id": _ids(samples),
        "path": [f"{sample.shard.folder}/{_medium(sample)}" for sample in samples],
        "media": ["video" if _suffix(sample.media[0]) in VIDEO_SUFFIXES else "image" for sample in samples],
        "label": [mapping[_label(sample, order)] for sample in samples],
        "fold": [sample.shard.fold for sample in samples],
        "split": [sample.shard.part for sample in samples],
    }
    for name in dict.fromkeys(name for sample in samples for name in sample.record):
        if name not in NOT_IN_JSON and name != "sample_id":
            columns[name] = [sample.record.get(name) for sample in samples]
    try:
        return manifest_of(columns, labels=labels, name=options.dataset or folder.absolute().name, root=root)
    except FerbenchError as error:
        raise ManifestError(f"{place}: {error.message}", reason=error.reason) from error
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise ManifestError(f"{place}: the JSON of its samples does not go together ({error})") from error


# --- shards -----------------------------------------------------------------------------------------------------------


def _shards(place: Path) -> list[Shard]:
    """In the order of parts and numbers; ManifestError for one that is missing."""
    if place.is_file():
        names = (place.name, f"{place.absolute().parent.name}/{place.name}")
        found = [shard for name in names if (shard := _shard(place, name))]
        if not found:
            raise ManifestError(f"{place}: its name does not say its split; shards are train-000000.tar or train/0.tar")
        return found[:1]
    paths = [*place.glob("*.tar"), *place.glob("*/*.tar")]
    named = [_shard(path, path.relative_to(place).as_posix()) for path in paths]
    shards = [shard for shard in named if shard is not None]
    if not shards:
        raise ManifestError(f"{place}: no shard like train-000000.tar or train/0.tar is here")
    if len({(shard.fold is None, shard.in_folder) for shard in shards}) > 1:
        raise ManifestError(f"{place}: shards of several exports lie together; name one folder, or clear up")
    shards.sort(key=lambda shard: (shard.fold or 0, _ORDER.index(shard.part or "train"), shard.number))
    for group in dict.fromkeys(shard.folder for shard in shards):
        _complete(place, group, [shard.number for shard in shards if shard.folder == group])
    return shards


def _shard(path: Path, name: str) -> Shard | None:
    match = _SHARD.fullmatch(name)
    if match is None:
        return None
    part, fold = match["part"], match["fold"]
    folder = f"fold_{fold}" if fold else part
    return Shard(
        path, folder, int(fold) if fold else None, _PARTS.get(part, part) if part else None,
        int(match["number"] or match["of_clip"]), match["number"] is None,
    )  # fmt: skip


def _complete(place: Path, group: str, numbers: list[int]) -> None:
    """ManifestError where shards are missing: nothing else would say so."""
    expected = len(numbers)
    count = place / group / "nshards.txt"
    if count.is_file():
        expected = next((whole_number(line) or 0 for _, line in numbered_lines(count)), 0)
    # Some writers count from 1.
    if expected != len(numbers) or numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
        raise ManifestError(
            f"{place}: shards of {group} are missing or too many; there are {numbers[:8]} of {expected}"
        )


def _samples(shard: Shard) -> Iterator[Found]:
    """The samples of a shard: members in a row that share their name up to the first dot."""
    current: Found | None = None
    seen: set[str] = set()
    try:
        with tarfile.open(shard.path, "r|") as tar:
            for member in tar:
                directory, _, name = member.name.rpartition("/")
                stem, dot, extension = name.partition(".")
                if not member.isreg() or not stem or not dot:
                    continue
                key = f"{directory}/{stem}" if directory else stem
                if current is None or key != current.key:
                    if current is not None:
                        yield current
                    if key in seen:
                        raise ManifestError(f"{shard.path}: the members of {key!r} do not lie together")
                    seen.add(key)
                    current = Found(shard, key)
                _take(current, tar, member, extension.lower())
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ManifestError(f"{shard.path}: not a readable tar file ({error})") from error
    if current is not None:
        yield current


def _take(sample: Found, tar: tarfile.TarFile, member: tarfile.TarInfo, extension: str) -> None:
    if extension not in ("cls", "json"):
        if _suffix(member.name) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            sample.media.append(member.name)
        return
    if member.size > _MOST_BYTES:
        raise ManifestError(f"{sample.where}: its {extension} has {member.size:,} bytes")
    file = tar.extractfile(member)
    data = file.read() if file else b""
    if extension == "cls":
        text = data.decode("latin-1").strip()
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ManifestError(f"{sample.where}: its label must be a whole number from 0, got {text[:20]!r}")
        sample.label = int(text)
        return
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{sample.where}: its JSON cannot be read ({error})") from error
    if not isinstance(record, dict):
        raise ManifestError(f"{sample.where}: its JSON must be an object")
    sample.record = record


# --- samples ----------------------------------------------------------------------------------------------------------


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _medium(sample: Found) -> str:
    """The one picture or video of a sample."""
    if not sample.media:
        raise ManifestError(f"{sample.where}: has neither a picture nor a video")
    numbered = os.path.basename(sample.media[0]).count(".") > 1  # `key.00001.jpg`: a clip, of one frame even
    if len(sample.media) > 1 or numbered:
        raise ManifestError(
            f"{sample.where}: has {len(sample.media)} pictures; frames are extracted side by side with those of other "
            "clips, and a manifest names a folder per clip: put them into folders and index those"
        )
    return sample.media[0]


def _ids(samples: Sequence[Found]) -> list[str]:
    """The ids in the JSON; where a sample has none, its key, with the part before it where keys begin anew in each."""
    keys = [sample.key for sample in samples]
    prefixed = len(set(keys)) < len(keys)
    return [
        given if isinstance(given := sample.record.get("sample_id"), str)
        else f"{sample.shard.folder}/{sample.key}" if prefixed else sample.key
        for sample in samples
    ]  # fmt: skip


def _order(folder: Path, samples: Sequence[Found], options: ImportOptions) -> LabelSet:
    """The classes in the order of the integers. Of a class that the JSON names in another spelling, that one."""
    listed = folder / "classnames.txt"
    if options.labels or not listed.is_file():
        return read_order(options, "webdataset")
    names = [line.strip() for _, line in numbered_lines(listed)]
    spelled = {canonical_name(name): name for sample in samples if isinstance(name := sample.record.get("label"), str)}
    try:
        return LabelSet.of(spelled.get(canonical_name(name), name) for name in names)
    except FerbenchError as error:
        raise ManifestError(f"{listed}: {error.message}") from error


def _label(sample: Found, order: LabelSet) -> int:
    if sample.label is None:
        raise ManifestError(f"{sample.where}: has no label (.cls)")
    if sample.label >= len(order):
        raise ManifestError(f"{sample.where}: label {sample.label} is not in 0..{len(order) - 1}")
    name = sample.record.get("label")
    if isinstance(name, str) and canonical_name(name) != canonical_name(order.names[sample.label]):
        raise ManifestError(
            f"{sample.where}: its label {sample.label} is {order.names[sample.label]!r} here, and its JSON says {name!r}"
        )
    return sample.label
