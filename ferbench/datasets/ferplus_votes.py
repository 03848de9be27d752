"""FER+'s rules: ten annotators' votes as one label, and the votes that remain. Integers in, integers out.

Votes are (N, 10): the eight emotions in FER+'s order, then `unknown` and `NF` (not a face). The rules are those of
microsoft/FERPlus, src/ferplus.py `_process_data`, without its last step of dividing by the sum:

    votes of 1 (outliers) count as 0, and S is the sum of the rest
    majority                    the class with most votes, if it has more than S / 2
    probability, crossentropy   classes by descending votes until they have 3/4 S or three are in; `unknown` and NF end it;
                                not more than S / 2, or more than three by a tie: dropped
    multi_target                every class with at least 0.3 S; not more than S / 2 together: dropped

and, of published tables rather than of that code, on the votes as they are:

    argmax                      the class with most votes, of ten
    argmax-of-8                 the emotion with most votes, whatever `unknown` and NF have

The label is the emotion with most votes of those that remain, the first in the order of the columns at a tie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Votes = NDArray[np.int64]

EMOTIONS = 8
UNKNOWN, NOT_A_FACE = 8, 9

KEPT, NO_MAJORITY, IS_UNKNOWN, IS_NOT_A_FACE = range(4)
OUTCOMES = ("kept", "no-majority", "unknown", "not-a-face")
"""What became of a row, by its number in `Decision.outcome`: a label; too few votes agree; annotators say so."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What a rule makes of N rows of votes."""

    label: NDArray[np.int64]
    """(N,) column of the emotion, 0..7; -1 where the rule drops the row."""
    votes: Votes
    """(N, 8) the emotions' votes that remain; zeros where the rule drops the row."""
    outcome: NDArray[np.int64]
    """(N,) index into `OUTCOMES`."""

    def __repr__(self) -> str:
        return f"Decision({int((self.label >= 0).sum())} of {len(self.label)} rows kept)"


def decide(votes: Votes, rule: str) -> Decision:
    """Apply a rule of `RULES` to (N, 10) votes."""
    if votes.ndim != 2 or votes.shape[1] != EMOTIONS + 2:
        raise ValueError(f"votes must be (N, {EMOTIONS + 2}), got {votes.shape}")
    remaining = RULES[rule](votes.astype(np.int64))
    # No vote left: the row is dropped, and the first column with most votes must not be taken for a class.
    best = np.where(remaining.any(axis=1), remaining.argmax(axis=1), -1)
    kept = (best >= 0) & (best < EMOTIONS)
    said = votes.argmax(axis=1)
    outcome = np.select(
        [kept, (best == NOT_A_FACE) | ((best < 0) & (said == NOT_A_FACE)), (best == UNKNOWN) | (said == UNKNOWN)],
        [KEPT, IS_NOT_A_FACE, IS_UNKNOWN],
        NO_MAJORITY,
    )
    return Decision(np.where(kept, best, -1), np.where(kept[:, None], remaining[:, :EMOTIONS], 0), outcome)


def without_outliers(votes: Votes) -> Votes:
    """Single votes become 0."""
    return np.where(votes <= 1, 0, votes)


def majority(votes: Votes) -> Votes:
    """Only the class that has more than half of the votes."""
    votes = without_outliers(votes)
    most = votes.max(axis=1)
    wins = 2 * most > votes.sum(axis=1)
    first = np.arange(votes.shape[1]) == votes.argmax(axis=1)[:, None]
    return np.where(first & wins[:, None], votes, 0)


def crossentropy(votes: Votes) -> Votes:
    """Up to three classes, by descending votes, until they have three quarters of the votes; a tie comes in together.

    `unknown` or NF in the course of it ends it, and counts as taken only when it is the very first.
    """
    votes = without_outliers(votes)
    total = votes.sum(axis=1)
    left, taken = votes.copy(), np.zeros_like(votes)
    covered, count = np.zeros_like(total), np.zeros_like(total)
    active = np.ones(len(votes), dtype=bool)
    # Each round takes at least one class, so a fourth never happens.
    for _ in range(3):
        active = active & (4 * covered < 3 * total) & (count < 3)
        most = left.max(axis=1)
        chosen = (left == most[:, None]) & active[:, None]
        emotions = chosen.copy()
        emotions[:, EMOTIONS:] = False
        outside = chosen[:, UNKNOWN] | chosen[:, NOT_A_FACE]
        alone = outside & ~taken.any(axis=1) & ~emotions.any(axis=1)
        taken = np.where(emotions, votes, taken)
        # Of an unknown and an NF that tie, the reference takes the first and stops.
        first = np.where(chosen[:, UNKNOWN], UNKNOWN, NOT_A_FACE)
        taken[alone, first[alone]] = most[alone]
        covered = covered + np.where(active, most * (emotions.sum(axis=1) + outside), 0)
        count = count + emotions.sum(axis=1) + alone
        left = np.where(chosen, 0, left)
        active = active & ~outside
    enough = (2 * taken.sum(axis=1) > total) & (count <= 3)
    return np.where(enough[:, None], taken, 0)


def multi_target(votes: Votes) -> Votes:
    """Every class with at least 30 % of the votes, if together they have more than half."""
    votes = without_outliers(votes)
    total = votes.sum(axis=1)
    taken = np.where(10 * votes >= 3 * total[:, None], votes, 0)
    enough = 2 * taken.sum(axis=1) > total
    return np.where(enough[:, None], taken, 0)


def argmax_of_8(votes: Votes) -> Votes:
    """The emotions' votes as they are."""
    return np.concatenate([votes[:, :EMOTIONS], np.zeros_like(votes[:, EMOTIONS:])], axis=1)


RULES: dict[str, Callable[[Votes], Votes]] = {
    "majority": majority,
    # Probability draws one class of the same distribution at each training step; the votes are those of crossentropy.
    "probability": crossentropy,
    "crossentropy": crossentropy,
    "multi_target": multi_target,
    "argmax": lambda votes: votes,
    "argmax-of-8": argmax_of_8,
}
"""Name -> function of (N, 10) votes that gives the (N, 10) that remain."""
