"""FER+: ten annotators' votes on the pictures of FER2013, in either of its two files, made labels by a rule.

    Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF     fer2013new.csv
    Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0

    fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0                     data/FER2013{Train,Valid,Test}/label.csv

A row of fer2013new.csv without an image name is not a face. Its rows are those of fer2013.csv; its names are not their
numbers, and four names occur twice. The two files disagree on the votes of 4 to 8 rows in a hundred. The rules are in
`ferplus_votes`. Source: microsoft/FERPlus, README.md, src/ferplus.py, src/generate_training_data.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferbench.cards import Card
from ferbench.datasets.fer2013_pixels import (
    FERPLUS_NAMES,
    ROW_NAMES,
    Pictures,
    find_pictures,
    images_folder,
    row_name,
)
from ferbench.datasets.ferplus_votes import EMOTIONS, KEPT, NOT_A_FACE, OUTCOMES, UNKNOWN, decide
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import find, nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.textfiles import csv_rows, whole_number

NEW, LABEL = "fer2013new.csv", "label.csv"
FOLDERS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}
"""Split -> the folder of its label.csv, to which generate_training_data.py writes its pictures."""
USAGES = {"training": "train", "publictest": "validation", "privatetest": "test"}
CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")
MOST_VOTES = 10
"""Every picture was shown to ten people."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that names a picture."""

    name: str
    """The picture's file, without folder."""
    split: str
    votes: list[int]
    where: str
    """file:line."""
    index: int | None
    """Row of fer2013.csv, from 0; None where label.csv does not say."""
    again: bool = False
    """The name occurred before."""

    @property
    def sample_id(self) -> str:
        """FER+'s name; with the row where another row has that name."""
        stem = stem_of(self.name)
        return f"{stem}_row{self.index:05d}" if self.again else stem


def stem_of(name: str) -> str:
    """`fer0000059.png` without its suffix."""
    return name.rpartition(".")[0] or name


@dataclass(frozen=True)
class Rows:
    """The rows of the vote files that name a picture, and what became of the others."""

    kept: list[Row] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    seen: set[str] = field(default_factory=set)

    def add(self, name: str, split: str, votes: Sequence[str], where: str, index: int | None) -> None:
        """One row as it stands in the file; what cannot be a sample goes to the tally."""
        numbers = [whole_number(vote) for vote in votes]
        counts = [number for number in numbers if number is not None and 0 <= number <= MOST_VOTES]
        if len(counts) != len(CLASSES):
            shown = ",".join(votes)[:60]
            self.tally.skip("bad-row", f"{where}: expected {len(CLASSES)} votes from 0 to {MOST_VOTES}, got {shown!r}")
        elif not name:
            self.tally.skip("not-a-face", f"{where}: no image name", severity="note")
        elif "/" in name or "\\" in name or "\0" in name:
            self.tally.skip("bad-row", f"{where}: {name!r} is no name of a file")
        elif stem_of(name) in self.seen and index is None:
            self.tally.skip("duplicate", f"{where}: {name!r} occurs a second time")
        else:
            self.kept.append(Row(name, split, counts, where, index, again=stem_of(name) in self.seen))
            self.seen.add(stem_of(name))


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read one of the two kinds of vote files and apply the rule; DataError when there is none.

    `votes` holds the emotions' votes as given, `unknown` and `nf` those of the last two columns, and `rule_votes` what
    the rule left of `votes`: soft targets, once they are divided by their sum.
    """
    kind, files, new, findings = _vote_files(root, card, options["votes"])
    rows = Rows()
    rows_read = sum(_read_new(path, rows) if kind == NEW else _read_label(path, split, rows) for path, split in files)
    rule = options["rule"]
    test_rule = rule if options["test-rule"] == "same" else options["test-rule"]
    if test_rule != "majority" and rule not in ("argmax", "argmax-of-8"):
        message = f"validation and test are labelled by the rule {test_rule}; FER+'s own code judges by majority"
        findings.append(Finding("note", "test-rule", message, "say -o test-rule=majority for published figures"))
    label, votes = _labels(rows, rule, test_rule)
    indices = np.flatnonzero(label >= 0)
    kept = [rows.kept[index] for index in indices]
    given = np.array([row.votes for row in kept], np.int64).reshape(len(kept), len(CLASSES))
    twice = [row for row in kept if row.again]
    if twice:
        message = f"{len(twice)} image names occur in two rows, first {twice[0].name!r}; both rows count, as in FER+"
        findings.append(Finding("note", "name-twice", message, count=len(twice)))
    pictures = find_pictures(root, images_folder(root, options["images"], card.name), ROW_NAMES, FERPLUS_NAMES)
    return Reading(
        columns={
            "sample_id": [row.sample_id for row in kept],
            "path": _paths(root, files, kept, pictures, _numbers(new) if kind == LABEL else {}),
            "media": ["image"] * len(kept),
            "label": label[indices].tolist(),
            "votes": given[:, :EMOTIONS].astype(np.float32).tolist(),
            "split": [row.split for row in kept],
            "unknown": given[:, UNKNOWN].tolist(),
            "nf": given[:, NOT_A_FACE].tolist(),
            "rule_votes": votes[indices].astype(np.float32).tolist(),
        },
        labels=card.labels,
        layout=f"{', '.join(relative(path, root) for path, _ in files)}, rule {rule}, pictures in "
        f"{', '.join(pictures.folders) or 'no folder'}",
        rows_read=rows_read,
        facts={"votes": kind, "rule": rule, "test-rule": test_rule},
        skipped=rows.tally.skips(),
        findings=(*findings, *pictures.finding(), *_about_pictures(root, pictures, rows, _numbers(new), kind)),
    )


def _vote_files(root: Path, card: Card, wanted: str) -> tuple[str, list[tuple[Path, str]], Path | None, list[Finding]]:
    """(which kind, its files with the split of each, fer2013new.csv for the rows, what to say).

    fer2013new.csv is read where both kinds are there.
    """
    new = [path for path in find(root, r"fer2013new\.csv") if path.is_file()]
    labels = {
        split: [path for path in find(root, r"label\.csv") if path.parent.name.lower() == folder.lower()]
        for split, folder in FOLDERS.items()
    }
    for paths in (new, *labels.values()):
        if len(paths) > 1:
            names = ", ".join(relative(path, root) for path in paths)
            raise DataError(f"{root}: {len(paths)} files of the same votes ({names}); name the folder of one copy",
                            reason="layout")  # fmt: skip
    parts = [(paths[0], split) for split, paths in labels.items() if paths]
    if new and wanted != LABEL:
        if not parts or wanted == NEW:
            return NEW, [(new[0], "")], new[0], []
        message = "fer2013new.csv and label.csv are both here and disagree on some votes; fer2013new.csv is read"
        advice = (
            "say -o votes=label.csv for the sets of RAN and SCN (28,236 and 3,137), -o votes=fer2013new.csv for these"
        )
        return NEW, [(new[0], "")], new[0], [Finding("warning", "two-vote-files", message, advice)]
    if parts and wanted != NEW:
        return LABEL, parts, (new[0] if new else None), []
    looked = {NEW: NEW, LABEL: "FER2013Train/label.csv"}.get(wanted, "fer2013new.csv or FER2013Train/label.csv")
    raise nothing_found(root, card.name, looked)


# --- the two grammars ---------------------------------------------------------------------------------------------------


def _read_new(path: Path, rows: Rows) -> int:
    """fer2013new.csv, with or without its header; how many rows it has."""
    order = [0, 1, *range(2, 2 + len(CLASSES))]
    count = 0
    for number, (line, fields) in enumerate(csv_rows(path)):
        if number == 0 and fields[0].strip().lower() not in USAGES:
            order = _columns(path, line, fields)
            continue
        count += 1
        where = f"{path}:{line}"
        split = USAGES.get(fields[order[0]].strip().lower()) if len(fields) == len(order) else None
        if len(fields) != len(order):
            rows.tally.skip("bad-row", f"{where}: expected {len(order)} fields, got {len(fields)}")
        elif split is None:
            shown = fields[order[0]][:30]
            rows.tally.skip("bad-row", f"{where}: Usage must be Training, PublicTest or PrivateTest, got {shown!r}")
        else:
            rows.add(fields[order[1]].strip(), split, [fields[place] for place in order[2:]], where, count - 1)
    return count


def _columns(path: Path, line: int, header: Sequence[str]) -> list[int]:
    """Where Usage, Image name and the ten classes are."""
    names = [name.strip().lower() for name in header]
    wanted = ("usage", "image name", *CLASSES)
    missing = [name for name in wanted if name not in names]
    if missing or len(names) != len(wanted):
        raise DataError(
            f"{path}:{line}: expected the columns Usage, Image name, {', '.join(CLASSES[:8])}, unknown and NF, got "
            f"{','.join(header)[:80]!r}"
        )
    return [names.index(name) for name in wanted]


def _read_label(path: Path, split: str, rows: Rows) -> int:
    """label.csv: picture, face box, ten votes; no header. How many rows it has."""
    count = 0
    for line, fields in csv_rows(path):
        count += 1
        if len(fields) != 2 + len(CLASSES):
            shown = ",".join(fields)[:60]
            rows.tally.skip("bad-row", f"{path}:{line}: expected name, box and {len(CLASSES)} votes, got {shown!r}")
        else:
            rows.add(fields[0].strip(), split, fields[2:], f"{path}:{line}", None)
    return count


def _numbers(new: Path | None) -> dict[str, int]:
    """Image name without suffix -> row of fer2013.csv by fer2013new.csv, the first where a name has two; or nothing."""
    if new is None:
        return {}
    rows = Rows()
    _read_new(new, rows)
    return {stem_of(row.name): row.index for row in reversed(rows.kept) if row.index is not None}


# --- the rule -----------------------------------------------------------------------------------------------------------


def _labels(rows: Rows, rule: str, test_rule: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) labels, -1 where the rule drops a row, which the tally then holds; and (N, 8) votes that remain."""
    given = np.array([row.votes for row in rows.kept], np.int64).reshape(len(rows.kept), len(CLASSES))
    label = np.full(len(given), -1)
    votes = np.zeros((len(given), EMOTIONS), np.int64)
    outcome = np.zeros(len(given), np.int64)
    train = np.array([row.split == "train" for row in rows.kept], dtype=bool)
    for part, applied in ((train, rule), (~train, test_rule)):
        decision = decide(given[part], applied)
        label[part], votes[part], outcome[part] = decision.label, decision.votes, decision.outcome
    for index in np.flatnonzero(outcome != KEPT):
        row = rows.kept[index]
        given_votes = ",".join(map(str, row.votes))
        where = f"{row.where}: dropped by the rule {rule if train[index] else test_rule}: votes {given_votes}"
        rows.tally.skip(OUTCOMES[outcome[index]], where, severity="note")
    return label, votes


# --- the pictures -------------------------------------------------------------------------------------------------------


def _paths(
    root: Path, files: list[tuple[Path, str]], kept: list[Row], pictures: Pictures, numbers: Mapping[str, int]
) -> list[str]:
    """Where each picture is: by its row, else by FER+'s name, else where generate_training_data.py would write it."""
    first = files[0][0].parent
    base = first.parent if files[0][1] else first / "data"
    homes = {split: relative(base / folder, root) for split, folder in FOLDERS.items()}
    paths = []
    for row in kept:
        stem = stem_of(row.name)
        index = numbers.get(stem) if row.index is None else row.index
        by_row = pictures.paths.get(row_name(index)) if index is not None else None
        paths.append(by_row or pictures.paths.get(stem.lower()) or f"{homes[row.split]}/{row.name}")
    return paths


def _about_pictures(root: Path, pictures: Pictures, rows: Rows, numbers: Mapping[str, int], kind: str) -> list[Finding]:
    """What is wrong with the pictures as a whole: none here, or named so that the votes are not theirs."""
    write = f"put fer2013.csv below {root} and write them: `ferbench index fer2013 {root} -o images=images`"
    if not pictures.paths:
        message = "FER+ has votes only, and no folder here has FER2013's pictures"
        return [Finding("error", "no-pictures", message, write)]
    named = {name for name in pictures.paths if not name.startswith("fer2013_")}
    if not named and kind == LABEL and not numbers:
        message = "label.csv has FER+'s names, and the pictures here are named after the rows of fer2013.csv"
        return [Finding("error", "no-pictures", message, "put fer2013new.csv beside them: it says which row a name is")]
    known = {stem.lower() for stem in (*rows.seen, *numbers)}
    strange = sorted(named - known)
    if not strange:
        return []
    message = (
        f"{len(strange):,} pictures, first {strange[0]}, have names that FER+ does not give: they are numbered by the rows "
        "of fer2013.csv, it seems, and FER+'s names are not those numbers: votes and pictures do not belong together"
    )
    return [Finding("error", "row-numbers", message, f"take them away, and {write}", count=len(strange))]
