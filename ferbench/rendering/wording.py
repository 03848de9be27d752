"""How values are written for people: percent, elided names, text from data made harmless. The same words everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ferbench.intervals import Interval, IntervalTable
from ferbench.metrics import METRICS, PROBABILITY_METRICS
from ferbench.report import Report

VIEW_NAMES = {"detected": "scored samples", "all": "all samples"}
"""What the two views of a confusion matrix are called in tables."""


def percent(value: float | None) -> str:
    """`45.67` for 0.4567; an en dash where the value is undefined. The unit is said by the table."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def measured(value: float | None, unit: str) -> str:
    """A metric as its unit is printed: `45.67` for 0.4567 of percent, `0.457` of plain, an infinity sign for infinity."""
    if value is not None and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if unit == "percent" or value is None or math.isnan(value):
        return percent(value)
    return f"{value:.3f}".replace("-", "−")


def bracketed(interval: Interval | None, unit: str) -> str:
    """`[45.67, 48.90]` in the unit of the metric; an en dash where it is undefined."""
    if interval is None or math.isnan(interval.low):
        return "–"
    return f"[{measured(interval.low, unit)}, {measured(interval.high, unit)}]"


def units_of(table: IntervalTable) -> str:
    """What intervals were drawn over, in the plural: `samples`, `subjects`, `sources`."""
    return plain(table.unit.removesuffix("_id").replace("_", " ")) + "s"


def level_of(table: IntervalTable) -> str:
    """`95%`."""
    return f"{100 * table.level:g}%"


def distinct_metrics(unit: str | None = None) -> dict[str, str]:
    """Key -> title of the metrics of a unit, each number once: `WAR (accuracy)` where two names have one definition."""
    titles: dict[str, list[str]] = {}
    keys: dict[object, str] = {}
    for key, row in METRICS.items():
        if unit in (None, row.unit):
            titles.setdefault(keys.setdefault(row.function, key), []).append(row.title)
    return {key: first + (f" ({', '.join(others)})" if others else "") for key, (first, *others) in titles.items()}


def without_probabilities(report: Report) -> str | None:
    """The sentence that stands in place of the scores of probabilities where there are none."""
    if report.calibration is not None:
        return None
    names = ", ".join(row.title for row in PROBABILITY_METRICS.values())
    if not report.num_scored:
        return f"Nothing was scored, so there are no {names} and no calibration curve."
    return f"Only the predicted classes are known, not their probabilities: {names} and the calibration curve are left out."


def counted(count: int, noun: str, nouns: str = "") -> str:
    """`1 sample`, `1,234 samples`; `nouns` is the plural where it is not the noun with an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {nouns or noun + 's'}"


def shown_views(report: Report) -> tuple[str, ...]:
    """The views worth a row: both differ only when some sample has no prediction."""
    return ("detected", "all") if report.num_scored < report.num_samples else ("detected",)


def absent_note(report: Report) -> str | None:
    """The sentence about classes without samples, or None."""
    if not report.absent_classes:
        return None
    return f"Absent classes, left out of the averages: {', '.join(plain(name) for name in report.absent_classes)}"


def plain(text: str) -> str:
    """One line without control or direction characters: those are written as escapes, `\\x1b`.

    Ids and messages come from other people's files; in a terminal an escape sequence could rewrite what was printed.
    """
    return text if text.isprintable() else "".join(_harmless(character) for character in text)


def _harmless(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\t\n\r" else character.encode("unicode_escape").decode()


def elided(text: str, most: int) -> str:
    """At most `most` characters; the middle goes, because ids differ at their ends."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def abbreviations(names: Sequence[str], letters: int) -> list[str]:
    """The first letters of each part of each name, `HapSur` for `Happily_Surprised`; more where two would be the same."""
    parts = [plain(name).replace("_", " ").replace("-", " ").split() for name in names]
    lengths = [letters] * len(names)
    while True:
        short = ["".join(part[:length] for part in row) for row, length in zip(parts, lengths, strict=True)]
        longer = [
            length + 1 if short.count(name) > 1 and length < max(map(len, row)) else length
            for name, row, length in zip(short, parts, lengths, strict=True)
        ]
        if longer == lengths:
            return short
        lengths = longer
