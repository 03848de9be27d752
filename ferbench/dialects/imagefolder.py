"""The `imagefolder` dialect: a folder per part, a folder per class in it, as torchvision's `ImageFolder` reads them.

    train/happiness/train_00001.jpg         a still, named by its sample id with `__` for `/`
    train/happiness/clip_1/00001.jpg        a clip of frames; ImageFolder takes every frame for a sample of its class
    fold_1/train/happiness/…                cross-validation: every fold whole
    classes.txt                             the class folders in the order that ImageFolder numbers them, from 0

ImageFolder knows no label order: `find_classes` sorts the folder names as text and counts (torchvision/datasets/folder.py),
so its integers are the alphabet's and not the dataset's, and `10` comes before `2`. A class that only one part has would
move the numbers of all later classes in the others. So every part gets a folder of every class that any part has;
ImageFolder refuses one that is empty (`allow_empty=True` takes it) instead of numbering otherwise in silence. A class
without samples in any part has no folder.

Variants:

    plain     `train`, `val`, `test`; folders are the manifest's class names (`--labels` gives other spellings)
    mfer      `train`, `val`: XuJ1E/MFER train.py reads ./data/RAFDB/dataset/{train,val}; the test part is called `val`
    efea      `train`, `test`: EFEA-MSM main.py
    ma-net    `train`, `test`; folders `0` to `6` in the order of MA-Net's README, AffectNet's, with `7` for contempt
    numbered  `train`, `val`, `test`; folders `1`, `2`, … in the dataset's official order, as RAF-DB's re-packs have them

In the last two the lines of classes.txt are `folder class`, of all classes in the order of the numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench.dialects.lists import (
    label_numbers,
    manifest_of_parts,
    needed_label,
    official_labels,
    parts_of,
    read_order,
    refuse_options,
    usable_rows,
    whole_source,
    written_order,
)
from ferbench.dialects.media_folder import RECORD, media_name, record_of, source_of, stems, unusable_name
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import LabelError, ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample
from ferbench.media import frame_files
from ferbench.textfiles import numbered_lines

DIALECT = "imagefolder"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
"""torchvision.datasets.folder.IMG_EXTENSIONS; files of other suffixes are passed over by it."""
MA_NET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""zengqunzhao/MA-Net README.md, 0 to 6; contempt is 7 where AffectNet has it."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How one repository names its folders."""

    parts: tuple[tuple[str, str], ...] = (("train", "train"), ("validation", "val"), ("test", "test"))
    """Part -> folder."""
    first_number: int | None = None
    """Class folders are numbers from here; None: they are class names."""


_TWO = (("train", "train"), ("test", "test"))
_VARIANTS: dict[str, Variant] = {
    "plain": Variant(),
    "mfer": Variant((("train", "train"), ("test", "val"))),
    "efea": Variant(_TWO),
    "ma-net": Variant(_TWO, first_number=0),
    "numbered": Variant(first_number=1),
}
VARIANTS = tuple(_VARIANTS)
FILES = re.compile(r"classes\.txt")  # the media are in the record of `media_folder`
_FOLD = re.compile(r"fold_([1-9]\d*)")
_PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_JUNK = frozenset({"__MACOSX", "@eaDir", "Thumbs.db"})


# --- writing ----------------------------------------------------------------------------------------------------------


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """The media under their new names, `classes.txt`, and the record of what was placed.

    ManifestError for a sample without a label, a video or a frame range, and for a part that the variant has no folder for.
    """
    refuse_options(options, DIALECT, prefix="it holds the media themselves", short_count="it writes no counts")
    name = options.variant or VARIANTS[0]
    variant = _VARIANTS[name]
    order = _written_order(manifest, options, name)
    folders = _class_folders(order, variant)
    names = stems(usable_rows(manifest, options), DIALECT)
    media: dict[str, Path] = {}
    tops: list[str] = []
    used: set[int] = set()
    for fold, part, rows in parts_of(manifest):
        rows = usable_rows(rows, options)
        top = dict(variant.parts).get(part)
        if top is None:
            if len(rows):
                raise ManifestError(
                    f"the layout of {name} has no folder for the {part} part ({len(rows)} samples); use the variant plain"
                )
            continue
        tops.append(f"fold_{fold}/{top}" if fold else top)
        for sample, label in zip(rows.samples(), label_numbers(rows, order), strict=True):
            _check(sample)
            if label is None:
                raise ManifestError(f"sample {sample.sample_id!r}: {name} has no folder for its class")
            used.add(label)
            media[f"{tops[-1]}/{folders[label]}/{media_name(sample, names[sample.sample_id])}"] = source_of(
                rows, sample
            )
    filled = {path.rsplit("/", 1)[0] for path in media}
    classes = [f"{top}/{folders[label]}" for top in tops for label in sorted(used)]
    record = record_of(media, empty=[folder for folder in classes if folder not in filled])
    return {RECORD: record, "classes.txt": _classes_text(order, folders, used, variant), **media}


def _written_order(manifest: Manifest, options: ExportOptions, name: str) -> LabelSet:
    if name == "ma-net" and not options.labels:
        return LabelSet(MA_NET if "contempt" in manifest.labels else MA_NET[:-1])
    return written_order(manifest, options, name)


def _class_folders(order: LabelSet, variant: Variant) -> list[str]:
    if variant.first_number is not None:
        return [str(label + variant.first_number) for label in range(len(order))]
    for class_name in order.names:
        rule = unusable_name(class_name)
        if rule:
            raise ManifestError(f"class {class_name!r} cannot be a folder: it {rule}; give other names with --labels")
    return list(order.names)


def _classes_text(order: LabelSet, folders: Sequence[str], used: set[int], variant: Variant) -> str:
    if variant.first_number is not None:
        return "".join(f"{folder} {name}\n" for folder, name in zip(folders, order.names, strict=True))
    return "".join(f"{folder}\n" for folder in sorted(folders[label] for label in used))


def _check(sample: Sample) -> None:
    needed_label(sample, DIALECT)
    whole_source(sample, DIALECT)
    if sample.media == "video":
        raise ManifestError(
            f"sample {sample.sample_id!r}: ImageFolder reads no videos; align it to frames, or use mmaction or hf"
        )
    suffix = os.path.splitext(sample.path)[1]
    if sample.media == "image" and suffix.lower() not in SUFFIXES:
        raise ManifestError(
            f"sample {sample.sample_id!r}: ImageFolder passes over {suffix!r}; it reads {', '.join(sorted(SUFFIXES))}"
        )


# --- reading ----------------------------------------------------------------------------------------------------------


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """A folder with `train`, `val` or `test`, or with `fold_1`, `fold_2`, … that have them.

    Class names are those of classes.txt, else the folders' own; numbers without it need the variant, and
    `numbered` the dataset or `--labels` too. Sample ids are the file names, or the paths where a file name is not unique.
    Raises ManifestError for whatever is in a class folder and is neither an image nor a folder of frames.
    """
    if not place.is_dir():
        raise ManifestError(f"{place}: the {DIALECT} dialect is a folder with train, val or test in it")
    root = (options.root or place).absolute()
    if not place.absolute().is_relative_to(root):
        raise ManifestError(f"{place}: does not lie below the root {root}")
    tops = list(_tops(place, options.variant))
    class_folders = sorted({child.name for _, _, top in tops for child in _children(top)})
    order, label_of = _class_names(place, class_folders, options)
    labels = official_labels(options, order)
    missing = order.missing_from(labels)
    if missing:
        raise ManifestError(
            f"{place}: the class {missing[0]!r} is none of {options.dataset}: {', '.join(labels.names)}"
        )
    keys: dict[str, tuple[Path, str, int]] = {}
    columns: dict[str, list[object]] = {"path": [], "label": []}
    parts: list[tuple[int | None, str]] = []
    for fold, part, top in tops:
        for child in _children(top):
            for path in _children(child):
                # One sample lies in every fold under the same name; a name in two parts of a fixed split is two samples.
                key = f"{child.name}/{path.name}" if fold else f"{part}/{child.name}/{path.name}"
                if key not in keys:
                    keys[key] = (path, *_media(path))
                columns["path"].append(key)
                columns["label"].append(label_of[child.name])
                parts.append((fold, part))
    manifest = manifest_of_parts(
        columns,
        parts,
        files=[(fold, part) for fold, part, _ in tops],
        labels=labels,
        order=order,
        root=root,
        name=options.dataset or place.absolute().name,
        media="image",
    )
    found = [keys[key] for key in manifest.column("path")]
    paths = [path.absolute().relative_to(root).as_posix() for path, _, _ in found]
    media = [kind for _, kind, _ in found]
    ids = [_without_suffix(path.name, kind) for path, kind, _ in found]
    if len(set(ids)) < len(ids):
        ids = [_without_suffix(path, kind) for path, kind in zip(paths, media, strict=True)]
    return manifest.with_columns(path=paths, sample_id=ids, media=media, num_frames=[count for _, _, count in found])


def _tops(place: Path, variant: str) -> Iterator[tuple[int | None, str, Path]]:
    """(fold or None, part, its folder), sorted."""
    folds = [(int(match[1]), child) for child in _children(place) if (match := _FOLD.fullmatch(child.name))]
    fixed = [(part, top) for part, top in _part_folders(place, variant)]
    if folds and fixed:
        raise ManifestError(f"{place}: folders of folds and of a fixed split lie together; name one, or clear up")
    if not folds and not fixed:
        raise ManifestError(
            f"{place}: no folder train, val or test, and no fold_1; folders of classes alone are read by "
            f"`ferbench index folders {place}`"
        )
    yield from ((None, part, top) for part, top in fixed)
    for fold, folder in sorted(folds):
        yield from ((fold, part, top) for part, top in _part_folders(folder, variant))


def _part_folders(folder: Path, variant: str) -> Iterator[tuple[str, Path]]:
    of_variant = {top: part for part, top in _VARIANTS[variant or VARIANTS[0]].parts}
    for child in _children(folder):
        part = of_variant.get(child.name) or _PARTS.get(child.name)
        if part and child.is_dir():
            yield part, child


def _children(folder: Path) -> list[Path]:
    """What is in a folder, sorted; hidden names and junk left out. ManifestError when it cannot be listed."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ManifestError(f"{folder}: cannot be listed ({error.strerror or error})") from error
    return [folder / name for name in names if not name.startswith(".") and name not in _JUNK]


def _media(path: Path) -> tuple[str, int]:
    if path.is_dir():
        frames = frame_files(path)
        if not frames or any(child.is_dir() for child in _children(path)):
            raise ManifestError(
                f"{path}: a folder in a class folder is a clip of frames, and this one holds other things"
            )
        return "frames", len(frames)
    if path.suffix.lower() not in SUFFIXES:
        raise ManifestError(f"{path}: neither an image nor a folder of frames; move it out of the class folder")
    return "image", 1


def _class_names(place: Path, folders: list[str], options: ImportOptions) -> tuple[LabelSet, dict[str, int]]:
    """The classes in order, and folder -> index into them."""
    variant = _VARIANTS[options.variant or VARIANTS[0]]
    listed = place / "classes.txt"
    numbers = [folder for folder in folders if folder.isdecimal()]
    if listed.is_file() and not options.labels:
        pairs = [_listed(line) for _, line in numbered_lines(listed)]
        where = f"{listed} does not name"
    elif variant.first_number is not None:
        official = options.labels or options.variant == "numbered"
        names = read_order(options, options.variant).names if official else MA_NET[: 8 if "7" in folders else 7]
        pairs = [(str(number), name) for number, name in enumerate(names, start=variant.first_number)]
        where = f"{place}: {options.variant} has no class for"
    elif numbers:
        raise ManifestError(
            f"{place}: the class folder {numbers[0]!r} is a number, and nothing says which class it means; give "
            "--variant numbered or ma-net"
        )
    elif options.labels:
        order = read_order(options)
        return order, {folder: order.label_of(folder) for folder in folders}
    else:
        pairs, where = [(folder, folder) for folder in folders], ""
    index = {folder: label for label, (folder, _) in enumerate(pairs)}
    unknown = [folder for folder in folders if folder not in index]
    if unknown:
        raise ManifestError(f"{where} the class folder {unknown[0]!r}")
    try:
        return LabelSet.of(name for _, name in pairs), index
    except LabelError as error:
        raise ManifestError(f"{place}: {error.message}") from error


def _listed(line: str) -> tuple[str, str]:
    numbered = re.fullmatch(r"(\d+)\s+(\S.*?)\s*", line)
    return (numbered[1], numbered[2]) if numbered else (line.strip("\r\n"), line.strip())


def _without_suffix(path: str, media: str) -> str:
    return path if media == "frames" else os.path.splitext(path)[0]
