"""The `raf-list` dialect: RAF-DB's list of names and numbers, in one file for both parts, 1-based.

    train_00001.jpg 5
    test_0001.jpg 1

    EmoLabel/list_patition_label.txt (sic)

One space, LF, no line end after the last line, the train part before the test part (Erasing-Attention-Consistency
raf-basic/EmoLabel). The split is the prefix of the name, so a name must begin with that of its part. Pictures are found by
the name: Image/aligned/train_00001_aligned.jpg or Image/original/train_00001.jpg; both are written as train_00001.jpg.

Variants
    release    as above; read as Image/aligned/<stem>_aligned.jpg beside EmoLabel
    original   the same list; read as Image/original/<name>
    mfer       the test part is written as val_0001.jpg for test_0001.jpg: MFER's datasets/raf_dataset.py takes what begins
               with `val`, and finds nothing in the released list. It opens Image/aligned/val_0001_aligned.jpg, so the test
               pictures must be there under that name as well. Read, the names are test_0001.jpg again

There is no validation part: RAF-DB has none, and MFER's val is the test part, as it is in copies that name it so.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ferbench.dialects.lists import (
    ShortNames,
    list_lines,
    manifest_of_parts,
    official_labels,
    read_order,
    refuse_options,
    rows_of_parts,
    whole_source,
    written_order,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.manifest import Manifest, Sample
from ferbench.textfiles import detect_base

DIALECT = "raf-list"
VARIANTS = ("release", "original", "mfer")
_NAME = "EmoLabel/list_patition_label.txt"
FILES = re.compile(r"EmoLabel/list_patition_label\.txt")
_FOUND = re.compile(r"list_pa(r)?tition_label\.txt")
_PICTURE = re.compile(r"(?P<part>train|test|val|valid)_(?P<number>[0-9]+)(?:_aligned)?\.jpg")
BASE = 1
_PARTS = {"train": "train", "test": "test", "val": "test", "valid": "test"}


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """The one list."""
    refuse_options(
        options, DIALECT, prefix="its names are those of pictures", short_count="its lines have no frame count"
    )
    if manifest.has_values("fold"):
        raise ManifestError(f"manifest {manifest.name!r} has folds, and the {DIALECT} dialect is one fixed split")
    names = ShortNames(1, DIALECT)
    written: dict[str, str] = {}

    def row(sample: Sample, label: int) -> str:
        whole_source(sample, DIALECT)
        match = _PICTURE.fullmatch(names.of(sample))
        part = _PARTS[match["part"]] if match else ""
        if match is None or sample.media != "image" or part != sample.split:
            raise ManifestError(
                f"sample {sample.sample_id!r}: the {DIALECT} dialect names pictures train_00001.jpg or test_0001.jpg by "
                f"their part, and {PurePosixPath(sample.path).name!r} is {sample.media} in {sample.split}"
            )
        prefix = "val" if part == "test" and options.variant == "mfer" else match["part"]
        name = f"{prefix}_{match['number']}.jpg"
        if written.setdefault(name, sample.sample_id) != sample.sample_id:
            raise ManifestError(
                f"sample {sample.sample_id!r} would be written as {name!r}, and so is {written[name]!r}"
            )
        return f"{name} {label + BASE}"

    order = written_order(manifest, options, options.variant, DIALECT)
    lines: list[str] = []
    for _, _, rows in rows_of_parts(manifest, options, order, DIALECT, row):
        lines += rows
    return {_NAME: "\n".join(lines)}


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """The list, or a folder that holds it once. A manifest's notes say where the numbers are 0-based.

    Raises ManifestError with file and line for a line that is not `name label`, UsageError without class names.
    """
    refuse_options(options, DIALECT, prefix="its names are those of pictures")
    order = read_order(options, options.variant, DIALECT)
    path = _file(place)
    rows: list[tuple[str, str, str, int]] = []
    for number, line in list_lines(path):
        where = f"{path}:{number}"
        fields = line.strip().split(" ")
        match = _PICTURE.fullmatch(fields[0])
        if len(fields) != 2 or match is None:
            raise ManifestError(f"{where}: expected 'train_00001.jpg 5' or 'test_0001.jpg 5', got {line.strip()!r}")
        if not re.fullmatch(r"-?[0-9]{1,9}", fields[1]):
            raise ManifestError(f"{where}: label must be a whole number, got {fields[1]!r}")
        part = _PARTS[match["part"]]
        prefix = part if options.variant == "mfer" else match["part"]
        rows.append((part, where, f"{prefix}_{match['number']}", int(fields[1])))
    base, notes = detect_base([label for *_, label in rows], order, expected=BASE, where=str(path))
    for _, where, _, label in rows:
        if not base <= label < base + len(order):
            raise ManifestError(f"{where}: label {label} is not in {base}..{base + len(order) - 1}")
    top = path.parent.parent if path.parent.name == "EmoLabel" else path.parent
    pattern = "Image/original/{}.jpg" if options.variant == "original" else "Image/aligned/{}_aligned.jpg"
    stems = [stem for _, _, stem, _ in rows]
    manifest = manifest_of_parts(
        {"path": [pattern.format(stem) for stem in stems], "label": [label - base for *_, label in rows]},
        [(None, part) for part, *_ in rows], labels=official_labels(options, order), order=order,
        root=(options.root or top).absolute(), name=options.dataset or path.stem, media="image",
        places=[where for _, where, _, _ in rows],
        provenance={"label_base": base, "notes": [note.message for note in notes]},
    )  # fmt: skip
    return manifest.with_columns(
        sample_id=[PurePosixPath(name).stem.removesuffix("_aligned") for name in manifest.column("path")]
    )


def _file(place: Path) -> Path:
    if place.is_file():
        return place
    found = sorted(path for path in place.rglob("*") if _FOUND.fullmatch(path.name))
    if len(found) != 1:
        what = f"{len(found)} lists lie here; name one" if found else "no list is here"
        raise ManifestError(f"{place}: {what}; it is {_NAME}")
    return found[0]
