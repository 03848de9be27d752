"""Fold lists: five pairs of a train and a test list, of which the test lists alone say the fold of a clip.

The train lists say nothing new, so they are held against the rest: a clip that a fold both trains on and tests, or
neither, makes its number something else than the published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ferbench.datasets.reading import Tally
from ferbench.findings import Finding

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    clip: str
    label: int
    where: str
    """`file:line`."""
    extra: tuple[str | None, ...] = ()
    """Captions, where a list has them."""


Lists = Mapping[tuple[int, str], Sequence[Row]]
"""(fold, `train` or `test`) -> rows."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Every clip of the lists once, by name."""

    rows: tuple[Row, ...]
    fold: tuple[int | None, ...]
    """Where the row's clip is tested; None for one that no fold tests."""
    findings: tuple[Finding, ...]
    repeats: int = 0
    """Lines that name a clip which another list has named: a clip is in five lists, and one row."""


def join_folds(lists: Lists, tally: Tally, *, expected: int = 5) -> Folds:
    """One row per clip, and what the lists contradict each other in. A clip twice in one list is skipped there."""
    distinct = {key: _distinct(rows, tally) for key, rows in lists.items()}
    rows: dict[str, Row] = {}
    fold: dict[str, int] = {}
    twice: list[str] = []
    differing: list[str] = []
    # Test lists first: where two lists give two labels, the one a fold is scored by is taken.
    for (number, part), found in sorted(distinct.items(), key=lambda item: (item[0][1] != "test", item[0][0])):
        for clip, row in found.items():
            first = rows.setdefault(clip, row)
            if first.label != row.label:
                differing.append(f"{clip} ({first.where} and {row.where})")
            if part == "test" and fold.setdefault(clip, number) != number:
                twice.append(f"{clip} in {fold[clip]} and {number}")
    clips = sorted(rows)
    never = [clip for clip in clips if clip not in fold]
    tests = {number for number, part in lists if part == "test"}
    absent = [number for number in range(1, expected + 1) if number not in tests]
    findings = [
        *_finding(
            absent, "fold-lists", "folds have no test list", "get the missing lists; clips they test have no fold"
        ),
        *_finding(twice, "fold-lists", "clips are tested in two folds", "the first one is taken"),
        *_finding(never, "fold-lists", "clips are in a train list and in no test list", "they have no fold"),
        *_finding(differing, "label-conflict", "rows differ in their label", "the label of the test list is taken"),
    ]
    for (number, part), found in sorted(distinct.items()):
        if part == "train":
            findings += _complement(number, set(found), set(distinct.get((number, "test"), ())), set(clips))
    return Folds(
        rows=tuple(rows[clip] for clip in clips),
        fold=tuple(fold.get(clip) for clip in clips),
        findings=tuple(findings),
        repeats=sum(map(len, distinct.values())) - len(clips),
    )


def _distinct(rows: Iterable[Row], tally: Tally) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if row.clip in found:
            tally.skip("duplicate", f"{row.where}: {row.clip!r} occurs a second time in this list")
        else:
            found[row.clip] = row
    return found


def _finding(cases: Sequence[object], rule: str, what: str, advice: str) -> list[Finding]:
    if not cases:
        return []
    shown = ", ".join(str(case) for case in cases[:SHOWN])
    return [Finding("error", rule, f"{len(cases):,} {what}: {shown}", advice, count=len(cases))]


def _complement(number: int, train: set[str], test: set[str], everything: set[str]) -> list[Finding]:
    """A finding unless the train list of a fold is everything but its test list."""
    both, neither = sorted(train & test), sorted(everything - train - test)
    parts = [
        f"{len(clips):,} clips are in {where}: {', '.join(clips[:SHOWN])}"
        for clips, where in ((both, "both"), (neither, "neither"))
        if clips
    ]
    if not parts:
        return []
    return [
        Finding(
            "error",
            "fold-lists",
            f"the train list of fold {number} is not the rest; {'; '.join(parts)}",
            "ferbench trains on the rest; results with these lists are not comparable",
            count=len(both) + len(neither),
        )
    ]
