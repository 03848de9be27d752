"""The `ck-list` dialect: Emotion-FAN's ten folds of CK+ in one file, each fold under a line that counts it.

    1-fold 33 Angry 2 Sad 4 Disgust 7 Surprise 8 Fear 4 Contempt 1 Happy 7
    S130/007 Angry
    S501/001 Angry

    data/txt/CK+_10-fold_sample_IDascendorder_step10.txt

A header is the fold, its sequences, and the classes that it has, always in that order; a class without a sequence is left
out. Below it are the sequences of the fold, `subject/sequence Class`, by class in alphabetical order and then by name
(Emotion-FAN data/txt; basic_code/load.py for the words). A name is the last two components of a path, and all sequences lie
in one folder. Written for any number of folds that follow each other from 1, with that number in place of both tens.

Only sequences can be listed: pictures (`frames = "last-3"`) and the class neutral are refused, and so is a fixed split and
a validation part. Reading compares every header with the lines below it; the subject is the first part of a name.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ferbench.cards import find_card
from ferbench.dialects.frames import frames_on_disk, frames_sample
from ferbench.dialects.lists import ShortNames, list_lines, manifest_of_parts, refuse_options, rows_of_parts
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.dialects.words import ClassWords
from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample

DIALECT = "ck-list"
VARIANTS = ("emotion-fan",)
_NAME = "CK+_{folds}-fold_sample_IDascendorder_step{folds}.txt"
FILES = re.compile(r"CK\+_\d+-fold_sample_IDascendorder_step\d+\.txt")
HEADER = ("Angry", "Sad", "Disgust", "Surprise", "Fear", "Contempt", "Happy")
"""Classes in the order of a header."""
_HEADER = re.compile(r"(?P<fold>[1-9][0-9]{0,5})-fold (?P<total>[0-9]{1,9})(?P<counts>( [A-Za-z]+ [0-9]{1,9})*)")


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """The one file."""
    refuse_options(
        options, DIALECT, prefix="its names are subject/sequence", short_count="its lines have no frame count",
        labels="classes are written by name",
    )  # fmt: skip
    if not manifest.has_values("fold"):
        raise ManifestError(f"manifest {manifest.name!r} has no folds, and the {DIALECT} dialect is a file of folds")
    names = ShortNames(2, DIALECT, forbidden=" ")
    words = ClassWords(HEADER, DIALECT).of(manifest)

    def row(sample: Sample, label: int) -> tuple[str, str]:
        frames_sample(sample, DIALECT)
        frames_on_disk(manifest, sample, DIALECT, counted=False)
        return words.written(sample, label), names.of(sample)

    folds: dict[int, list[tuple[str, str]]] = {}
    for fold, part, rows in rows_of_parts(manifest, options, manifest.labels, DIALECT, row):
        if part == "validation":
            raise ManifestError(
                f"manifest {manifest.name!r} has a validation part, and the {DIALECT} dialect has none; export without it"
            )
        if part == "test" and fold is not None:
            folds[fold] = sorted(rows)
    if sorted(folds) != list(range(1, len(folds) + 1)):
        raise ManifestError(
            f"manifest {manifest.name!r} has the folds {', '.join(map(str, sorted(folds)))}; the {DIALECT} dialect "
            "numbers them from 1 without gaps"
        )
    lines: list[str] = []
    for fold, rows in folds.items():
        count = Counter(word for word, _ in rows)
        shown = "".join(f" {word} {count[word]}" for word in HEADER if count[word])
        lines += [f"{fold}-fold {len(rows)}{shown}", *(f"{name} {word}" for word, name in rows)]
    return {_NAME.format(folds=len(folds)): "".join(f"{line}\n" for line in lines)}


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """The file, or a folder with one. Classes are those of the dataset's card, by default ck-plus, or the seven words.

    Raises ManifestError with file and line for a line that is neither a header nor a sequence, and for a header that
    counts other sequences than follow it.
    """
    refuse_options(options, DIALECT, prefix="its names are subject/sequence", labels="classes are read by name")
    card = find_card(options.dataset or "ck-plus")
    labels = card.labels if card else LabelSet(tuple(sorted(HEADER)))
    path = _file(place)
    rows: list[tuple[int, str, str, str]] = []
    header: tuple[str, int, Counter[str]] | None = None
    fold = 0
    for number, line in list_lines(path):
        where = f"{path}:{number}"
        match = _HEADER.fullmatch(line.strip())
        if match:
            _compare(header, rows, fold)
            fold += 1
            if int(match["fold"]) != fold:
                raise ManifestError(f"{where}: expected the header of fold {fold}, got {line.strip()!r}")
            header = (where, int(match["total"]), _counts(match["counts"], where))
            continue
        fields = line.strip().split(" ")
        if len(fields) != 2 or not re.fullmatch(r"[^/\s]+/[^/\s]+", fields[0]) or fields[1] not in HEADER:
            raise ManifestError(
                f"{where}: expected 'subject/sequence Class' or a header of a fold, got {line.strip()!r}"
            )
        if header is None:
            raise ManifestError(f"{where}: a sequence before the first header, '1-fold 33 Angry 2 …'")
        if fields[1] not in labels:
            raise ManifestError(f"{where}: the dataset {options.dataset!r} has no class {fields[1]!r}")
        rows.append((fold, where, fields[0], fields[1]))
    _compare(header, rows, fold)
    root = (options.root or path.parent).absolute()
    return manifest_of_parts(
        {"path": [name for _, _, name, _ in rows], "label": labels.labels_of([word for *_, word in rows]),
         "subject": [name.split("/")[0] for _, _, name, _ in rows]},
        [(number, "test") for number, *_ in rows], labels=labels, order=labels, root=root,
        name=options.dataset or path.stem, media="frames", places=[where for _, where, _, _ in rows],
    )  # fmt: skip


def _file(place: Path) -> Path:
    if place.is_file():
        return place
    found = sorted(path for path in place.rglob("*") if FILES.fullmatch(path.name))
    if len(found) != 1:
        what = f"{len(found)} fold files lie here; name one" if found else "no fold file is here"
        raise ManifestError(f"{place}: {what}; it is {_NAME.format(folds=10)}")
    return found[0]


def _counts(text: str, where: str) -> Counter[str]:
    words = text.split()
    counts: Counter[str] = Counter()
    for word, number in zip(words[::2], words[1::2], strict=True):
        if word not in HEADER or word in counts:
            raise ManifestError(f"{where}: a header counts each of {', '.join(HEADER)} once at most, got {word!r}")
        counts[word] = int(number)
    return counts


def _compare(header: tuple[str, int, Counter[str]] | None, rows: list[tuple[int, str, str, str]], fold: int) -> None:
    """ManifestError when the header of `fold` counts other sequences than were read."""
    if header is None:
        return
    where, total, counts = header
    found = Counter(word for number, _, _, word in rows if number == fold)
    for word in HEADER:
        if counts[word] != found[word]:
            raise ManifestError(f"{where}: the header says {counts[word]} {word}, and {found[word]} follow")
    if total != found.total():
        raise ManifestError(f"{where}: the header says {total} sequences, and {found.total()} follow")
