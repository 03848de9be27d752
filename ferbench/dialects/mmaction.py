"""The `mmaction` dialect: annotation files of open-mmlab/mmaction2, for folders of frames or for videos.

    rawframes   line := directory SP total_frames SP label NL     RawframeDataset
    videos      line := path SP label NL                          VideoDataset

    dfew_train_list_rawframes.txt, dfew_val_list_rawframes.txt, dfew_test_list_rawframes.txt
    fold_1/dfew_train_list_rawframes.txt, …                       cross-validation

Sources: mmaction/datasets/{rawframe_dataset,video_dataset}.py, `load_data_list`: the fields are split at white space, there
is no header and no quoting, and the path is joined to `data_prefix`. tools/data/build_file_list.py names the files
`{dataset}_{subset}_list_{format}.txt`, subset `train`, `val` or `test`.

Paths are relative to the manifest's root, which is what goes into `data_prefix=dict(img=ROOT)` (`video=ROOT` for videos);
`--prefix` writes something before them. RawframeDataset looks for `img_00001.jpg` unless it is told otherwise; for folders
that `ferbench align` made say `filename_tmpl='{:05}.jpg'`, and leave `start_index=1`. Labels are 0-based, in the dataset's
official order unless `--labels` gives another.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from ferbench.dialects.lists import (
    card_name,
    manifest_of_parts,
    needed_frames,
    official_labels,
    part_files,
    read_order,
    refuse_options,
    rows_of_parts,
    strip_prefix,
    whole_source,
    written_order,
    written_path,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.manifest import Manifest, Sample
from ferbench.textfiles import numbered_lines, whole_number

DIALECT = "mmaction"
VARIANTS = ("rawframes", "videos")
FILES = re.compile(r"(fold_\d+/)?[^/]+_(train|val|test)_list_(rawframes|videos)\.txt")
_MEDIA = {"rawframes": "frames", "videos": "video"}
_SUBSETS = {"train": "train", "validation": "val", "test": "test"}


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """One list per part, in `fold_k/` where the manifest has folds.

    ManifestError for a sample that is not what the variant holds, has no label or, among frames, no frame count.
    """
    variant = options.variant or VARIANTS[0]
    if variant == "videos":
        refuse_options(options, DIALECT, short_count="VideoDataset counts the frames itself")
    relative = dataclasses.replace(options, paths="relative")

    def line(sample: Sample, label: int) -> str:
        if sample.media != _MEDIA[variant]:
            other = "videos" if sample.media == "video" else "rawframes"
            advice = "mmaction2 reads no stills" if sample.media == "image" else f"use --variant {other}"
            raise ManifestError(f"sample {sample.sample_id!r}: {variant} lists hold no {sample.media}; {advice}")
        whole_source(sample, DIALECT)
        path = written_path(manifest, sample, relative, DIALECT, forbidden=" ")
        return (
            f"{path} {needed_frames(sample, options, DIALECT)} {label}" if variant == "rawframes" else f"{path} {label}"
        )

    order = written_order(manifest, options, variant, DIALECT)
    files: dict[str, Content] = {}
    for fold, part, lines in rows_of_parts(manifest, options, order, DIALECT, line):
        name = f"{card_name(manifest)}_{_SUBSETS[part]}_list_{variant}.txt"
        files[f"fold_{fold}/{name}" if fold else name] = "".join(f"{each}\n" for each in lines)
    return files


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One list, or a folder of them. A single file of any other name is the test part of a fixed split.

    Raises ManifestError with file and line for a line of another form (lists with offsets or several labels too),
    UsageError without class names.
    """
    variant = options.variant or VARIANTS[0]
    order = read_order(options, variant, DIALECT)
    names = re.compile(
        rf"(?:(?:.*/)?fold_(?P<fold>\d+)/|(?:.*/)?)(?P<dataset>[^/]+)_(?P<part>train|val|test)_list_{variant}\.txt"
    )
    columns: dict[str, list[object]] = {"path": [], "num_frames": [], "label": []}
    parts: list[tuple[int | None, str]] = []
    places: list[str] = []
    found = part_files(place, names, DIALECT)
    for path, fold, part in found:
        for number, line in numbered_lines(path):
            name, frames, label = _fields(line, f"{path}:{number}", variant)
            if not 0 <= label < len(order):
                raise ManifestError(f"{path}:{number}: label {label} is not in 0..{len(order) - 1}")
            for column, value in zip(columns, (name, frames, label), strict=True):
                columns[column].append(value)
            parts.append((fold, part))
            places.append(f"{path}:{number}")
    folder = place if place.is_dir() else place.parent
    relative, root = strip_prefix([str(path) for path in columns["path"]], options, folder=folder, places=places)
    named = names.fullmatch(found[0][0].name)
    return manifest_of_parts(
        {**columns, "path": relative}, parts, labels=official_labels(options, order), order=order, root=root,
        name=options.dataset or (named["dataset"] if named else place.stem), media=_MEDIA[variant], places=places,
        files=[(fold, part) for _, fold, part in found],
    )  # fmt: skip


def _fields(line: str, where: str, variant: str) -> tuple[str, int | None, int]:
    fields = line.split()
    wanted = ("directory", "total_frames", "label") if variant == "rawframes" else ("path", "label")
    if len(fields) != len(wanted):
        raise ManifestError(f"{where}: expected '{' '.join(wanted)}', got {len(fields)} fields: {line.strip()!r}")
    numbers = [whole_number(field) for field in fields[1:]]
    if None in numbers:
        raise ManifestError(f"{where}: {' and '.join(wanted[1:])} must be whole numbers, got {' '.join(fields[1:])!r}")
    if variant == "videos":
        return fields[0], None, numbers[0] or 0
    frames, label = numbers[0] or 0, numbers[1] or 0
    if not 1 <= frames < 2**31:
        raise ManifestError(f"{where}: {frames} frames; a clip has at least one")
    return fields[0], frames, label
