"""`counts`: class counts, class order and label base, against the card of the dataset."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ferbench.cards import PublishedCount, count_part, verify_counts
from ferbench.checks.context import Context
from ferbench.findings import Finding

_PARTS = {"fold", "train-of", "split"}


def no_counts(context: Context) -> str:
    """Why there is nothing to compare with."""
    if context.card is None:
        return "the manifest does not say which dataset with a card it is of"
    if not context.card.counts:
        return f"the card of {context.card.name} has no published counts"
    if context.card.labels.names != context.manifest.labels.names:
        return f"its classes are not those of the card of {context.card.name} in their order"
    return ""


def check_counts(context: Context) -> list[Finding]:
    """What differs from the published counts. A count shifted by one class is a label base, and is said as one."""
    facts = context.manifest.provenance.get("facts") or {}
    findings: list[Finding] = []
    for count in _comparable(context):
        found = verify_counts(context.manifest, [count], facts=facts)
        findings += [_label_base(context, count, finding) or finding for finding in found]
    return findings


def _comparable(context: Context) -> list[PublishedCount]:
    """Counts of the whole; those of folds and splits only while the manifest has the dataset's own."""
    assert context.card is not None
    protocol = context.manifest.protocol
    published = not protocol or protocol.get("kind") == "published"
    own = context.card.protocols.get(str(protocol.get("name", "")), {})
    as_counted = published and not {"merge", "parts"} & own.keys()
    has_carved = bool(protocol.get("validation"))
    return [
        count
        for count in context.card.counts
        if not _PARTS & count.where.keys()
        or (as_counted and not (has_carved and count.where.get("split") in ("train", "validation")))
    ]


def _label_base(context: Context, count: PublishedCount, finding: Finding) -> Finding | None:
    found = count_part(context.manifest, count.where)
    if found is None or count.per_class is None:
        return None
    shift = label_shift(found, np.array(count.per_class))
    if shift == 0:
        return None
    names = context.manifest.labels.names
    label = next(k for k in range(len(names)) if 0 <= k - shift < len(names) and found[k] != count.per_class[k])
    how = "a 1-based list read as 0-based" if shift > 0 else "a 0-based list read as 1-based"
    message = (
        f"{count.part}: the class counts are the published ones shifted by one class: {names[label]!r} has the "
        f"{found[label]:,} of {names[label - shift]!r}; labels are one too {'high' if shift > 0 else 'low'}: {how}"
    )
    advice = "read the list again with the right base; every label is wrong"
    return dataclasses.replace(finding, rule="label-base", message=message, advice=advice)


def label_shift(found: NDArray[np.int64], published: NDArray[np.int64]) -> int:
    """1 when every label is one too high, -1 when one too low, else 0. Equal counts everywhere tell nothing."""
    if len(published) < 3 or np.array_equal(found, published):
        return 0
    for shift, ours, theirs in ((1, found[1:], published[:-1]), (-1, found[:-1], published[1:])):
        if np.array_equal(ours, theirs) and len(np.unique(theirs)) > 1:
            return shift
    return 0
