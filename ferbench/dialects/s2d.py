"""The `s2d` dialect: CSV with a header, names relative to `--data_path` (S2D; S4D reads the same).

    video_name,label          DFEW/EmoLabel_DataSplit/{train,test}(single-labeled)/{train,test}_set_1.csv
    00001,1
    path,id                   FERV39K/Annotation/{train,test}.csv
    Interview/Happy/0118,3
    video_name,labels         MAFW/anno/single/no_caption/set_1/{train,test}.csv
    00025,0

The names are those below S2D's `data/`. Labels are 0-based in S2D's own class orders, also under DFEW's header, which the
official 1-based files have too. A name is the last component of a path (FERV39k: the last three) with `--prefix` before it;
of a dataset that S2D does not ship it is the path relative to the root, in `NAME/set_1/{train,test}.csv` or
`NAME/{train,test}.csv`. The folder that the names are relative to is what S2D wants as `--data_path`.

pandas reads the files (datasets/kinetics.py), the first line as the header and the first column as text; a name that it
takes for a missing value is refused. Frames are `*.jpg`, of MAFW `*.png` (datasets/datasets.py). There is no validation
list: the code selects on the test list.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from ferbench.dialects.frames import frames_on_disk, frames_sample
from ferbench.dialects.lists import (
    ShortNames,
    card_name,
    check_characters,
    list_files,
    manifest_of_parts,
    official_labels,
    read_order,
    refuse_options,
    rows_of_parts,
    strip_prefix,
    written_order,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.dialects.pandas_rules import taken_for_another_value
from ferbench.errors import DataError, ManifestError
from ferbench.manifest import Manifest, Sample
from ferbench.textfiles import csv_rows

DIALECT = "s2d"
VARIANTS = ("s2d",)
_LAYOUTS = {
    "dfew": ("DFEW/EmoLabel_DataSplit/{part}(single-labeled)/{part}_set_{fold}.csv", "video_name,label", 1),
    "ferv39k": ("FERV39K/Annotation/{part}.csv", "path,id", 3),
    "mafw": ("MAFW/anno/single/no_caption/set_{fold}/{part}.csv", "video_name,labels", 1),
}
"""Dataset -> file name, header, components of a name."""
HEADERS = [["video_name", "label"], ["path", "id"], ["video_name", "labels"]]
SUFFIXES = {"mafw": ".png"}
_OWN = {
    "dfew": r"(?:.*/)?(?P<part>train|test)(?:\(single-labeled\)/(?P=part))?_set_(?P<fold>\d+)\.csv",
    "ferv39k": r"(?:.*/)?FERV39K/Annotation/(?P<part>train|test)\.csv",
    "mafw": r"(?:.*/)?no_caption/set_(?P<fold>\d+)/(?P<part>train|test)\.csv",
}
_ANY = (
    r"(?P<dataset>(?:(?!(?:train|test)\(single)[^/]*/)*)"
    r"(?:(?:train|test)\(single-labeled\)/)?(?P<part>train|test)_set_(?P<fold>\d+)\.csv",
    r"(?P<dataset>(?:(?!set_\d+/)[^/]*/)*)(?:set_(?P<fold>\d+)/)?(?P<part>train|test)\.csv",
)
FILES = re.compile(
    r"DFEW/EmoLabel_DataSplit/(train|test)\(single-labeled\)/(train|test)_set_\d+\.csv"
    r"|MAFW/anno/single/no_caption/set_\d+/(train|test)\.csv|FERV39K/Annotation/(train|test)\.csv"
    r"|[\w+.-]+/(set_\d+/)?(train|test)\.csv"
)


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """One CSV for every part, with its dataset's name and header."""
    refuse_options(options, DIALECT, short_count="its rows have no frame count")
    dataset = card_name(manifest)
    generic = f"{dataset.upper()}/{'set_{fold}/' if manifest.has_values('fold') else ''}{{part}}.csv"
    pattern, header, depth = _LAYOUTS.get(dataset, (generic, "video_name,label", 0))
    names = ShortNames(depth, DIALECT) if depth else None
    prefix = f"{options.prefix.rstrip('/')}/" if options.prefix else ""

    def row(sample: Sample, label: int) -> tuple[str, int]:
        frames_sample(sample, DIALECT)
        name = prefix + (names.of(sample) if names else sample.path)
        check_characters(sample, name, DIALECT, forbidden="")
        value = taken_for_another_value(name, numbers=False)
        if value:
            raise ManifestError(
                f"sample {sample.sample_id!r}: pandas reads the name {name!r} as {value}; write a --prefix"
            )
        frames_on_disk(manifest, sample, DIALECT, suffix=SUFFIXES.get(dataset, ".jpg"), counted=False)
        return name, label

    order = written_order(manifest, options, options.variant, DIALECT)
    files: dict[str, Content] = {}
    for fold, part, rows in rows_of_parts(manifest, options, order, DIALECT, row):
        if part == "validation":
            raise ManifestError(
                f"manifest {manifest.name!r} has a validation part, and S2D has no list for it: its code selects on the "
                "test list; export without that part"
            )
        if ("{fold}" in pattern) != (fold is not None):
            kind = "a fixed split" if fold is None else "folds"
            raise ManifestError(f"manifest {manifest.name!r} has {kind}, and S2D's files of {dataset} are {pattern}")
        text = io.StringIO()
        text.write(f"{header}\n")
        csv.writer(text, lineterminator="\n").writerows(rows)
        files[pattern.format(fold=fold, part=part)] = text.getvalue().encode()
    return files


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One CSV, one folder of them, or S2D's `data/` with `--dataset`.

    Raises ManifestError with file and line for a row that is not `name,label` and for a missing header, of which pandas
    would make one from the first row; UsageError without class names.
    """
    order = read_order(options, options.variant, DIALECT)
    own = [_OWN[options.dataset]] if options.dataset in _OWN else []
    found = list_files(place, [re.compile(pattern) for pattern in (*own, *_ANY)], DIALECT)
    names: list[str] = []
    labels: list[int] = []
    parts: list[tuple[int | None, str]] = []
    places: list[str] = []
    for path, fold, part in found:
        for where, name, label in _rows(path, len(order)):
            names.append(name)
            labels.append(label)
            places.append(where)
            parts.append((fold, part))
    folder = place if place.is_dir() else place.parent
    relative, root = strip_prefix(names, options, folder=folder, places=places)
    return manifest_of_parts(
        {"path": relative, "label": labels}, parts, labels=official_labels(options, order), order=order, root=root,
        name=options.dataset or place.stem, media="frames", places=places, files=[(fold, part) for _, fold, part in found],
    )  # fmt: skip


def _rows(path: Path, classes: int) -> list[tuple[str, str, int]]:
    """(`file:line`, name, label) of every row after the header."""
    try:
        rows = list(csv_rows(path))
    except DataError as error:
        raise ManifestError(error.message, reason=error.reason) from error
    if rows and rows[0][1] not in HEADERS:
        raise ManifestError(
            f"{path}:{rows[0][0]}: the first line is the header, {' or '.join(map(','.join, HEADERS))}; "
            f"found {','.join(rows[0][1])!r}"
        )
    read = []
    for number, fields in rows[1:]:
        where = f"{path}:{number}"
        if len(fields) != 2:
            raise ManifestError(f"{where}: expected 'name,label', got {len(fields)} fields: {','.join(fields)!r}")
        if not re.fullmatch(r"[0-9]{1,9}", fields[1]) or int(fields[1]) >= classes:
            hint = (
                "; the official DFEW files are 1-based and the dialect dfew-official"
                if fields[1] == str(classes)
                else ""
            )
            raise ManifestError(f"{where}: label {fields[1]!r} is not in 0..{classes - 1}{hint}")
        read.append((where, fields[0], int(fields[1])))
    return read
