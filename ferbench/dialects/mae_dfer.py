"""The `mae-dfer` dialect: `folder label`, one sample a line, no frame count (MAE-DFER; SVFAP and HiCMAE read the same).

    line := folder SP label LF                  label is 0-based, in MAE-DFER's class order

    dfew/org/split01/{train,val,test}.csv       ferv39k/all_scenes/{train,test}.csv
    mafw/single/split01/{train,test}.csv        crema-d/split01/{train,test}.csv, ravdess/…, enterface/…

The names are those below `saved/data/`. pandas reads the files with a space as delimiter and no header (kinetics.py), so a
path with white space or a quote is refused, and one that pandas takes for a number or for a missing value. The frames are
`*.jpg`, of MAFW `*.png` (datasets.py), in the order of their names as text.

DFEW's val.csv is a copy of test.csv (preprocess/dfew.py): the best epoch is chosen on the test part. It is written so,
unless the manifest has a validation part, which then is val.csv. The other sets have no val.csv, their code reads test.csv
in its place (datasets.py), and a validation part of theirs is refused. A dataset that MAE-DFER does not know is written as
its general loader reads it, with a val.csv in each folder.
"""

from __future__ import annotations

import re
from pathlib import Path

from ferbench.dialects.frames import frames_on_disk, frames_sample
from ferbench.dialects.lists import (
    card_name,
    list_files,
    list_lines,
    manifest_of_parts,
    official_labels,
    read_order,
    refuse_options,
    rows_of_parts,
    strip_prefix,
    written_order,
    written_path,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.dialects.pandas_rules import taken_for_another_value
from ferbench.errors import ManifestError
from ferbench.manifest import Manifest, Sample

DIALECT = "mae-dfer"
VARIANTS = ("mae-dfer",)
FOLDERS = {
    "dfew": "dfew/org", "ferv39k": "ferv39k/all_scenes", "mafw": "mafw/single", "mafw-compound": "mafw/compound",
    "crema-d": "crema-d", "ravdess": "ravdess", "enterface": "enterface",
}  # fmt: skip
"""Dataset -> its folder below `saved/data`."""
NO_VALIDATION = ("ferv39k", "mafw", "mafw-compound", "crema-d", "ravdess", "enterface")
"""Datasets whose code reads test.csv where it selects."""
SUFFIXES = {"mafw": ".png", "mafw-compound": ".png"}
_NAMES = {"train": "train", "validation": "val", "test": "test"}
_FILE = r"(?:split(?P<fold>\d+)/)?(?P<part>train|val|test)\.csv"
FILES = re.compile(
    rf"({'|'.join(sorted(map(re.escape, FOLDERS.values())))}|[\w+.-]+)/(split\d+/)?(train|val|test)\.csv"
)


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """The three lists of every fold, or those of a fixed split, below the dataset's folder of `saved/data`."""
    refuse_options(options, DIALECT, short_count="its lines have no frame count")
    dataset = card_name(manifest)

    def line(sample: Sample, label: int) -> str:
        frames_sample(sample, DIALECT)
        path = written_path(manifest, sample, options, DIALECT, forbidden=' "')
        value = taken_for_another_value(path)
        if value:
            raise ManifestError(
                f"sample {sample.sample_id!r}: pandas reads the path {path!r} as {value}; write --paths absolute, or "
                "a --prefix"
            )
        frames_on_disk(manifest, sample, DIALECT, suffix=SUFFIXES.get(dataset, ".jpg"), counted=False)
        return f"{path} {label}\n"

    order = written_order(manifest, options, options.variant, DIALECT)
    files: dict[str, Content] = {}
    for fold, part, lines in rows_of_parts(manifest, options, order, DIALECT, line):
        if part == "validation" and dataset in NO_VALIDATION:
            raise ManifestError(
                f"manifest {manifest.name!r} has a validation part, and MAE-DFER selects on the test list of {dataset}; "
                "export without that part"
            )
        folder = FOLDERS.get(dataset, dataset) + (f"/split{fold:02d}" if fold else "")
        files[f"{folder}/{_NAMES[part]}.csv"] = "".join(lines).encode()
        if part == "test" and dataset not in NO_VALIDATION:
            files.setdefault(f"{folder}/val.csv", "".join(lines).encode())
    return files


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One list, one folder of them, or `saved/data` with `--dataset`. A val.csv that lists what test.csv lists is no part.

    Raises ManifestError with file and line for a line that is not `folder label`, UsageError without class names.
    """
    order = read_order(options, options.variant, DIALECT)
    own = FOLDERS.get(options.dataset, options.dataset)
    patterns = [re.compile(rf"(?:.*/)?{re.escape(own)}/{_FILE}")] if own else []
    # Without a dataset, the folder above tells lists of two datasets apart.
    patterns += [re.compile(rf"(?P<dataset>(?:(?!split\d+/)[^/]*/)*){_FILE}")]
    found = list_files(place, patterns, DIALECT)
    rows = {(fold, part): _rows(path, len(order)) for path, fold, part in found}
    for fold, part in list(rows):
        test = rows.get((fold, "test"))
        if (
            part == "validation"
            and test is not None
            and [row[:2] for row in rows[fold, part]] == [row[:2] for row in test]
        ):
            del rows[fold, part]
    parts = [part for part, lines in rows.items() for _ in lines]
    listed = [row for lines in rows.values() for row in lines]
    places = [where for _, _, where in listed]
    folder = place if place.is_dir() else place.parent
    relative, root = strip_prefix([path for path, _, _ in listed], options, folder=folder, places=places)
    return manifest_of_parts(
        {"path": relative, "label": [label for _, label, _ in listed]}, parts, labels=official_labels(options, order),
        order=order, root=root, name=options.dataset or place.stem, media="frames", places=places, files=list(rows),
    )  # fmt: skip


def _rows(path: Path, classes: int) -> list[tuple[str, int, str]]:
    """(folder, label, `file:line`) of every line."""
    rows = []
    for number, line in list_lines(path):
        where = f"{path}:{number}"
        fields = line.strip().split(" ")
        if len(fields) != 2:
            raise ManifestError(f"{where}: expected 'folder label', got {len(fields)} fields: {line.strip()!r}")
        if not re.fullmatch(r"[0-9]{1,9}", fields[1]) or int(fields[1]) >= classes:
            raise ManifestError(f"{where}: label {fields[1]!r} is not in 0..{classes - 1}")
        rows.append((fields[0], int(fields[1]), where))
    return rows
