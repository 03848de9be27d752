"""The `fer2013-csv` dialect: `fer2013.csv`, whose rows are the pictures themselves.

    emotion,pixels,Usage
    0,70 80 82 … 106,Training

`emotion` is 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral; `pixels` are the 2,304 grey values of 48x48,
row by row; `Usage` is Training, PublicTest or PrivateTest, that is train, validation and test. Sources:
WuJie1010/Facial-Expression-Recognition.Pytorch preprocess_fer2013.py; microsoft/FERPlus src/generate_training_data.py. The
copy called `icml_face_data.csv` has its columns in another order, with a blank before their names; it is read too.

Rows are in the manifest's order, which counts: FER+'s votes are by row. Reading takes no pixels out: sample `fer2013_00003`
is row 3, counted from 0, at the path `fer2013_00003.png`, where `ferbench index fer2013 ROOT -o images=FOLDER` writes it.
Those are not FER+'s names: it calls row 60 `fer0000059.png`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ferbench.datasets.fer2013_pixels import SIDE, csv_rows_of, grey_values
from ferbench.dialects.lists import (
    label_numbers,
    needed_label,
    official_labels,
    refuse_options,
    usable_rows,
    whole_source,
    written_order,
)
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError, MediaError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample, manifest_of
from ferbench.textfiles import whole_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIALECT = "fer2013-csv"
VARIANTS = ("plain",)
FILES = re.compile(r"fer2013\.csv")
NAMES = ("fer2013.csv", "icml_face_data.csv")
"""Files looked for in a folder."""
CLASSES = LabelSet(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
_HEADER = ("emotion", "pixels", "Usage")
_NO_PATHS = "it holds pixels and no paths"


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """`fer2013.csv`, written row by row while the pictures are read.

    ManifestError for a manifest with folds, and for a sample without a label or split, of a class that FER2013 lacks,
    or whose picture is not 48x48 grey; nothing is scaled here. `--labels` gives another order of the integers.
    """
    refuse_options(options, DIALECT, prefix=_NO_PATHS, short_count="it holds stills")
    refuse_folds(manifest, DIALECT)
    order = written_order(manifest, options) if options.labels else CLASSES
    rows = usable_rows(manifest, options)
    labels = label_numbers(rows, order)
    for sample, label in zip(rows.samples(), labels, strict=True):
        _check(sample, label, manifest, order)

    def write(path: Path) -> None:
        with path.open("w", encoding="ascii", newline="") as file:
            file.write(",".join(_HEADER) + "\n")
            for sample, label in zip(rows.samples(), labels, strict=True):
                grey = _grey_pixels(sample, rows.path_of(sample))
                file.write(f"{label},{' '.join(map(str, grey.ravel().tolist()))},{usage_of(sample, DIALECT)}\n")

    return {"fer2013.csv": write}


def refuse_folds(manifest: Manifest, dialect: str) -> None:
    """ManifestError for a manifest with folds: these files hold one fixed split."""
    if manifest.has_values("fold"):
        raise ManifestError(
            f"the {dialect} dialect holds one fixed split, and the manifest {manifest.name!r} has folds"
        )


def usage_of(sample: Sample, dialect: str) -> str:
    """`Training`, `PublicTest` or `PrivateTest`; ManifestError for a sample in no part."""
    if sample.split not in USAGES:
        raise ManifestError(
            f"sample {sample.sample_id!r}: the {dialect} dialect needs a split of {', '.join(USAGES)}, got {sample.split!r}"
        )
    return USAGES[sample.split]


def _check(sample: Sample, label: int | None, manifest: Manifest, order: LabelSet) -> None:
    given = needed_label(sample, DIALECT)
    usage_of(sample, DIALECT)
    whole_source(sample, DIALECT)
    if label is None:
        raise ManifestError(
            f"sample {sample.sample_id!r}: FER2013 has no class {manifest.labels.names[given]!r}; it has "
            f"{', '.join(order.names)}"
        )
    if sample.media != "image":
        raise ManifestError(f"sample {sample.sample_id!r}: fer2013.csv holds stills, and this is {sample.media}")


def _grey_pixels(sample: Sample, path: Path) -> NDArray[np.uint8]:
    """(48, 48) uint8."""
    from ferbench.media.stills import read_still

    try:
        pixels = read_still(path)
    except MediaError as error:
        raise ManifestError(f"sample {sample.sample_id!r}: {error.message}", reason=error.reason) from error
    height, width, _ = pixels.shape
    if (height, width) != (SIDE, SIDE):
        raise ManifestError(
            f"sample {sample.sample_id!r}: the picture is {width}x{height}, fer2013.csv holds {SIDE}x{SIDE}; "
            f"`ferbench align --size {SIDE}` makes crops of that size"
        )
    if (pixels != pixels[:, :, :1]).any():
        raise ManifestError(
            f"sample {sample.sample_id!r}: the picture is in colour, fer2013.csv holds grey; convert it"
        )
    return pixels[:, :, 0]


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """`fer2013.csv`, or a folder that has it. Raises ManifestError with file and line for a row that is not a picture."""
    path = named_file(place, NAMES, DIALECT)
    order = CLASSES if not options.labels else LabelSet.of(name.strip() for name in options.labels.split(","))
    labels = official_labels(options, order)
    mapping = order.mapping_to(labels)
    parts = {usage: part for part, usage in USAGES.items()}
    rows: list[tuple[int | None, str]] = []
    ids: list[str] = []
    for row in csv_rows_of(path):
        where = f"{path}:{row.line}"
        if row.fields is None:
            raise ManifestError(f"{where}: expected three fields, {', '.join(_HEADER)}")
        emotion, pixels, usage = row.fields
        number = whole_number(emotion.decode("latin-1"))
        if number is None or not 0 <= number < len(order):
            raise ManifestError(f"{where}: emotion {emotion.decode('latin-1')[:20]!r} is not in 0..{len(order) - 1}")
        part = parts.get(usage.decode("latin-1"))
        if part is None:
            raise ManifestError(f"{where}: Usage {usage.decode('latin-1')[:20]!r} is not one of {', '.join(parts)}")
        grey = grey_values(pixels)
        if isinstance(grey, str):
            raise ManifestError(f"{where}: {grey}")
        rows.append((mapping[number], part))
        ids.append(row.name)
    if not rows:
        raise ManifestError(f"{path}: no rows")
    return manifest_of(
        {
            "sample_id": ids, "path": [f"{name}.png" for name in ids], "media": ["image"] * len(ids),
            "num_frames": [1] * len(ids), "label": [label for label, _ in rows], "split": [part for _, part in rows],
        },
        labels=labels, name=options.dataset or path.stem, root=options.root or path.parent,
    )  # fmt: skip


def named_file(place: Path, names: tuple[str, ...], dialect: str) -> Path:
    """The file itself, or the first of `names` in a folder; ManifestError when there is none."""
    if place.is_file():
        return place
    found = [place / name for name in names if (place / name).is_file()]
    if not found:
        raise ManifestError(f"{place}: no file of the {dialect} dialect is here; looked for {' and '.join(names)}")
    return found[0]
