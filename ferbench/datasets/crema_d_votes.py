"""CREMA-D's votes: `processedResults/tabulatedVotes.csv`, or the winners alone in `summaryTable.csv`.

    "","A","D","F","H","N","S","fileName",…          tabulatedVotes: the row's number begins with 1 (voice alone),
    "200001",0,0,0,1,10,0,"1001_IEO_NEU_XX",…        2 (face alone) or 3 (both)

    "","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"
    "9","1001_IEO_ANG_MD","A:D","37.2:58.6","A","45.5","A","44.2"

Source: CheyneyComputerScience/CREMA-D, README.md and the first lines of both files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench.datasets.clip_tree import find_files
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.textfiles import csv_rows, whole_number

_LETTERS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happy", "N": "neutral", "S": "sad"}
_PRESENTED = {"voice": "1", "face": "2", "multimodal": "3"}
"""What the raters were given -> first digit of a row's number in tabulatedVotes.csv."""


@dataclass(frozen=True, slots=True)
class Votes:
    """Votes per clip, in the card's class order."""

    path: Path
    votes: dict[str, tuple[float, ...]]
    findings: tuple[Finding, ...]


def read_votes(root: Path, labels: LabelSet, presented: str) -> Votes | None:
    """The raters' counts, else equal shares of the winners; None where neither table is there.

    `presented` is what the raters were given: `face`, `voice` or `multimodal`. DataError for a table without its header.
    """
    for name, columns in (
        (r"tabulatedVotes\.csv", ("", *_LETTERS, "filename")),
        (r"summaryTable\.csv", (f"{presented}vote", "filename")),
    ):
        found = find_files(root, name)
        if found:
            return _read(found[0], labels, presented, columns)
    return None


def _read(path: Path, labels: LabelSet, presented: str, columns: Sequence[str]) -> Votes:
    votes: dict[str, tuple[float, ...]] = {}
    bad: list[str] = []
    places: list[int] = []
    for index, (number, fields) in enumerate(csv_rows(path)):
        if index == 0:
            header = [field.strip().lower() for field in fields]
            missing = [column for column in columns if column.lower() not in header]
            if missing:
                raise DataError(f"{path}:{number}: no column {missing[0]!r} in the header; get the file again")
            places = [header.index(column.lower()) for column in columns]
            continue
        row = [fields[place].strip() for place in places] if len(fields) > max(places) else []
        if not row:
            bad.append(f"{path}:{number}: {len(fields)} fields")
        elif len(columns) > 2 and row[0][:1] != _PRESENTED[presented]:
            continue
        else:
            counts = _counts(row[1:-1], labels) if len(columns) > 2 else _shares(row[0], labels)
            if counts is None or row[-1].upper() in votes:
                bad.append(f"{path}:{number}: {'votes' if counts is None else 'a second row'} of {row[-1]!r}")
            else:
                votes[row[-1].upper()] = counts
    findings = []
    if bad:
        message = f"{len(bad):,} rows of votes cannot be read: {'; '.join(bad[:3])}"
        findings.append(Finding("error", "bad-votes", message, "those clips have no votes", count=len(bad)))
    return Votes(path, votes, tuple(findings))


def _counts(cells: Sequence[str], labels: LabelSet) -> tuple[float, ...] | None:
    """Six counts, in the order of the letters."""
    numbers = [whole_number(cell) for cell in cells]
    if any(number is None or number < 0 for number in numbers):
        return None
    votes = [0.0] * len(labels)
    for name, number in zip(_LETTERS.values(), numbers, strict=True):
        votes[labels.label_of(name)] = float(number or 0)
    return tuple(votes)


def _shares(winners: str, labels: LabelSet) -> tuple[float, ...] | None:
    """`A:D` as a half each."""
    letters = winners.upper().split(":")
    if len(set(letters)) != len(letters) or any(letter not in _LETTERS for letter in letters):
        return None
    votes = [0.0] * len(labels)
    for letter in letters:
        votes[labels.label_of(_LETTERS[letter])] = 1 / len(letters)
    return tuple(votes)
