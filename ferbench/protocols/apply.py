"""A card's protocol applied to a manifest: rebuilt, read, and one verified against the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.cards import Card, card_of, verify_counts
from ferbench.errors import DataError, ProtocolError, UsageError
from ferbench.findings import Finding
from ferbench.manifest import Manifest
from ferbench.protocol import crossing_groups, fold_numbers, with_folds
from ferbench.protocols.rules import RULES, Rows
from ferbench.splitting import SplitOptions, labelled_rows, make_splits


@dataclass(frozen=True, slots=True)
class ProtocolResult:
    """The manifest with its folds or split, and what differs from what is published."""

    manifest: Manifest
    findings: tuple[Finding, ...]


def protocol_names(card: Card) -> str:
    """The card's protocols, for messages."""
    return ", ".join(card.protocols) or "none"


def apply_protocol(manifest: Manifest, name: str, *, seed: int = 0, rebuild: bool = False) -> ProtocolResult:
    """Protocol `name` of the manifest's dataset; `official` is the card's first.

    Folds that the dataset distributes win over the rebuilt ones, unless `rebuild`, since a copy that lacks samples shifts
    the rule's blocks; where both are there and differ, that is a finding. Raises UsageError for a manifest without a card
    or an unknown protocol, ProtocolError when the rule cannot be applied.
    """
    card = card_of(manifest)
    if card is None:
        raise UsageError(
            f"manifest {manifest.name!r} does not say which dataset it is of, so it has no published protocol; index the "
            "dataset with `ferbench index`, or make folds with --kind"
        )
    chosen = next(iter(card.protocols), "") if name == "official" and name not in card.protocols else name
    if chosen not in card.protocols:
        raise UsageError(f"{card.name} has no protocol {name!r}; its protocols: {protocol_names(card)}")
    arguments = card.protocols[chosen]
    rule = str(arguments.get("rule"))
    record: dict[str, Any] = {
        "kind": "published", "dataset": card.name, "name": chosen, "rule": rule, "title": arguments.get("title", ""),
        "method": arguments.get("title", rule), "group": None, "seed": None, "ungrouped": 0, "validation": None,
    }  # fmt: skip
    findings: list[Finding] = []
    if rule in RULES:
        result, found = _rebuilt(manifest, arguments, rebuild=rebuild)
        findings += found
    elif rule == "distributed":
        result = _distributed(manifest, card, arguments)
    elif rule in ("group-k-fold", "leave-one-subject-out"):
        kind = "k-fold" if rule == "group-k-fold" else "leave-one-group-out"
        options = SplitOptions(kind, int(arguments.get("folds", 5)), str(arguments.get("group", "subject")), seed=seed)
        result = make_splits(manifest, options)
        record |= {key: result.protocol[key] for key in ("group", "seed", "ungrouped", "fold_names")}
    else:
        raise DataError(f"{card.folder / 'card.toml'}: protocol {chosen!r} has the unknown rule {rule!r}")
    record |= _facts_of(result)
    facts = manifest.provenance.get("facts", {})
    if not arguments.get("merge"):
        findings += verify_counts(result, card.counts, facts=facts)
    return ProtocolResult(result.replace(protocol=record), tuple(findings))


def _facts_of(manifest: Manifest) -> dict[str, Any]:
    """What the record says of the result: how many folds, who is in none, which part selects, which groups cross."""
    has_folds = manifest.has_values("fold")
    column = manifest.table.column("fold" if has_folds else "split")
    parts = set(pc.unique(manifest.table.column("split")).to_pylist())
    facts: dict[str, Any] = {
        "unlabelled": manifest.table.column("label").null_count,
        "left_out": int(pc.sum(pc.and_(pc.is_null(column), pc.is_valid(manifest.table.column("label")))).as_py() or 0),
        # What no part is set aside for is, in published code, selected on the test part; the record says it plainly.
        "selects": "validation" if "validation" in parts else "none",
        "crossing": {
            each: len(crossing_groups(manifest, each)) for each in ("subject", "group") if manifest.has_values(each)
        },
    }
    if has_folds:
        facts["folds"] = int(fold_numbers(manifest).max())
    return facts


def _rebuilt(manifest: Manifest, arguments: Mapping[str, Any], *, rebuild: bool) -> tuple[Manifest, list[Finding]]:
    rows = _rows_of_protocol(manifest, arguments)
    ids = manifest.table.column("sample_id").take(pa.array(rows)).to_pylist()
    labels = manifest.table.column("label").take(pa.array(rows)).to_numpy().astype(np.int64)
    subjects = manifest.table.column("subject").take(pa.array(rows)).to_pylist()
    numbers = RULES[str(arguments["rule"])](Rows(manifest.name, ids, labels, subjects), arguments)
    result = with_folds(manifest, rows, numbers)
    if rebuild or not manifest.has_values("fold"):
        return result, []
    given, made = fold_numbers(manifest), fold_numbers(result)
    differing = np.flatnonzero(given != made)
    if not len(differing):
        return result, []
    first = int(differing[0])
    sample = manifest.table.column("sample_id")[first].as_py()
    finding = Finding(
        "error",
        "fold-lists",
        f"{len(differing):,} samples are in another fold in this copy's lists than the published rule puts them, first "
        f"{sample!r}: list {given[first] or 'none'}, rule {made[first] or 'none'}",
        "the lists are kept; if they are not the published ones, use --rebuild",
        sample=sample,
        count=len(differing),
    )
    return with_folds(manifest, np.arange(len(manifest)), given), [finding]


def _rows_of_protocol(manifest: Manifest, arguments: Mapping[str, Any]) -> NDArray[np.int64]:
    """The labelled rows; or, where only their number is the protocol's `samples`, those of them whose media are there.

    DFEW labels 12,059 clips, and its folds hold the 11,697 that survived the authors' face cropping.
    """
    _, rows = labelled_rows(manifest)
    if not len(rows):
        raise ProtocolError(f"manifest {manifest.name!r} has no labelled samples to split; index it with labels first")
    failed = pc.fill_null(pc.equal(manifest.table.column("status"), "failed"), False).to_numpy()
    there = rows[~failed[rows]]
    return there if len(there) == arguments.get("samples") != len(rows) else rows


def _distributed(manifest: Manifest, card: Card, arguments: Mapping[str, Any]) -> Manifest:
    """The columns as the reader found them; `merge = {validation = "train"}` joins parts.

    Samples without a label are in no part: a withheld test set can be neither trained on nor scored.
    """
    unlabelled = pc.is_null(manifest.table.column("label"))
    if manifest.has_values("fold"):
        numbers = np.where(unlabelled.to_numpy(), 0, fold_numbers(manifest))
        return with_folds(manifest, np.arange(len(manifest)), numbers)
    if not manifest.has_values("split"):
        raise ProtocolError(
            f"manifest {manifest.name!r} has neither folds nor a split, and {card.name} distributes them: index the copy "
            "with its list files, or make folds with --kind"
        )
    split = pc.if_else(unlabelled, pa.scalar(None, pa.string()), manifest.table.column("split"))
    for old, new in dict(arguments.get("merge", {})).items():
        split = pc.if_else(pc.fill_null(pc.equal(split, old), False), new, split)
    return manifest.with_columns(split=split, fold=pa.nulls(len(manifest), pa.int32()))
