"""The `webdataset` dialect: shards of tar files, and the folder that LAION-AI/CLIP_benchmark reads.

    train-000000.tar, train-000001.tar, …   up to `--shard-size` samples each, sorted by sample id; validation and test too
    fold_1-000000.tar, …                    cross-validation: the test part of every fold, so that each sample is here once
    classnames.txt                          line k is the class that `.cls` calls k

    <key>.jpg                               in a shard: the picture or video, or
    <key>.00001.jpg, <key>.00002.jpg, …     the frames of a clip in their order, whatever their files are called
    <key>.cls                               the label as a whole number from 0
    <key>.json                              sample_id, the class name, and every other value of the sample

webdataset cuts a name at its first dot (tariterators.py, `base_plus_ext`), so the key is the sample id with dots and
slashes written as `%2E` and `%2F`. Equal samples give equal bytes: owner, mode and time of every member are the same, and
the row order of the manifest does not matter.

Variants:

    plain           as above
    clip-benchmark  train/0.tar, …, train/nshards.txt, test/…, classnames.txt, zeroshot_classification_templates.txt:
                    clip_benchmark/datasets/builder.py `build_wds_dataset`, webdataset_builder.py `convert_dataset`. Stills
                    only; keys are s0000000, …; class names are the words that its prompts for FER2013 use

Reading gives paths as they are after every split's shards are extracted into a folder of the split's name below `--root`
(`tar -xf train-000000.tar -C train`), the folder of the shards unless it is named. Frames of clips cannot be read back:
extracted they lie all in one folder, and a manifest names a folder per clip.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ferbench.dialects.lists import (
    label_numbers,
    needed_label,
    refuse_options,
    usable_rows,
    whole_source,
    written_order,
)
from ferbench.dialects.media_folder import LONGEST_NAME, groups_of, source_of
from ferbench.dialects.options import Content, ExportOptions
from ferbench.dialects.webdataset_reading import NOT_IN_JSON, read_files
from ferbench.errors import ManifestError, MediaError
from ferbench.labels import LabelSet, canonical_name
from ferbench.manifest import Manifest, Sample
from ferbench.media import frame_files

__all__ = ["FILES", "VARIANTS", "format_files", "read_files"]

DIALECT = "webdataset"
VARIANTS = ("plain", "clip-benchmark")
_PART = r"(train|validation|test|fold_\d+)"
FILES = re.compile(
    rf"{_PART}-\d{{6}}\.tar|{_PART}/(\d+\.tar|nshards\.txt)|classnames\.txt|zeroshot_classification_templates\.txt"
)
CLIP_SUFFIXES = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}
"""Suffix -> what CLIP_benchmark calls it, which is all that it decodes."""
PROMPT_WORDS = {
    "anger": "angry", "disgust": "disgusted", "fear": "fearful", "happy": "happy", "neutral": "neutral", "sad": "sad",
    "surprise": "surprised", "contempt": "contemptuous", "anxiety": "anxious",
}  # fmt: skip
"""Class -> the adjective in a prompt, as CLIP_benchmark has them for FER2013 (en_classnames.json); two more likewise."""
PROMPTS = (
    "a photo of a {c} looking face.", "a photo of a face showing the emotion: {c}.", "a photo of a face looking {c}.",
    "a face that looks {c}.", "they look {c}.", "look at how {c} they are.",
)  # fmt: skip
"""CLIP's own prompts for FER2013 (openai/CLIP data/prompts.md): other ones give other numbers."""
_UNSAFE = re.compile(r'[%./\\:*?"<>|\x00-\x1f\x7f]')


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """The shards, each written member by member when its turn comes, and what goes with them.

    ManifestError for a sample without a label, a frame range, an id that is too long for a file name, and for the variant
    clip-benchmark for whatever is no still that it decodes.
    """
    refuse_options(options, DIALECT, prefix="it holds the media themselves", short_count="it writes no counts")
    clip = options.variant == "clip-benchmark"
    order = written_order(manifest, options, options.variant or VARIANTS[0], DIALECT)
    rows = usable_rows(manifest, options)
    rows = rows.replace(table=rows.table.sort_by("sample_id"))
    files: dict[str, Content] = {}
    for group, part in groups_of(rows):
        keys = []
        for number, sample in enumerate(part.samples()):
            _check(sample, clip)
            source_of(part, sample)
            keys.append(f"s{number:07d}" if clip else key_of(sample.sample_id))
        shards = range(0, len(part), options.shard_size)
        for shard, start in enumerate(shards):
            some = part.replace(table=part.table.slice(start, options.shard_size))
            name = f"{group}/{shard}.tar" if clip else f"{group}-{shard:06d}.tar"
            files[name] = _shard_writer(some, keys[start : start + options.shard_size], order, clip)
        if clip:
            files[f"{group}/nshards.txt"] = f"{len(shards)}\n"
    names = [PROMPT_WORDS.get(canonical_name(name), name) for name in order.names] if clip else list(order.names)
    broken = next((name for name in names if len(name.splitlines()) != 1 or name != name.strip()), None)
    if broken is not None:
        raise ManifestError(f"class {broken!r} cannot be a line of classnames.txt; give other names with --labels")
    files["classnames.txt"] = "".join(f"{name}\n" for name in names)
    if clip:
        files["zeroshot_classification_templates.txt"] = "".join(f"{prompt}\n" for prompt in PROMPTS)
    return files


def key_of(sample_id: str) -> str:
    """The sample id as a key: what webdataset or a file system would stumble over is written as `%2E`."""
    key = _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", sample_id)
    if not key or len(key.encode()) > LONGEST_NAME - 16:
        raise ManifestError(
            f"sample {sample_id[:80]!r}: the id is empty or too long to be the name of a file in a shard"
        )
    return key


def _check(sample: Sample, clip: bool) -> None:
    needed_label(sample, DIALECT)
    whole_source(sample, DIALECT)
    suffix = os.path.splitext(sample.path)[1].lower()
    if clip and (sample.media != "image" or suffix not in CLIP_SUFFIXES):
        what = sample.media if sample.media != "image" else suffix
        raise ManifestError(
            f"sample {sample.sample_id!r}: CLIP_benchmark decodes {', '.join(CLIP_SUFFIXES)}, not {what!r}"
        )


def _shard_writer(part: Manifest, keys: list[str], order: LabelSet, clip: bool) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        labels = label_numbers(part, order)
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for sample, key, label, record in zip(part.samples(), keys, labels, _records(part, order), strict=True):
                for extension, source in _media_of(sample, part.path_of(sample)):
                    name = CLIP_SUFFIXES[f".{extension}"] if clip else extension
                    _add_file(tar, f"{key}.{name}", source)
                _add_bytes(tar, f"{key}.cls", str(label).encode())
                _add_bytes(tar, f"{key}.json", record)

    return write


def _media_of(sample: Sample, source: Path) -> Iterator[tuple[str, Path]]:
    """(extension without its dot, file) of a sample's media."""
    if sample.media != "frames":
        yield os.path.splitext(sample.path)[1].lower()[1:], source
        return
    try:
        frames = frame_files(source)
    except MediaError as error:
        raise ManifestError(f"sample {sample.sample_id!r}: {error.message}", reason=error.reason) from error
    if not frames:
        raise ManifestError(f"sample {sample.sample_id!r}: no frames in {source}")
    for number, frame in enumerate(frames, start=1):
        yield f"{number:05d}{frame.suffix.lower()}", frame


def _records(manifest: Manifest, order: LabelSet) -> Iterator[bytes]:
    """The JSON of every row: its values but for those that the shard's name or the media say."""
    names = [name for name in manifest.table.column_names if name not in NOT_IN_JSON]
    labels = label_numbers(manifest, order)
    for values, label in zip(manifest.table.select(names).to_pylist(), labels, strict=True):
        record = {name: value for name, value in values.items() if value is not None}
        record["label"] = None if label is None else order.names[label]
        try:
            yield json.dumps(record, ensure_ascii=False, sort_keys=True).encode()
        except TypeError as error:
            raise ManifestError(f"sample {values['sample_id']!r}: JSON cannot hold its values ({error})") from error


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        tar.addfile(_member(name, os.fstat(file.fileno()).st_size), file)


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_member(name, len(data)), io.BytesIO(data))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # time, owner and group are 0
    member.size, member.mode = size, 0o644
    return member
