"""The rules by which published folds were made. Each: the labelled rows of a manifest -> the fold of every one.

DFEW's and MAFW's five folds, CK+'s ten, CREMA-D's and eNTERFACE's five are functions of the labels alone, so that nobody's
list has to be passed on: they are rebuilt from the user's own label table, exactly as published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import ProtocolError

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a rule may look at: the labelled rows of a manifest."""

    name: str
    """Of the manifest, for messages."""
    ids: Sequence[str]
    labels: Numbers
    subjects: Sequence[str | None]


Rule = Callable[[Rows, Mapping[str, Any]], Numbers]
"""Rows and the card's arguments -> (n,) fold numbers from 1; 0 is in no fold. ProtocolError when the rows do not fit."""


def contiguous_blocks(rows: Rows, arguments: Mapping[str, Any]) -> Numbers:
    """Per class, the ids in ascending order cut into `folds` contiguous blocks; the first n % folds are one larger.

    This is the unshuffled stratified k-fold. It reproduces the published test folds of DFEW (11,697 clips), MAFW single
    (9,172) and MAFW compound (8,996) without a single difference. Ids ascend as numbers where all are numbers.
    """
    folds = int(arguments.get("folds", 5))
    order = np.array(ascending(rows.ids), dtype=np.int64)
    numbers = np.zeros(len(rows.ids), dtype=np.int64)
    for label in np.unique(rows.labels):
        members = order[rows.labels[order] == label]
        sizes = [len(members) // folds + (block < len(members) % folds) for block in range(folds)]
        numbers[members] = np.repeat(np.arange(1, folds + 1), sizes)
    return numbers


def subject_modulo(rows: Rows, arguments: Mapping[str, Any]) -> Numbers:
    """Subjects in ascending order; fold k has those whose 0-based index leaves k - 1 when divided by `folds`.

    The subject-independent 10 folds of CK+ that Emotion-FAN lists (118 labelled subjects): equal in all ten.
    """
    folds = int(arguments.get("folds", 10))
    subjects = needed_subjects(rows)
    index = {subject: number for number, subject in enumerate(sorted(set(subjects)))}
    if len(index) < folds:
        raise ProtocolError(f"manifest {rows.name!r}: {folds} folds need at least {folds} subjects, found {len(index)}")
    return np.array([index[subject] % folds + 1 for subject in subjects], dtype=np.int64)


def subject_blocks(rows: Rows, arguments: Mapping[str, Any]) -> Numbers:
    """Folds of subjects by number: `blocks = [["1-5", "7-10"], ["11-19"]]`, ranges inclusive.

    The number is the integer in the subject's name: `1001`, `subject 7`, `Actor_03`. A subject in no block is in no fold.
    """
    fold_of: dict[int, int] = {}
    for fold, block in enumerate(arguments["blocks"], start=1):
        for item in block:
            first, _, last = str(item).partition("-")
            fold_of |= dict.fromkeys(range(int(first), int(last or first) + 1), fold)
    numbers = []
    for subject in needed_subjects(rows):
        found = re.findall(r"\d+", subject)
        if not found:
            raise ProtocolError(f"manifest {rows.name!r}: subject {subject!r} has no number, and the folds go by it")
        numbers.append(fold_of.get(int(found[-1]), 0))
    return np.array(numbers, dtype=np.int64)


RULES: dict[str, Rule] = {
    "contiguous-blocks": contiguous_blocks,
    "subject-modulo": subject_modulo,
    "subject-blocks": subject_blocks,
}
"""Rules that rebuild folds. Besides them a card may say `distributed`, `group-k-fold` or `leave-one-subject-out`."""


def ascending(ids: Sequence[str]) -> list[int]:
    """Positions of the ids in ascending order: as numbers where all are decimal numbers, else as text."""
    if all(each.isdecimal() for each in ids):
        return sorted(range(len(ids)), key=lambda position: int(ids[position]))
    return sorted(range(len(ids)), key=ids.__getitem__)


def needed_subjects(rows: Rows) -> list[str]:
    """The subjects; ProtocolError naming the first sample without one."""
    for sample_id, subject in zip(rows.ids, rows.subjects, strict=True):
        if subject is None:
            raise ProtocolError(
                f"manifest {rows.name!r}, sample {sample_id!r}: it has no subject, and the folds go by it"
            )
    return [str(subject) for subject in rows.subjects]
