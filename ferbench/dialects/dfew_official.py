"""The `dfew-official` dialect: DFEW's own fold lists, CSV with the header `video_name,label`, 1-based.

    video_name,label
    2,1

Variants
    release    EmoLabel_DataSplit/{train,test}(single-labeled)/set_1.csv, clip numbers as numbers
    padded     the same with five digits (`00002,1`); both forms are met in copies
    baseline   label/single_{train,test}set_1.csv, as the authors' code opens them

A clip's name is its number; every loader writes it with five digits to find the folder of frames (DFER-CLIP
annotation/preprocess_annotation.py, MAE-DFER preprocess/dfew.py, DFEW libs/DFEW_Dataset.py). So a sample's path must end in
such a folder, or in `00002.mp4`, and all in one folder. There is no validation list.

Read are copies under any of these names, and under those of S2D, which keeps the header and is 0-based: the numbers say
which they are, and the manifest's notes say so. An id becomes the path `00002`, or `00002.mp4` where the root holds that.
"""

from __future__ import annotations

import re
from pathlib import Path

from ferbench.dialects.lists import (
    ShortNames,
    list_files,
    manifest_of_parts,
    official_labels,
    read_order,
    refuse_options,
    rows_of_parts,
    whole_source,
    written_order,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import DataError, ManifestError
from ferbench.manifest import Manifest, Sample
from ferbench.textfiles import csv_rows, detect_base, whole_number

DIALECT = "dfew-official"
_NAMES = {
    "release": "EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv",
    "padded": "EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv",
    "baseline": "label/single_{part}set_{fold}.csv",
}
VARIANTS = tuple(_NAMES)
FILES = re.compile(
    r"EmoLabel_DataSplit/(train|test)\(single-labeled\)/set_\d+\.csv|label/single_(train|test)set_\d+\.csv"
)
HEADER = ["video_name", "label"]
BASE = 1
DIGITS = 5
_PATTERNS = [
    re.compile(r"(?:.*/)?(?P<part>train|test)(?:[ _]?\(single[-_ ]labeled\))?/(?:(?P=part)_)?set_(?P<fold>\d+)\.csv"),
    re.compile(r"(?:.*/)?single_(?P<part>train|test)set_(?P<fold>\d+)\.csv"),
    re.compile(r"(?:.*/)?(?P<part>train|test)_set_(?P<fold>\d+)\.csv"),
]


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """A train and a test list for every fold."""
    refuse_options(options, DIALECT, prefix="its names are clip numbers", short_count="its rows have no frame count")
    if not manifest.has_values("fold"):
        raise ManifestError(f"manifest {manifest.name!r} has no folds, and the {DIALECT} dialect is files of folds")
    variant = options.variant or VARIANTS[0]
    names = ShortNames(1, DIALECT)

    def row(sample: Sample, label: int) -> str:
        whole_source(sample, DIALECT)
        name = names.of(sample)
        clip = name.removesuffix(".mp4") if sample.media == "video" else name
        if sample.media == "image" or not re.fullmatch(r"[0-9]+", clip) or str(int(clip)).zfill(DIGITS) != clip:
            raise ManifestError(
                f"sample {sample.sample_id!r}: the {DIALECT} dialect names clips by a number, which loaders write with "
                f"{DIGITS} digits to find the folder; {name!r} is not such a name"
            )
        return f"{clip if variant == 'padded' else int(clip)},{label + BASE}\n"

    order = written_order(manifest, options, options.variant, DIALECT)
    files: dict[str, Content] = {}
    for fold, part, rows in rows_of_parts(manifest, options, order, DIALECT, row):
        if part == "validation":
            raise ManifestError(
                f"manifest {manifest.name!r} has a validation part, and DFEW's files have none; export without that part"
            )
        files[_NAMES[variant].format(part=part, fold=fold)] = (",".join(HEADER) + "\n" + "".join(rows)).encode()
    return files


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One list, or a folder of them.

    Raises ManifestError with file and line for a row that is not `number,label`, UsageError without class names.
    """
    refuse_options(options, DIALECT, prefix="its names are clip numbers")
    order = read_order(options, options.variant, DIALECT)
    found = list_files(place, _PATTERNS, DIALECT)
    rows = [(fold, part, *row) for path, fold, part in found for row in _rows(path)]
    base, notes = detect_base([label for *_, label in rows], order, expected=BASE, where=str(place))
    for _, _, where, _, label in rows:
        if not base <= label < base + len(order):
            raise ManifestError(f"{where}: label {label} is not in {base}..{base + len(order) - 1}")
    root = (options.root or (place if place.is_dir() else place.parent)).absolute()
    suffix = ".mp4" if rows and (root / f"{rows[0][3]}.mp4").is_file() else ""
    return manifest_of_parts(
        {"path": [f"{clip}{suffix}" for *_, clip, _ in rows], "label": [label - base for *_, label in rows]},
        [(fold, part) for fold, part, *_ in rows], labels=official_labels(options, order), order=order, root=root,
        name=options.dataset or place.stem, media="video" if suffix else "frames",
        places=[where for _, _, where, _, _ in rows], files=[(fold, part) for _, fold, part in found],
        provenance={"label_base": base, "notes": [note.message for note in notes]},
    )  # fmt: skip


def _rows(path: Path) -> list[tuple[str, str, int]]:
    """(`file:line`, clip with five digits, label as it stands) of every row after the header."""
    try:
        rows = list(csv_rows(path))
    except DataError as error:
        raise ManifestError(error.message, reason=error.reason) from error
    if rows and [field.strip() for field in rows[0][1]] != HEADER:
        raise ManifestError(
            f"{path}:{rows[0][0]}: the first line is the header {','.join(HEADER)}; found {','.join(rows[0][1])!r}"
        )
    read = []
    for number, fields in rows[1:]:
        where = f"{path}:{number}"
        if len(fields) != 2:
            raise ManifestError(f"{where}: expected 'video_name,label', got {len(fields)} fields: {','.join(fields)!r}")
        clip, label = fields[0].strip(), whole_number(fields[1])
        if not re.fullmatch(r"[0-9]{1,18}", clip):
            raise ManifestError(f"{where}: video_name must be a clip number, got {clip!r}")
        if label is None:
            raise ManifestError(f"{where}: label must be a whole number, got {fields[1]!r}")
        read.append((where, str(int(clip)).zfill(DIGITS), label))
    return read
