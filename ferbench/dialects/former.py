"""The `former` dialect: `path num_frames label`, one sample a line (Former-DFER, DFER-CLIP, IAL, MS; TSN lineage).

    line := path SP num_frames SP label NL      label is 0-based, in the variant's class order

Sources: zengqunzhao/Former-DFER dataloader/dataset_DFEW.py, `_parse_list`: fields are split at single spaces, there is no
header and no quoting, and `num_frames` is how many frames the sampler may index. File names, line ends and the last line
of each repository: Former-DFER, DFER-CLIP and IAL annotation/; MS dataloader/dataset_DFEW.py, whose files are not shipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import card_of
from ferbench.dialects.lists import (
    label_numbers,
    manifest_of_parts,
    needed_frames,
    needed_label,
    official_labels,
    part_files,
    parts_of,
    read_order,
    strip_prefix,
    usable_rows,
    whole_source,
    written_order,
    written_path,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest
from ferbench.textfiles import numbered_lines, whole_number

DIALECT = "former"


@dataclass(frozen=True, slots=True)
class Variant:
    """How one repository writes its files."""

    fold_name: str = "set_{fold}_{part}.txt"
    split_name: str = "{part}.txt"
    line_end: str = "\n"
    last_line_end: bool = True
    titles: tuple[tuple[str, str], ...] = ()
    """Dataset -> how the repository spells it in file names."""


_TITLES = (("dfew", "DFEW"), ("ferv39k", "FERV39K"), ("mafw", "MAFW"), ("afew", "AFEW"))
_VARIANTS: dict[str, Variant] = {
    "plain": Variant(),
    "former-dfer": Variant("{dataset}_set_{fold}_{part}.txt", "{dataset}_{part}.txt", titles=_TITLES),
    "dfer-clip": Variant("{dataset}_set_{fold}_{part}.txt", "{dataset}_{part}.txt", titles=_TITLES),
    "ial": Variant(line_end="\r\n"),
    "ms": Variant("zh_set_{fold}_{part}.txt", "zh_{part}.txt"),
}
VARIANTS = tuple(_VARIANTS)
FILES = re.compile(r"(zh_)?(\w+_)?(set_\d+_)?(train|validation|test)\.txt")
_NAME = re.compile(r"(?:zh_)?(?:(?P<dataset>\w+?)_)?(?:set_(?P<fold>\d+)_)?(?P<part>train|validation|test)\.txt")


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """`set_1_train.txt`, `set_1_test.txt`, … of folds, or `train.txt`, `test.txt` of a fixed split, as bytes.

    Failed samples cannot be written, since they have no frames; the manifest keeps them.
    """
    variant = _VARIANTS[options.variant or VARIANTS[0]]
    card = card_of(manifest)
    title = dict(variant.titles).get(card.name if card else "", (card.name if card else manifest.name).upper())
    order = written_order(manifest, options, options.variant, DIALECT)
    files: dict[str, Content] = {}
    for fold, part, rows in parts_of(manifest):
        pattern = variant.split_name if fold is None else variant.fold_name
        lines = format_lines(usable_rows(rows, options), options, order)
        text = variant.line_end.join(lines)
        # DFER-CLIP's MAFW files alone end without a line end.
        ends = bool(lines) and not (options.variant == "dfer-clip" and title == "MAFW")
        files[pattern.format(dataset=title, fold=fold, part=part)] = (text + variant.line_end * ends).encode()
    return files


def format_lines(manifest: Manifest, options: ExportOptions, order: LabelSet) -> list[str]:
    """The lines without their ends; ManifestError names the sample that the grammar cannot hold."""
    lines = []
    for sample, label in zip(manifest.samples(), label_numbers(manifest, order), strict=True):
        path = written_path(manifest, sample, options, DIALECT, forbidden=" ")
        if sample.media != "frames":
            whole_source(sample, DIALECT)
        needed_label(sample, DIALECT)
        lines.append(f"{path} {needed_frames(sample, options, DIALECT)} {label}")
    return lines


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One list file, or a folder of them with the names of any variant.

    Raises ManifestError with file and line for a line that is not `path num_frames label`, UsageError without class names.
    """
    order = read_order(options, options.variant, DIALECT)
    columns: dict[str, list[object]] = {"path": [], "num_frames": [], "label": []}
    parts: list[tuple[int | None, str]] = []
    for path, fold, part in part_files(place, _NAME, DIALECT):
        for number, line in numbered_lines(path):
            name, frames, label = _fields(line, f"{path}:{number}")
            if not 0 <= label < len(order):
                raise ManifestError(f"{path}:{number}: label {label} is not in 0..{len(order) - 1}")
            if frames < 1:
                raise ManifestError(f"{path}:{number}: {frames} frames; a clip has at least one")
            for column, value in zip(columns, (name, frames, label), strict=True):
                columns[column].append(value)
            parts.append((fold, part))
    folder = place if place.is_dir() else place.parent
    relative, root = strip_prefix([str(path) for path in columns["path"]], options, folder=folder)
    return manifest_of_parts(
        {**columns, "path": relative}, parts, labels=official_labels(options, order), order=order, root=root,
        name=options.dataset or place.stem, media="frames",
    )  # fmt: skip


def _fields(line: str, where: str) -> tuple[str, int, int]:
    fields = line.strip().split(" ")
    if len(fields) != 3:
        raise ManifestError(f"{where}: expected 'path num_frames label', got {len(fields)} fields: {line.strip()!r}")
    frames, label = whole_number(fields[1]), whole_number(fields[2])
    if frames is None or label is None:
        raise ManifestError(f"{where}: num_frames and label must be whole numbers, got {fields[1]!r} and {fields[2]!r}")
    return fields[0], frames, label
