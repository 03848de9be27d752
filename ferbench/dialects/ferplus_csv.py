"""The `ferplus-csv` dialect: FER+'s ten annotators per picture, as microsoft/FERPlus publishes them.

    fer2013new  fer2013new.csv, one file with a header; a row is a row of fer2013.csv
                    Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
                    Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0
    label.csv   FER2013Train/label.csv, FER2013Valid/label.csv and FER2013Test/label.csv, without a header
                    fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0

Sources: fer2013new.csv and src/generate_training_data.py of microsoft/FERPlus, which puts the pictures of Training beside
the label.csv of FER2013Train, of PublicTest in FER2013Valid and of PrivateTest in FER2013Test. The box is the whole picture
in every published row.

The counts need the raw votes: the column `votes`, of the eight emotions, and the columns `unknown` and `nf` (not a face).
Reading gives them, and the label by the official majority rule (src/ferplus.py `_process_data`); a picture without a
majority has no label. fer2013new.csv also has rows without an image name, the 173 pictures that show no face. There is no
picture to name, so no manifest can hold them: they are passed over in reading, and `provenance` says how many. A file
written from a manifest therefore lacks those rows and is not to be read beside fer2013.csv row by row. Four names stand
in two rows: the second sample is `fer0006953_row06968` after its row, and both have the one path.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferbench.datasets.ferplus_votes import decide
from ferbench.dialects.fer2013_csv import USAGES, named_file, refuse_folds, usage_of
from ferbench.dialects.lists import official_labels, refuse_options, usable_rows, whole_source
from ferbench.dialects.media_folder import unusable_name
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.textfiles import csv_rows, whole_number

DIALECT = "ferplus-csv"
VARIANTS = ("fer2013new", "label.csv")
FOLDERS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}
FILES = re.compile(r"fer2013new\.csv|FER2013(Train|Valid|Test)/label\.csv")
CLASSES = LabelSet(("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"))
OTHER_VOTES = ("unknown", "nf")
"""Columns of the manifest for the votes that are no emotion."""
_HEADER = ("Usage", "Image name", *CLASSES.names, "unknown", "NF")
_BOX = "(0, 0, 48, 48)"
_OWN_NAME = re.compile(r"(fer\d{7})(_row\d+)?$")


# --- writing ----------------------------------------------------------------------------------------------------------


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """`fer2013new.csv`, or the three `label.csv`, rows in the manifest's order.

    ManifestError for a manifest with folds or without the votes, and for a sample whose votes are no whole numbers.
    """
    refuse_options(
        options, DIALECT, labels="its columns have one order", prefix="it names files", short_count="it holds stills"
    )
    refuse_folds(manifest, DIALECT)
    rows = usable_rows(manifest, options)
    lines: dict[str, list[Sequence[object]]] = {part: [] for part in FOLDERS}
    everything: list[Sequence[object]] = [_HEADER]
    names: dict[str, str] = {}
    for sample, votes in zip(rows.samples(), _written_votes(rows), strict=True):
        whole_source(sample, DIALECT)
        # The row's own name, whatever the picture is called: FER2013's pictures are found by row in some copies.
        own = _OWN_NAME.match(sample.sample_id)
        name = f"{own[1]}.png" if own else sample.path.rpartition("/")[2]
        if not own and names.setdefault(name, sample.path) != sample.path:
            raise ManifestError(f"the pictures {names[name]!r} and {sample.path!r} have the same image name {name!r}")
        usage = usage_of(sample, DIALECT)
        everything.append((usage, name, *votes))
        lines[str(sample.split)].append((name, _BOX, *votes))
    if (options.variant or VARIANTS[0]) == "fer2013new":
        return {"fer2013new.csv": _text(everything)}
    return {f"{FOLDERS[part]}/label.csv": _text(of_part) for part, of_part in lines.items() if of_part}


def _text(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _written_votes(manifest: Manifest) -> list[list[int]]:
    """Ten whole numbers per row, in the order of the columns."""
    missing = [name for name in ("votes", *OTHER_VOTES) if not manifest.has_values(name)]
    if missing and len(manifest):
        raise ManifestError(
            f"manifest {manifest.name!r} has no {missing[0]!r}: the {DIALECT} dialect needs the raw votes, of the emotions "
            f"in votes and of the others in {' and '.join(OTHER_VOTES)}"
        )
    places = CLASSES.mapping_to(manifest.labels)
    unknown = manifest.labels.missing_from(CLASSES)
    if unknown or None in places:
        raise ManifestError(f"the classes must be {', '.join(CLASSES.names)}; got {', '.join(manifest.labels.names)}")
    rows = []
    ids = manifest.column("sample_id")
    others = [manifest.column(name) for name in OTHER_VOTES] if len(manifest) else [[], []]
    for sample_id, votes, *rest in zip(ids, manifest.column("votes"), *others, strict=True):
        values = [None if votes is None or len(votes) != len(CLASSES) else votes[place] for place in places] + rest
        row = [_count(value) for value in values]
        if None in row:
            raise ManifestError(f"sample {sample_id!r}: votes must be ten whole numbers from 0, got {values}")
        counts = [value for value in row if value is not None]
        # Ten people voted on every picture; one row has nine.
        if sum(counts) not in (9, 10):
            raise ManifestError(
                f"sample {sample_id!r}: its votes sum to {sum(counts)} and not to 10; those that a rule left over are not "
                "the raw ones, which `ferbench import --dialect ferplus-csv` keeps"
            )
        rows.append(counts)
    return rows


def _count(value: object) -> int | None:
    if not isinstance(value, (int, float)) or value != value or value < 0 or value != int(value):
        return None
    return int(value)


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A row that names a picture."""

    sample_id: str
    name: str
    part: str
    votes: list[int]


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """`fer2013new.csv`, a `label.csv`, or the folder of either.

    Pictures are at `FER2013Train/fer0000000.png`, … below `--root`, by default the folder of fer2013new.csv, or the one
    that FER2013Train lies in. Raises ManifestError with file and line for a row of another form.
    """
    found = _label_files(place, options.variant)
    rows: list[Row] = []
    without_face = 0
    if found:
        root = place if place.is_dir() else place.parent.parent
        for path, part in found:
            rows += _label_rows(path, part)
    else:
        path = named_file(place, ("fer2013new.csv",), DIALECT)
        root = path.parent
        rows, without_face = _named_rows(path)
    if not rows:
        raise ManifestError(f"{place}: no rows that name a picture")
    votes = np.array([row.votes for row in rows], dtype=np.int64)
    labels = official_labels(options, CLASSES)
    mapping = CLASSES.mapping_to(labels)
    back = labels.mapping_to(CLASSES)
    if None in mapping or None in back:
        raise ManifestError(f"{options.dataset} does not have FER+'s classes: {', '.join(CLASSES.names)}")
    ordered = votes[:, [place for place in back if place is not None]]
    decided = decide(votes, "majority").label
    return manifest_of(
        {
            "sample_id": [row.sample_id for row in rows],
            "path": [f"{FOLDERS[row.part]}/{row.name}" for row in rows],
            "media": ["image"] * len(rows),
            "num_frames": [1] * len(rows),
            "label": [mapping[label] if label >= 0 else None for label in decided.tolist()],
            "votes": ordered.astype(np.float32).tolist(),
            "split": [row.part for row in rows],
            "unknown": votes[:, len(CLASSES)].tolist(),
            "nf": votes[:, len(CLASSES) + 1].tolist(),
        },
        labels=labels, name=options.dataset or "ferplus", root=options.root or root,
        provenance={"not_a_face": without_face} if without_face else None,
    )  # fmt: skip


def _label_files(place: Path, variant: str) -> list[tuple[Path, str]]:
    """The label.csv files with their parts, or nothing where fer2013new.csv is meant."""
    parts = {folder: part for part, folder in FOLDERS.items()}
    if place.is_file():
        if place.name != "label.csv":
            return []
        if place.absolute().parent.name not in parts:
            raise ManifestError(f"{place}: label.csv lies in one of {', '.join(parts)}, which says the part")
        return [(place, parts[place.absolute().parent.name])]
    found = [(place / folder / "label.csv", part) for folder, part in parts.items()]
    found = [(path, part) for path, part in found if path.is_file()]
    if variant == "fer2013new" or (not variant and (place / "fer2013new.csv").is_file()):
        return []
    if variant == "label.csv" and not found:
        raise ManifestError(f"{place}: no label.csv in {', '.join(parts)}")
    return found


def _named_rows(path: Path) -> tuple[list[Row], int]:
    """(the rows with a name, how many have none)."""
    parts = {usage: part for part, usage in USAGES.items()}
    rows: list[Row] = []
    index, without_face = -1, 0
    seen: set[str] = set()
    header = None
    for line, fields in csv_rows(path):
        where = f"{path}:{line}"
        fields = [field.strip() for field in fields]
        if header is None:
            header = tuple(fields)
            if header != _HEADER:
                raise ManifestError(
                    f"{where}: the first row must be {','.join(_HEADER)}, got {','.join(fields)[:120]!r}"
                )
            continue
        index += 1
        if len(fields) != len(_HEADER):
            raise ManifestError(f"{where}: expected {len(_HEADER)} fields, got {len(fields)}")
        if fields[0] not in parts:
            raise ManifestError(f"{where}: Usage {fields[0]!r} is not one of {', '.join(parts)}")
        votes = _read_votes(fields[2:], where)
        if not fields[1]:
            without_face += 1
            continue
        stem = _stem(fields[1], where)
        sample_id = f"{stem}_row{index:05d}" if stem in seen else stem
        seen.add(stem)
        rows.append(Row(sample_id, fields[1], parts[fields[0]], votes))
    return rows, without_face


def _label_rows(path: Path, part: str) -> list[Row]:
    rows: dict[str, Row] = {}
    for line, fields in csv_rows(path):
        where = f"{path}:{line}"
        if len(fields) != len(_HEADER):
            raise ManifestError(f"{where}: expected {len(_HEADER)} fields, got {len(fields)}")
        if fields[1].strip() != _BOX:
            raise ManifestError(
                f"{where}: the box is {fields[1]!r}, not the whole picture {_BOX}; no manifest can hold it"
            )
        name = fields[0].strip()
        stem = _stem(name, where)
        if stem in rows:
            raise ManifestError(f"{where}: {name!r} occurs a second time")
        rows[stem] = Row(stem, name, part, _read_votes(fields[2:], where))
    return list(rows.values())


def _stem(name: str, where: str) -> str:
    rule = unusable_name(name)
    if rule:
        raise ManifestError(f"{where}: the image name {name!r} {rule}")
    return name.rpartition(".")[0] or name


def _read_votes(fields: Sequence[str], where: str) -> list[int]:
    votes = [whole_number(field) for field in fields]
    wrong = [field for field, vote in zip(fields, votes, strict=True) if vote is None or not 0 <= vote < 2**24]
    if wrong:
        raise ManifestError(f"{where}: votes must be whole numbers from 0, got {wrong[0]!r}")
    return [vote for vote in votes if vote is not None]
