"""The `ferv39k-official` dialect: FERV39k's own lists, `scene/Emotion/clip EmotionName`, one clip a line.

    Action/Sad/0010 Sad

No header, one space, LF, in files named .csv (MAE-DFER preprocess/ferv39k.py reads them so). The class is written by name.

Variants
    release    4_setups/All_scenes/train_All.csv, 4_setups/All_scenes/test_All.csv
    flat       train_All.csv, test_All.csv

A name is the last three components of a path, and all clips lie in one folder, 2_ClipsforFaceCrop. The split is fixed, and
there is no validation list.
"""

from __future__ import annotations

import re
from pathlib import Path

from ferbench.cards import find_card
from ferbench.dialects.frames import frames_sample
from ferbench.dialects.lists import ShortNames, list_files, list_lines, manifest_of_parts, refuse_options, rows_of_parts
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.dialects.words import ClassWords
from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample

DIALECT = "ferv39k-official"
_NAMES = {"release": "4_setups/All_scenes/{part}_All.csv", "flat": "{part}_All.csv"}
VARIANTS = tuple(_NAMES)
FILES = re.compile(r"(4_setups/All_scenes/)?(train|test)_All\.csv")
WORDS = ClassWords(("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear"), DIALECT)


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """The train and the test list."""
    refuse_options(
        options, DIALECT, prefix="its names are scene/Emotion/clip", short_count="its lines have no frame count",
        labels="classes are written by name",
    )  # fmt: skip
    if manifest.has_values("fold"):
        raise ManifestError(f"manifest {manifest.name!r} has folds, and the {DIALECT} dialect is one fixed split")
    names = ShortNames(3, DIALECT, forbidden=" ")
    words = WORDS.of(manifest)

    def line(sample: Sample, label: int) -> str:
        frames_sample(sample, DIALECT)
        return f"{names.of(sample)} {words.written(sample, label)}\n"

    files: dict[str, Content] = {}
    for _, part, lines in rows_of_parts(manifest, options, manifest.labels, DIALECT, line):
        if part == "validation":
            raise ManifestError(
                f"manifest {manifest.name!r} has a validation part, and FERV39k's files have none; export without that part"
            )
        files[_NAMES[options.variant or VARIANTS[0]].format(part=part)] = "".join(lines).encode()
    return files


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One list, or a folder of them. Classes are those of the dataset's card, or the seven of FERV39k.

    Raises ManifestError with file and line for a line that is not `scene/Emotion/clip EmotionName`.
    """
    refuse_options(options, DIALECT, prefix="its names are scene/Emotion/clip", labels="classes are read by name")
    card = find_card(options.dataset or "ferv39k")
    labels = card.labels if card else LabelSet(WORDS.words)
    found = list_files(place, [re.compile(r"(?:.*/)?(?P<part>train|test)(?:_All)?\.csv")], DIALECT)
    rows = []
    known: set[str] = set()
    for path, _, part in found:
        for number, line in list_lines(path):
            where = f"{path}:{number}"
            fields = line.strip().split(" ")
            if len(fields) != 2 or len(fields[0].split("/")) != 3 or not all(fields[0].split("/")):
                raise ManifestError(f"{where}: expected 'scene/Emotion/clip EmotionName', got {line.strip()!r}")
            if fields[1] not in known and fields[1] not in labels:
                raise ManifestError(f"{where}: unknown class {fields[1]!r}; known: {', '.join(labels.names)}")
            known.add(fields[1])
            rows.append((part, where, fields[0], fields[1]))
    root = (options.root or (place if place.is_dir() else place.parent)).absolute()
    return manifest_of_parts(
        {"path": [path for _, _, path, _ in rows], "label": labels.labels_of([name for *_, name in rows])},
        [(None, part) for part, *_ in rows], labels=labels, order=labels, root=root, name=options.dataset or place.stem,
        media="frames", places=[where for _, where, _, _ in rows],
    )  # fmt: skip
