"""`merge`: shards of predictions as one file, with the proof that every sample is in it once. Nothing is scored.

The result is the same, byte for byte, for any number of shards in any order: rows in the order of the manifest where one is
known, by sample id otherwise; classes in the manifest's order, else in that of most shards.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ferbench import remote
from ferbench.dialects import read_any_manifest
from ferbench.errors import PredictionsError
from ferbench.findings import Finding
from ferbench.jobs.shards import (
    MOST_NAMED,
    Shard,
    asked_of,
    doubled,
    listed,
    number_of,
    numbering_problems,
    read_shards,
    refuse_unlike,
)
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest
from ferbench.predictions import Predictions, write_predictions
from ferbench.score_files import Expected, expected_of_manifest
from ferbench.storage import sha256_of_file

_NEVER_SHARED = ("asked", "audits", "job", "models", "notices", "profile", "shard", "unlabelled")
"""Provenance that is put together by itself, or means nothing for the whole. Of the rest, what all shards say is kept."""


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """What is merged, and what may differ."""

    mixed: bool = False
    """Shards may be of different models: a model per fold."""
    split: str = ""
    fold: str = ""
    """Of the manifest: what the shards together should cover. Empty is its whole test part."""


@dataclass(frozen=True, slots=True, eq=False)
class MergeResult:
    """What came of it."""

    predictions: Predictions
    num_shards: int
    checked_against: str
    """What said which samples there should be; empty where nothing did."""
    findings: tuple[Finding, ...] = field(default=())


def merge(paths: Sequence[Path], out: Path, options: MergeOptions, *, manifest: Path | None = None) -> MergeResult:
    """Read the shards, merge them and write `out`. Raises what `merge_shards` raises; nothing is written then."""
    shards = read_shards(paths)
    result = merge_shards(shards, options, manifest=read_any_manifest(manifest) if manifest else None)
    return write_merged(shards, result, out, manifest=manifest)


def write_merged(
    shards: Sequence[Shard],
    result: MergeResult,
    out: Path,
    *,
    manifest: Path | None = None,
    more: Mapping[str, Any] | None = None,
) -> MergeResult:
    """Write `out`, with `more` in its provenance and the place of the manifest relative to it; what was written."""
    provenance = {**result.predictions.provenance, **(more or {})}
    recorded = provenance.get("manifest_sha256")
    place = recorded_place(shards)
    if manifest is not None and recorded in (None, sha256_of_file(manifest)):
        place = manifest
    if place is not None:
        provenance["manifest_path"] = remote.recorded(place.resolve(), out.parent.resolve())
        provenance["manifest_sha256"] = recorded or sha256_of_file(place)
    merged = dataclasses.replace(result.predictions, provenance=provenance)
    write_predictions(merged, out)
    return dataclasses.replace(result, predictions=merged)


def merge_shards(shards: Sequence[Shard], options: MergeOptions, *, manifest: Manifest | None = None) -> MergeResult:
    """One Predictions of all shards, every sample once.

    Which samples there should be says `manifest`, else the manifest that the shards record, where it still is as it was,
    else the shards' own `shard` record. Raises PredictionsError naming what is missing, doubled or unknown, a label that
    is not the manifest's, and the provenance in which shards differ.
    """
    shards = sorted(shards, key=lambda shard: (min(shard.predictions.sample_ids, default=""), str(shard.path)))
    refuse_unlike(shards, mixed=options.mixed)
    expected, against = _expected(shards, options, manifest)
    problems = [*doubled(shards), *numbering_problems(shards)]
    there = {name for shard in shards for name in shard.predictions.sample_ids}
    order = sorted(there)
    if expected is not None:
        wanted = [name for name, tested in zip(expected.ids.to_pylist(), expected.tested, strict=True) if tested]
        problems += _coverage(wanted, there, expected.name)
        order = wanted
    if problems:
        raise PredictionsError(f"nothing is merged: {'; '.join(problems)}", reason="merge")
    merged = _joined(shards, order, _labels(shards, expected))
    if expected is not None:
        _refuse_other_targets(merged, expected)
    findings = []
    if not against:
        findings.append(
            Finding(
                "warning", "coverage", "nothing says which samples there should be: a shard that is missing would not show",
                "give --manifest",
            )
        )  # fmt: skip
    provenance = {
        **merged.provenance,
        "merged": {"checked_against": against, "mixed": options.mixed},
        "audits": _united(shards, "audits") + [finding.as_dict() for finding in findings],
    }
    return MergeResult(dataclasses.replace(merged, provenance=provenance), len(shards), against, tuple(findings))


# --- who should be there -----------------------------------------------------------------------------------------------


def _expected(shards: Sequence[Shard], options: MergeOptions, manifest: Manifest | None) -> tuple[Expected | None, str]:
    split = options.split or str(asked_of(shards[0].predictions).get("split") or "")
    if manifest is not None:
        return expected_of_manifest(manifest, split=split, fold=options.fold), f"manifest {manifest.name!r}"
    recorded = _recorded_manifest(shards)
    numbered = all(number_of(shard) for shard in shards)
    # Parts of one run were all asked the same; files of one fold each are together more than any of them was asked.
    limit = asked_of(shards[0].predictions).get("limit") if numbered else None
    fold = options.fold or (str(asked_of(shards[0].predictions).get("fold") or "") if numbered else "")
    if recorded is not None and (numbered or not any(asked_of(shard.predictions).get("limit") for shard in shards)):
        found = expected_of_manifest(recorded, split=split, fold=fold)
        return _first_tested(found, limit), f"the recorded manifest {recorded.name!r}"
    return None, "the shards' own numbers" if numbered else ""


def _first_tested(expected: Expected, limit: Any) -> Expected:
    """With only the first `limit` samples of the test part in it, as `--limit` takes them."""
    if not isinstance(limit, int):
        return expected
    places = [place for place, fold in enumerate(expected.folds) if fold is not None][:limit]
    return dataclasses.replace(
        expected, folds=(*expected.folds[: places[-1] + 1], *(None,) * (len(expected.folds) - places[-1] - 1))
    )


def _recorded_manifest(shards: Sequence[Shard]) -> Manifest | None:
    """The manifest that all shards record, where one of them still finds it unchanged."""
    place = recorded_place(shards)
    return read_any_manifest(place) if place is not None else None


def recorded_place(shards: Sequence[Shard]) -> Path | None:
    """Where the manifest that all shards record still is as it was; None where it is not."""
    digests = {shard.predictions.provenance.get("manifest_sha256") for shard in shards}
    if len(digests) != 1 or None in digests:
        return None
    for shard in sorted(shards, key=lambda shard: str(shard.path)):
        place = remote.meant(str(shard.predictions.provenance.get("manifest_path", "")), shard.path.parent)
        if remote.has_file(place) and sha256_of_file(place) in digests:
            return place
    return None


def _coverage(wanted: Sequence[str], there: set[str], source: str) -> list[str]:
    missing = [name for name in wanted if name not in there]
    unknown = sorted(there.difference(wanted))
    problems = []
    if missing:
        problems.append(f"{len(missing)} of {len(wanted)} samples of {source} are in no shard: {listed(missing)}")
    if unknown:
        problems.append(f"{len(unknown)} samples are not in the test part of {source}: {listed(unknown)}")
    return problems


# --- joining -----------------------------------------------------------------------------------------------------------


def _labels(shards: Sequence[Shard], expected: Expected | None) -> LabelSet:
    """The manifest's classes first, in its order and spelling; else those of most shards, the first by name on a tie."""
    counts = Counter(shard.predictions.labels.names for shard in shards)
    usual = LabelSet(min(counts, key=lambda names: (-counts[names], names)))
    return expected.labels.united_with(usual) if expected is not None else usual


def _joined(shards: Sequence[Shard], order: Sequence[str], labels: LabelSet) -> Predictions:
    parts = [shard.predictions for shard in shards]
    names = [name for part in parts for name in part.sample_ids]
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of[name] for name in order], np.int64)
    targets = np.concatenate([_renumbered(part, labels) for part in parts])[rows]
    logits = np.concatenate([_reordered(part, labels) for part in parts])[rows]
    attributes = list(parts[0].attributes)
    if any(list(part.attributes) != attributes for part in parts):
        attributes = sorted({name for part in parts for name in part.attributes})
    return Predictions(
        sample_ids=tuple(order),
        targets=targets,
        logits=logits,
        folds=_taken([fold for part in parts for fold in part.folds], rows),
        errors=_taken([error for part in parts for error in part.errors], rows),
        labels=labels,
        attributes={
            name: _taken([value for part in parts for value in part.attributes.get(name, (None,) * len(part))], rows)
            for name in attributes
        },
        hard=parts[0].hard,
        provenance=_shared_provenance(shards),
    )


def _taken(values: Sequence[Any], rows: np.ndarray) -> tuple[Any, ...]:
    return tuple(values[row] for row in rows.tolist())


def _renumbered(part: Predictions, labels: LabelSet) -> np.ndarray:
    mapping = np.array([-1 if label is None else label for label in part.labels.mapping_to(labels)], np.int64)
    return mapping[part.targets]


def _reordered(part: Predictions, labels: LabelSet) -> np.ndarray:
    """(N, K) logits by name; a class that only the manifest has can never be predicted."""
    logits = np.full((len(part), len(labels)), 0 if part.hard else -np.inf, np.float32)
    for column, label in enumerate(part.labels.mapping_to(labels)):
        logits[:, label] = part.logits[:, column]
    logits[np.isnan(part.logits).any(axis=1)] = np.nan
    return logits


def _shared_provenance(shards: Sequence[Shard]) -> dict[str, Any]:
    """What all shards say; notices, models and the question put together, counts of unlabelled samples added up."""
    every = [shard.predictions.provenance for shard in shards]
    first = every[0]
    shared = {
        key: value
        for key, value in sorted(first.items())
        if key not in _NEVER_SHARED and all(key in other and other[key] == value for other in every[1:])
    }
    models = sorted({str(provenance["model"]) for provenance in every if provenance.get("model")})
    if "model" not in shared and models:
        shared["model"] = " + ".join(models) if len(models) <= MOST_NAMED else f"{models[0]} and {len(models) - 1} more"
    asked = [asked_of(shard.predictions) for shard in shards]
    shared["asked"] = {
        key: value
        for key, value in sorted(asked[0].items())
        if key != "model" and all(other.get(key, "") == value for other in asked[1:])
    } | {"model": shared.get("model", "")}
    shared["models"] = _united_models(shards)
    shared["notices"] = _united(shards, "notices")
    shared["unlabelled"] = sum(
        count for provenance in every if isinstance(count := provenance.get("unlabelled", 0), int)
    )
    return shared


def _united_models(shards: Sequence[Shard]) -> list[Any]:
    """Every model once; one model of several folds is a model of no fold in particular."""
    said = [shard.predictions.provenance.get("models") for shard in shards]
    if said[0] and all(number_of(shard) for shard in shards) and all(each == said[0] for each in said):
        return list(said[0])  # parts of one run, in the run's order
    apart = _united_entries([_models(shard) for shard in shards])
    if not all(isinstance(entry, dict) for entry in apart):
        return apart
    alike = _united_entries([[{**entry, "fold": None} for entry in apart if "fold" in entry]])
    return alike if len(alike) == 1 and len(apart) > 1 else apart


def _models(shard: Shard) -> list[Any]:
    """The models of a shard, with its fold where it has one fold and they do not say."""
    folds = set(shard.predictions.folds)
    entries = shard.predictions.provenance.get("models")
    entries = entries if isinstance(entries, list) else []
    return [
        {**entry, "fold": next(iter(folds))} if isinstance(entry, dict) and "fold" in entry and not entry["fold"]
        and len(folds) == 1 and folds != {"all"} else entry
        for entry in entries
    ]  # fmt: skip


def _united(shards: Sequence[Shard], key: str) -> list[Any]:
    """Every entry of a list in the provenance once."""
    return _united_entries([shard.predictions.provenance.get(key) or () for shard in shards])


def _united_entries(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """Every entry once, in an order that the order of the lists does not change: theirs, where they are all the same or
    only one has any."""
    distinct = {json.dumps(list(each), sort_keys=True, default=str): each for each in lists if len(each)}
    if len(distinct) == 1:
        (only,) = distinct.values()
        return list({json.dumps(entry, sort_keys=True, default=str): entry for entry in only}.values())
    entries = {json.dumps(entry, sort_keys=True, default=str): entry for each in lists for entry in each}
    return [entries[text] for text in sorted(entries)]


def _refuse_other_targets(merged: Predictions, expected: Expected) -> None:
    tested = expected.tested
    targets = expected.targets[tested]
    wrong = np.flatnonzero(merged.targets != targets)
    folds = [fold for fold, is_tested in zip(expected.folds, tested, strict=True) if is_tested]
    elsewhere = [row for row, (one, other) in enumerate(zip(merged.folds, folds, strict=True)) if one != other]
    if len(wrong):
        row, names = int(wrong[0]), merged.labels.names
        raise PredictionsError(
            f"nothing is merged: {len(wrong)} labels differ from {expected.name}, first {merged.sample_ids[row]!r}, "
            f"{names[targets[row]]} there and {names[merged.targets[row]]} here",
            reason="target-mismatch",
        )
    if elsewhere:
        row = elsewhere[0]
        raise PredictionsError(
            f"nothing is merged: {len(elsewhere)} samples are in another fold of {expected.name}, first "
            f"{merged.sample_ids[row]!r}, {folds[row]} there and {merged.folds[row]} here",
            reason="merge",
        )
