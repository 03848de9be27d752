"""The class order: whether another one would score much higher than the one that names the labels and the outputs.

Recalls are compared, not counts: a model that always says one class, or guesses, gains nothing on average by any order of
its outputs, whatever its preferences and however unequal the classes. Known orders are tried first, then the best of all
orders (Kuhn 1955, the assignment problem; `scipy.optimize.linear_sum_assignment`), cycle by cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.audits.orders import Columns, KnownOrder, known_orders
from ferbench.audits.subject import Scored
from ferbench.findings import Finding
from ferbench.labels import LabelSet

ALPHA = 1e-3
"""Chance of an alarm for a model without any order in its mistakes, over all the orders that are tried."""
LEAST_GAIN = 0.15
"""Of recall, on average over the classes that change their name. Two classes that a model truly confuses are taken for each
other less often than for themselves; one that is not by 15 points, both ways, is a matter of names."""
TIMES_KNOWN, TIMES_UNKNOWN = 2.0, 3.0
"""How many times the present recalls the other order's must be, over the classes that change their name: less for the few
orders that have a story than for the best of all orders, which fits whatever mistakes a weak model happens to make."""
SHARE = 0.75
"""Of the classes that change their name, those that must gain; the rest may be too rare or too hard to say anything."""
_AS_GOOD = 0.9
"""A known order explains the matrix when it gains this much of what the best order gains."""
_LISTED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Some classes under another order of the outputs."""

    moved: NDArray[np.int64]
    """Classes that occur and would be called otherwise."""
    as_other: NDArray[np.int64]
    """For each, samples predicted as the class that the other order makes right."""
    as_own: NDArray[np.int64]
    """For each, samples that are right now."""
    support: NDArray[np.int64]

    @property
    def gain(self) -> float:
        """Sum of the recalls that are gained."""
        return float(((self.as_other - self.as_own) / self.support).sum())

    @property
    def times(self) -> float:
        """The recalls under the other order over the present ones, summed; the present ones count at least one sample."""
        own = float((self.as_own / self.support).sum())
        return float((self.as_other / self.support).sum()) / max(own, 1.0 / float(self.support.sum()))

    def is_convincing(self, *, tried: int, times: float = TIMES_KNOWN, alpha: float = ALPHA) -> bool:
        """Large, beyond sampling noise after `tried` comparisons, and not the doing of a few of the classes.

        Noise is judged twice: by counts (exact sign test of right-under-the-other against right-now) and by recalls
        (normal, with one more count per class in the variance, which keeps it honest for a few samples).
        """
        if not len(self.moved) or self.gain / len(self.moved) < LEAST_GAIN or self.times < times:
            return False
        if not _nearly_all(self.as_other > self.as_own):
            return False
        level = math.log(alpha) - math.log(tried)
        deviation = math.sqrt(float(((self.as_other + self.as_own + 1) / self.support.astype(float) ** 2).sum()))
        if _log_normal_tail(self.gain / deviation) > level:
            return False
        return log_sign_test(int(self.as_other.sum()), int(self.as_own.sum())) <= level


def _nearly_all(holds: NDArray[np.bool_]) -> bool:
    return int(holds.sum()) >= SHARE * len(holds)


def evidence_for(matrix: NDArray[np.int64], columns: Columns) -> Evidence:
    """What a (K, K) confusion matrix says for the order `columns`."""
    support = matrix.sum(axis=1)
    moved = np.flatnonzero((columns != np.arange(len(columns))) & (support > 0))
    return Evidence(moved, matrix[moved, columns[moved]], matrix[moved, moved], support[moved])


def audit_class_order(scored: Scored) -> list[Finding]:
    """A known order, or the best of all, that would score much higher."""
    matrix, labels = scored.matrix(), scored.predictions.labels
    if len(labels) < 2 or not matrix.any():
        return []
    best = best_order(matrix)
    most = evidence_for(matrix, best).gain
    known = known_orders(labels, scored.stated_classes)
    fitting = [
        (evidence.gain, order)
        for order in known
        for evidence in [evidence_for(matrix, order.columns)]
        if evidence.is_convincing(tried=len(known)) and evidence.gain >= _AS_GOOD * most
    ]
    if fitting:
        return [_known(scored, max(fitting, key=lambda pair: pair[0])[1])]
    columns = np.arange(len(best))
    for cycle in cycles(best):
        part = np.arange(len(best))
        part[cycle] = best[cycle]
        evidence = evidence_for(matrix, part)
        # A cycle of one class that occurs only goes to a class that does not: nothing speaks against plain confusion.
        if len(evidence.moved) < 2 or not _nearly_all(evidence.as_other == matrix[evidence.moved].max(axis=1)):
            continue
        if evidence.is_convincing(tried=_num_cycles(len(best), len(cycle)), times=TIMES_UNKNOWN):
            columns[cycle] = best[cycle]
    return [_unknown(scored, columns)] if (columns != np.arange(len(best))).any() else []


def best_order(matrix: NDArray[np.int64]) -> Columns:
    """The order with the highest UAR; the present one where others are as good."""
    from scipy.optimize import linear_sum_assignment

    recalls = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    _, columns = linear_sum_assignment(recalls + 1e-9 * np.eye(len(recalls)), maximize=True)
    return np.asarray(columns, np.int64)


def cycles(columns: Columns) -> list[list[int]]:
    """Groups of classes that exchange their names, each a closed chain of two or more."""
    found, seen = [], set()
    for start in range(len(columns)):
        chain, place = [], start
        while place not in seen:
            seen.add(place)
            chain.append(place)
            place = int(columns[place])
        if len(chain) > 1:
            found.append(chain)
    return found


def _num_cycles(size: int, length: int) -> int:
    """How many cycles of that length there are among `size` classes: as many could have been the best by chance."""
    return math.perm(size, length) // length


def log_sign_test(more: int, fewer: int) -> float:
    """Logarithm of P(at least `more` of `more + fewer` fair coins), exact; 0 without any."""
    total = more + fewer
    if not total:
        return 0.0
    places = np.arange(more, total + 1)
    logs = np.array(
        [math.lgamma(total + 1) - math.lgamma(place + 1) - math.lgamma(total - place + 1) for place in places]
    )
    highest = logs.max()
    return float(min(highest + np.log(np.exp(logs - highest).sum()) - total * math.log(2), 0.0))


def _log_normal_tail(z: float) -> float:
    """Logarithm of P(Z >= z)."""
    if z < 30:
        return math.log(max(0.5 * math.erfc(z / math.sqrt(2)), 1e-300))
    return -z * z / 2


# --- in words ----------------------------------------------------------------------------------------------------------


def _scores(matrix: NDArray[np.int64], columns: Columns) -> str:
    """`UAR 61.2 instead of 8.4 and WAR 63.0 instead of 9.9`."""
    support = matrix.sum(axis=1)
    rows = np.arange(len(matrix))
    present = support > 0

    def uar_war(order: Columns) -> tuple[float, float]:
        hits = matrix[rows, order]
        return 100 * float((hits[present] / support[present]).mean()), 100 * float(hits.sum() / support.sum())

    (uar, war), (own_uar, own_war) = uar_war(columns), uar_war(rows)
    return f"UAR {uar:.1f} instead of {own_uar:.1f} and WAR {war:.1f} instead of {own_war:.1f}"


def _rows(matrix: NDArray[np.int64], labels: LabelSet, columns: Columns) -> str:
    """`true sad: 60 of 80 predicted as happy, 3 as sad; …`."""
    found = evidence_for(matrix, columns)
    listed = [
        f"true {labels.names[row]}: {other:,} of {support:,} predicted as {labels.names[int(columns[row])]}, {own:,} as "
        f"{labels.names[row]}"
        for row, other, own, support in list(
            zip(
                found.moved.tolist(),
                found.as_other.tolist(),
                found.as_own.tolist(),
                found.support.tolist(),
                strict=True,
            )
        )[:_LISTED]
    ]
    more = len(found.moved) - len(listed)
    return "; ".join(listed) + (f"; and {more} more" if more > 0 else "")


def _known(scored: Scored, order: KnownOrder) -> Finding:
    matrix, labels = scored.matrix(), scored.predictions.labels
    message = (
        f"another class order would score much higher: {_scores(matrix, order.columns)}. It fits that {order.story}: "
        f"{', '.join(order.names)} ({_rows(matrix, labels, order.columns)})"
    )
    if not order.shift:
        return Finding("error", "class-order", message, _advice(scored, order.columns))
    absent = [name for name, count in zip(labels.names, matrix.sum(axis=1), strict=True) if not count]
    message += f"; no sample is {', '.join(absent)}" if absent else ""
    base = "the label base is off by one: see whether the label file starts at 0 or at 1"
    return Finding("error", "label-base", message, f"{base}. {_advice(scored, order.columns)}")


def _unknown(scored: Scored, columns: Columns) -> Finding:
    matrix, labels = scored.matrix(), scored.predictions.labels
    groups = [
        f"{labels.names[cycle[0]]} and {labels.names[cycle[1]]} are swapped"
        if len(cycle) == 2
        else " is taken for ".join(labels.names[row] for row in [*cycle, cycle[0]])
        for cycle in cycles(columns)
    ]
    message = (
        f"another class order would score much higher: {_scores(matrix, columns)}. {'; '.join(groups)} "
        f"({_rows(matrix, labels, columns)})"
    )
    return Finding("error", "class-order", message, _advice(scored, columns))


def _advice(scored: Scored, columns: Columns) -> str:
    """What to say if it is the model, and if it is the labels: predictions alone cannot tell."""
    labels = scored.predictions.labels
    meant = np.argsort(columns)  # the class that each predicted class means
    outputs = [name for name in scored.stated_classes if name in labels] or list(labels.names)
    of_model = ",".join(labels.names[meant[label]] for label in labels.labels_of(outputs))
    of_file = ",".join(labels.names[column] for column in columns)
    return f"if it is the model: --input classes={of_model}; if it is the label file, its order is {of_file}"
