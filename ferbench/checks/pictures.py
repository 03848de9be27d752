"""`pictures`: the same picture, or nearly the same, on both sides of a split: an image, or the middle frame of a clip."""

from __future__ import annotations

import numpy as np

from ferbench.checks.context import Context, rest
from ferbench.checks.near import near_pairs
from ferbench.checks.phash import NEAR_LIKENESS, likeness
from ferbench.checks.rows import frame_codes
from ferbench.checks.sides import NONE, TEST, Codes, Sides, crossings
from ferbench.findings import Finding

_EXACT = "results on the test side are too good by what was learnt by heart; keep it on one side"
_NEAR = "look at both: a copy, or frames of one recording, belong on one side"


def check_pictures(context: Context) -> list[Finding]:
    """Exact duplicates are errors, near ones warnings. Flat pictures (black frames) are not compared."""
    rows = np.flatnonzero(context.probes.has_picture)
    if not len(rows):
        return []
    _, digests = np.unique(context.probes.digests[rows], return_inverse=True)
    hashes, groups = np.unique(context.probes.bits[rows], return_inverse=True)
    one, other, bits = near_pairs(hashes, context.options.phash_distance)
    # A hash is as near to itself as can be.
    own = np.arange(len(hashes))
    pairs = np.concatenate([own, one]), np.concatenate([own, other]), np.concatenate([np.zeros_like(own), bits])
    findings: list[Finding] = []
    for sides in context.sides:
        findings += _exact(context, sides, _spread(digests, rows, len(context.manifest)))
        findings += _near(context, sides, _spread(groups, rows, len(context.manifest)), pairs)
    return findings


def _spread(codes: Codes, rows: Codes, length: int) -> Codes:
    result = np.full(length, NONE, np.int64)
    result[rows] = codes.reshape(-1)
    return result


def _exact(context: Context, sides: Sides, codes: Codes) -> list[Finding]:
    found = crossings(codes, sides.part)
    # One row's own source on both sides is a leak of the file, and said as that.
    sources = frame_codes(context.manifest)
    found = found.where(sources[found.first] != sources[found.last])
    found = found.where(np.argsort(found.last, kind="stable"))
    in_test = np.full(len(found), sides.kind == "fold") | (sides.part[found.last] == TEST)
    most = context.options.per_rule
    findings = []
    for severity, some in (("error", found.where(in_test)), ("warning", found.where(~in_test))):
        for first, last, size in zip(some.first[:most], some.last[:most], some.sizes[:most], strict=True):
            where = sides.pair(int(first), int(last), context.sample_id(first), context.sample_id(last))
            message = f"the same picture is {where}"
            findings.append(
                Finding(severity, "leak-picture", message, _EXACT, sample=context.sample_id(last), count=int(size))
            )
        findings += rest(severity, "leak-picture", len(some) - most, "pictures", _EXACT)
    return findings


def _near(context: Context, sides: Sides, groups: Codes, pairs: tuple[Codes, Codes, Codes]) -> list[Finding]:
    one, other, bits = pairs
    first, last = _ends(groups, sides, int(pairs[0].max()) + 1)
    there = (first[one] != NONE) & (first[other] != NONE)
    one, other, bits = one[there], other[there], bits[there]
    left, right = first[one], last[other]
    # Where those two are on one side, the other ends may not be.
    same = sides.part[left] == sides.part[right]
    left, right = np.where(same, last[one], left), np.where(same, first[other], right)
    probes = context.probes
    cross = (sides.part[left] != sides.part[right]) & (probes.digests[left] != probes.digests[right])
    left, right, bits = left[cross], right[cross], bits[cross]
    alike = likeness(probes.shapes[left], probes.shapes[right]) >= NEAR_LIKENESS
    left, right, bits = left[alike], right[alike], bits[alike]
    order = np.argsort(bits, kind="stable")
    most = context.options.per_rule
    findings = []
    for row in order[:most]:
        train, test = sorted((int(left[row]), int(right[row])), key=lambda each: int(sides.part[each]))
        where = sides.pair(train, test, context.sample_id(train), context.sample_id(test))
        message = f"nearly the same picture, {bits[row]} of 64 bits apart, is {where}"
        findings.append(Finding("warning", "near-duplicate", message, _NEAR, sample=context.sample_id(test)))
    return findings + rest("warning", "near-duplicate", len(order) - most, "pairs", _NEAR)


def _ends(groups: Codes, sides: Sides, size: int) -> tuple[Codes, Codes]:
    """For each group a row on its first and one on its last side; NONE for a group on no side."""
    first, last = np.full(size, NONE, np.int64), np.full(size, NONE, np.int64)
    rows = np.flatnonzero((groups != NONE) & (sides.part != NONE))
    rows = rows[np.lexsort((rows, sides.part[rows]))]
    last[groups[rows]] = rows  # the last assignment stays
    first[groups[rows[::-1]]] = rows[::-1]
    return first, last
