"""Which runs answer the same question: one dataset under one protocol. And what in them still differs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ferbench.cards import Card, find_card
from ferbench.jobs.compare.runs import Run, with_folds_of

NO_FOLDS = "all"
"""The fold of samples whose file says none."""
_NOT_IDENTITY = {"unlabelled", "left_out", "crossing", "ungrouped", "selects", "validation"}
"""Keys of a protocol that do not decide who is tested in which fold."""
_POOLED_KINDS = {"leave-one-group-out", "leave-one-subject-out"}
"""Kinds whose folds lack classes, so that a mean over them would average over different class lists."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The runs of one dataset under one protocol."""

    dataset: str
    protocol: Mapping[str, Any]
    card: Card | None
    runs: tuple[Run, ...]
    num_folds: int
    """Folds of the protocol: those that it says or those that the runs have, whichever is more."""

    @property
    def protocol_name(self) -> str:
        """Name of the card's protocol; empty for folds of one's own."""
        return str(self.protocol.get("name", "")) if self.protocol.get("kind") == "published" else ""

    @property
    def title(self) -> str:
        """The protocol in a few words."""
        rule = self.protocol
        if not rule:
            return "protocol not recorded"
        folds = f", {self.num_folds} folds" if self.num_folds > 1 else ""
        if self.protocol_name:
            return f"{self.protocol_name} protocol{folds}"
        by = f" by {rule['group']}" if rule.get("group") else ""
        seed = f", seed {rule['seed']}" if rule.get("seed") is not None else ""
        return f"own {rule.get('kind', 'protocol')}{folds}{by}{seed}"

    def statistic(self, asked: str) -> str:
        """`mean_of_folds` or `pooled`: what was asked for, else what the protocol's papers do."""
        if self.num_folds < 2:
            return "pooled"
        if asked != "auto":
            return {"mean": "mean_of_folds", "pooled": "pooled"}[asked]
        rule = self.card.protocols.get(self.protocol_name, {}) if self.card else {}
        kinds = {self.protocol.get("kind"), self.protocol.get("rule")}
        return "pooled" if rule.get("headline") == "pooled" or kinds & _POOLED_KINDS else "mean_of_folds"


def group_runs(runs: Sequence[Run]) -> tuple[Group, ...]:
    """The groups by first appearance; within each, the runs as given.

    A run that says no protocol, as one of another tool may, joins the first group that tests all of its samples in the
    same folds with the same classes; so does one that names no dataset. One that says no folds either gets theirs.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    silent: list[Run] = []
    for run in runs:
        provenance = run.predictions.provenance
        if dataset_of(provenance) and protocol_of(provenance):
            found.setdefault(_key(provenance), []).append(run)
        else:
            silent.append(run)
    covered = {key: frozenset().union(*(run.coverage for run in members)) for key, members in found.items()}
    for run in silent:
        dataset = dataset_of(run.predictions.provenance)
        fitting = ((key, _fitted(run, known)) for key, known in covered.items() if dataset in ("", key[0]))
        key, joined = next(
            ((key, fitted) for key, fitted in fitting if fitted), (_key(run.predictions.provenance), run)
        )
        found.setdefault(key, []).append(joined)
        covered[key] = covered.get(key, frozenset()) | joined.coverage
    groups = [_group(sorted(members, key=lambda run: run.place), key[0]) for key, members in found.items()]
    return tuple(sorted(groups, key=lambda group: group.runs[0].place))


def _fitted(run: Run, known: frozenset[tuple[str, str, str]]) -> Run | None:
    """The run as one of those whose samples are `known`; None when it is not."""
    if run.coverage <= known:
        return run
    if set(run.predictions.folds) != {NO_FOLDS}:
        return None
    classes = {(sample, name) for sample, _, name in known}
    return with_folds_of(run, known) if {(sample, name) for sample, _, name in run.coverage} <= classes else None


def _group(runs: Sequence[Run], dataset: str) -> Group:
    # The first run that says its protocol speaks for those that do not.
    said = (protocol_of(run.predictions.provenance) for run in runs)
    protocol = next((each for each in said if each), {})
    there = len(set().union(*(run.predictions.folds for run in runs)))
    folds = protocol.get("folds")
    num_folds = max(folds if isinstance(folds, int) else 0, there)
    return Group(dataset or "unnamed dataset", protocol, find_card(dataset), tuple(runs), num_folds)


def protocol_of(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """The protocol that a file records; {} where it records none, or something else under that name."""
    protocol = provenance.get("protocol")
    return protocol if isinstance(protocol, dict) else {}


def dataset_of(provenance: Mapping[str, Any]) -> str:
    """Name of the dataset: of its card where the protocol says which, else of the manifest; empty where nothing says."""
    protocol = protocol_of(provenance)
    return str(provenance.get("dataset") or protocol.get("dataset") or provenance.get("manifest") or "")


def _key(provenance: Mapping[str, Any]) -> tuple[str, str]:
    protocol = protocol_of(provenance)
    identity = {key: value for key, value in protocol.items() if key not in _NOT_IDENTITY and value is not None}
    return dataset_of(provenance), json.dumps(identity, sort_keys=True, default=str)


def common_coverage(runs: Sequence[Run]) -> frozenset[tuple[str, str, str]]:
    """What most of the runs are over; of equally many, the larger, then the first. The others are not ranked with them."""
    coverages = [run.coverage for run in runs]
    count = Counter(coverages)
    return max(count, key=lambda each: (count[each], len(each), -coverages.index(each)))
