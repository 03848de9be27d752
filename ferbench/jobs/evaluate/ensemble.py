"""Members of an ensemble put together, class by class by name, and folds that have models of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import ModelError
from ferbench.jobs.evaluate.classes import ClassMatch
from ferbench.jobs.evaluate.journal import Outputs
from ferbench.jobs.evaluate.views import average
from ferbench.labels import LabelSet


@dataclass(slots=True)
class Member:
    """One model of an ensemble, or the models of one in each fold."""

    name: str
    """As `--model` has it."""
    labels: LabelSet | None = None
    known: tuple[str, ...] = ()
    """Classes of `labels` that the model can predict."""
    logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """(K,) in the order of `labels`, by sample_id."""
    errors: dict[str, str] = field(default_factory=dict)
    _first: str = ""

    def add(self, title: str, match: ClassMatch, outputs: Outputs) -> None:
        """Take in the run of one model. ModelError when it knows other classes than the fold's model before it."""
        known = tuple(
            name for name, column in zip(match.labels.names, match.columns, strict=True) if column is not None
        )
        if self.labels is None:
            self.labels, self.known, self._first = match.labels, known, title
        elif match.labels.names != self.labels.names or known != self.known:
            raise ModelError(
                f"the models of the folds know different classes: {self._first} {', '.join(self.known)}; {title} "
                f"{', '.join(known)}. One table of scores needs the same classes in every fold; score the folds apart "
                "with --fold"
            )
        self.logits.update((sample_id, match.logits(row)) for sample_id, row in outputs.logits.items())
        self.errors.update(outputs.errors)


@dataclass(frozen=True, slots=True)
class Combined:
    """One row of logits, or one reason, per sample."""

    labels: LabelSet
    logits: dict[str, NDArray[np.float32]]
    errors: dict[str, str]


def combine(members: Sequence[Member], shares: Sequence[float], how: str, *, labels: LabelSet) -> Combined:
    """The weighted mean over members, of logits or of softmax. A sample that one member has no row for has none.

    Classes are joined by name: those of the manifest in its order, then those that only members know. Raises ModelError
    when logits are averaged of members that know different classes: softmax has a meaning there, a missing logit none.
    """
    if len(members) == 1:
        only = members[0]
        return Combined(only.labels or labels, only.logits, only.errors)
    united = labels
    for member in members:
        united = united.united_with(member.labels or labels)
    if how == "logits":
        _refuse_different_classes(members)
    columns = [(member.labels or labels).mapping_to(united) for member in members]
    logits: dict[str, NDArray[np.float32]] = {}
    errors: dict[str, str] = {}
    for member in members:
        for sample_id, error in member.errors.items():
            errors.setdefault(sample_id, error)
    for sample_id in members[0].logits:
        if sample_id in errors:
            continue
        rows = np.full((len(members), len(united)), -np.inf, np.float32)
        for row, member, places in zip(rows, members, columns, strict=True):
            row[[place for place in places if place is not None]] = member.logits[sample_id]
        logits[sample_id] = _mean(rows, how, shares)
    return Combined(united, logits, errors)


def _mean(rows: NDArray[np.float32], how: str, shares: Sequence[float]) -> NDArray[np.float32]:
    mean = average(rows, how, weights=shares)
    # A class that no member knows, times a share of nothing, is no number; it can never be predicted.
    mean[np.isneginf(rows).all(axis=0)] = -np.inf
    return mean


def _refuse_different_classes(members: Sequence[Member]) -> None:
    first = members[0]
    for member in members[1:]:
        if set(LabelSet.of(member.known).mapping_to(LabelSet.of(first.known))) != set(range(len(first.known))):
            raise ModelError(
                f"{first.name} knows the classes {', '.join(first.known)}, and {member.name} {', '.join(member.known)}: "
                "a logit that a member does not have cannot be averaged; say --average softmax, which takes it as a "
                "probability of 0"
            )
