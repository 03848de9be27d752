"""The `former` dialect: `path num_frames label`, one sample a line (Former-DFER, DFER-CLIP, IAL, MS, EmoCLIP; TSN lineage).

    line := path SP num_frames SP label NL      label is 0-based, in the variant's class order

Fields are split at single spaces; there is no header and no quoting; `num_frames` is how many frames the sampler may index,
and the frames are the pictures in the folder in the order of their names as text (Former-DFER dataloader/dataset_DFEW.py,
`_parse_list` and `get`). So white space in a path, a video, names without zeros in front and a count above the number of
pictures are refused, each with the sample.

Variants
    plain                  set_1_train.txt, … or train.txt, …; takes any part
    former-dfer            DFEW_set_1_train.txt, FERV39K_train.txt; AFEW_train.txt and AFEW_validation.txt, its test list:
                           AFEW's validation part, or the test part where that is what it was made
    former-dfer-published  the same with the counts as they are in that repository: in the files of folds 2 to 5 a clip of
                           fewer than 16 frames has 16, and in those of fold 1 the truth
    dfer-clip              the same names, for MAFW too, whose files end without a line end, except MAFW_set_5_test.txt
    ial, ial-published     set_1_train.txt with CRLF; its published counts are those of former-dfer-published (but for one
                           clip in set_2_test.txt, 150 frames for 148)
    ms                     zh_set_1_train.txt; the files themselves are not shipped
    emoclip                DFEW_set_1_train.txt, and train_image.txt for FERV39k; the loader takes the last one or three
                           components of a path, and joins them to a folder of its own

MS and IAL drop clips of fewer than 16 frames when they read; `--min-frames 16` leaves them out of the files. `--short-count
16` writes 16 for them everywhere. Only plain has validation lists: the code of the others selects on its test list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ferbench.dialects.frames import frames_on_disk, frames_sample
from ferbench.dialects.lists import (
    ShortNames,
    card_name,
    list_files,
    list_lines,
    manifest_of_parts,
    needed_frames,
    official_labels,
    parts_of,
    read_order,
    rows_of_parts,
    strip_prefix,
    written_order,
    written_path,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.manifest import Manifest, Sample

DIALECT = "former"


@dataclass(frozen=True, slots=True)
class Variant:
    """How one repository writes its files."""

    folds: str = "set_{fold}_{part}.txt"
    split: str = "{part}.txt"
    line_end: str = "\n"
    validation: bool = False
    """Takes validation lists."""
    orders: tuple[str, ...] = ()
    """Repositories whose class orders it shares."""
    published_counts: bool = False
    suffix: str = ".jpg"
    """Pictures that the loader lists; empty is every file."""


_DATASET = ("{dataset}_set_{fold}_{part}.txt", "{dataset}_{part}.txt")
_VARIANTS: dict[str, Variant] = {
    "plain": Variant(validation=True, suffix=""),
    "former-dfer": Variant(*_DATASET, orders=("former-dfer",)),
    "former-dfer-published": Variant(*_DATASET, orders=("former-dfer",), published_counts=True),
    "dfer-clip": Variant(*_DATASET, orders=("dfer-clip",), suffix=""),
    "ial": Variant(line_end="\r\n", orders=("ial", "former-dfer")),
    "ial-published": Variant(line_end="\r\n", orders=("ial", "former-dfer"), published_counts=True),
    "ms": Variant("zh_set_{fold}_{part}.txt", "zh_{part}.txt", orders=("ms", "ial", "former-dfer")),
    "emoclip": Variant("{dataset}_set_{fold}_{part}.txt", "{part}_image.txt", orders=("emoclip", "former-dfer"), suffix=""),
}  # fmt: skip
VARIANTS = tuple(_VARIANTS)
TITLES = {"dfew": "DFEW", "ferv39k": "FERV39K", "mafw": "MAFW", "afew": "AFEW"}
"""Dataset -> how the repositories spell it in file names."""
EMOCLIP_DEPTH = {"dfew": 1, "ferv39k": 3}
"""Components of a path that EmoCLIP keeps (DataLoaders/DFEW.py, DataLoaders/FERV39K.py)."""
SHORT = 16
_PART = r"(?P<part>train|validation|test)"
FILES = re.compile(r"(zh_)?([\w+.-]+_)?(set_\d+_)?(train|validation|test)(_image)?\.txt")
_ANY = re.compile(
    rf"(?:.*/)?(?:zh_)?(?:(?P<dataset>(?!zh_|set_)[\w+.-]+?)_)?(?:set_(?P<fold>\d+)_)?{_PART}(?:_image)?\.txt"
)


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """`set_1_train.txt`, `set_1_test.txt`, … of folds, or `train.txt`, `test.txt` of a fixed split, as bytes.

    Failed samples cannot be written, since they have no frames; the manifest keeps them.
    """
    variant = _VARIANTS[options.variant or VARIANTS[0]]
    dataset = card_name(manifest)
    title = TITLES.get(dataset, dataset.upper())
    short_names = _emoclip_names(dataset, options)
    has_folds = manifest.has_values("fold")
    # AFEW's test labels were never released: what everybody tests on is called validation, in the lists too.
    afew = dataset == "afew" and options.variant not in ("", "plain")
    has_validation = any(part == "validation" for _, part, _ in parts_of(manifest))

    def fields(sample: Sample, label: int) -> tuple[str, int, int]:
        frames_sample(sample, DIALECT)
        path = written_path(manifest, sample, options, DIALECT, forbidden=" ")
        if short_names:
            short_names.of(sample, path)
        count = needed_frames(sample, options, DIALECT)
        # Former-DFER's AFEW loader lists every file, and its others *.jpg.
        suffix = "" if dataset == "afew" else variant.suffix
        frames_on_disk(manifest, sample, DIALECT, suffix=suffix, counted=options.variant != "emoclip")
        return path, count, label

    order = written_order(manifest, options, options.variant, *variant.orders, DIALECT)
    files: dict[str, Content] = {}
    for fold, part, rows in rows_of_parts(manifest, options, order, DIALECT, fields):
        if part == "test" and afew and not has_validation:
            part = "validation"
        if part == "validation" and not variant.validation and not afew:
            raise ManifestError(
                f"manifest {manifest.name!r} has a validation part, and {options.variant} has no list for it: its code "
                "selects on the test list; export without that part, or with --variant plain"
            )
        least = SHORT if variant.published_counts and has_folds and fold != 1 else 0
        text = variant.line_end.join(f"{path} {max(count, least)} {label}" for path, count, label in rows)
        name = (variant.split if fold is None else variant.folds).format(dataset=title, fold=fold, part=part)
        files[name] = (text + variant.line_end * bool(rows and _ends(options.variant, name))).encode()
    return files


def _ends(variant: str, name: str) -> bool:
    """Whether the last line has an end: DFER-CLIP's MAFW files have none, but for one."""
    return not (variant == "dfer-clip" and name.startswith("MAFW_") and name != "MAFW_set_5_test.txt")


def _emoclip_names(dataset: str, options: ExportOptions) -> ShortNames | None:
    if options.variant != "emoclip":
        return None
    if dataset not in EMOCLIP_DEPTH:
        raise ManifestError(
            f"EmoCLIP reads lists of this grammar for {' and '.join(EMOCLIP_DEPTH)}, and this is {dataset!r}; "
            "its MAFW lists are the dialect mafw"
        )
    return ShortNames(EMOCLIP_DEPTH[dataset], "former (emoclip)")


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One list file, or a folder of them with the names of any variant.

    In every variant of Former-DFER and IAL a count that differs between files is read as the smallest, the only one that is
    safe to index, and the manifest's notes say where it is not a 16 for fewer. Raises ManifestError with file and line for
    a line that is not `path num_frames label`, UsageError without class names.
    """
    variant = _VARIANTS[options.variant or VARIANTS[0]]
    order = read_order(options, options.variant, *variant.orders, DIALECT)
    columns: dict[str, list[object]] = {"path": [], "num_frames": [], "label": []}
    parts: list[tuple[int | None, str]] = []
    places: list[str] = []
    title = TITLES.get(options.dataset, options.dataset.upper())
    own = re.compile(rf"(?:.*/)?{re.escape(title)}_(?:set_(?P<fold>\d+)_)?{_PART}\.txt")
    found = list_files(place, [own, _ANY] if title else [_ANY], DIALECT)
    for path, fold, part in found:
        for number, line in list_lines(path):
            where = f"{path}:{number}"
            for column, value in zip(columns, _fields(line, where, len(order)), strict=True):
                columns[column].append(value)
            parts.append((fold, part))
            places.append(where)
    folder = place if place.is_dir() else place.parent
    relative, root = strip_prefix([str(path) for path in columns["path"]], options, folder=folder, places=places)
    notes: list[str] = []
    if "former-dfer" in variant.orders:
        columns["num_frames"] = _smallest_counts(relative, columns["num_frames"], places, notes)
    return manifest_of_parts(
        {**columns, "path": relative}, parts, labels=official_labels(options, order), order=order, root=root,
        name=options.dataset or place.stem, media="frames", places=places, files=[(fold, part) for _, fold, part in found],
        provenance={"notes": notes} if notes else None,
    )  # fmt: skip


def _smallest_counts(paths: list[str], counts: list[object], places: list[str], notes: list[str]) -> list[object]:
    """The smallest count of each clip; a note for each that is neither it nor 16 for fewer."""
    least: dict[str, int] = {}
    for path, count in zip(paths, counts, strict=True):
        assert isinstance(count, int)
        least[path] = min(count, least.get(path, count))
    for path, count, place in zip(paths, counts, places, strict=True):
        if count not in (least[path], SHORT):
            notes.append(
                f"{place}: {path!r} has {count} frames here and {least[path]} elsewhere; read as {least[path]}"
            )
    return [least[path] for path in paths]


def _fields(line: str, where: str, classes: int) -> tuple[str, int, int]:
    fields = line.strip().split(" ")
    if len(fields) != 3:
        raise ManifestError(f"{where}: expected 'path num_frames label', got {len(fields)} fields: {line.strip()!r}")
    for name, text in zip(("num_frames", "label"), fields[1:], strict=True):
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ManifestError(f"{where}: {name} must be a whole number, got {text!r}")
    frames, label = int(fields[1]), int(fields[2])
    if not 0 <= label < classes:
        raise ManifestError(f"{where}: label {label} is not in 0..{classes - 1}")
    if not 1 <= frames < 2**31:
        raise ManifestError(f"{where}: {frames} frames; a clip has at least one")
    return fields[0], frames, label
