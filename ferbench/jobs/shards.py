"""Shards of predictions: reading all of them, what they must agree in, and what their own numbers say is missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.errors import DataError, PredictionsError
from ferbench.predictions import Predictions, read_predictions
from ferbench.sharding import share_of_name

MOST_NAMED = 5

SAME = (
    "manifest", "manifest_sha256", "recipe_id", "protocol", "input_spec", "views", "amp", "seed",
)  # fmt: skip
"""Provenance that shards must agree in, where any of them has it."""
SAME_MODEL = ("model", "model_sha256", "ensemble")
"""Provenance that is another for every fold's own model: `--mixed` lets it differ."""
_NOT_ASKED = ("fold", "model", "shard")
"""Of the question `asked`: what may differ between shards of one evaluation, or is compared by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One file."""

    path: Path
    predictions: Predictions


def read_shards(paths: Sequence[Path]) -> list[Shard]:
    """Read every shard. One PredictionsError names all that are truncated, missing or no predictions, files given twice,
    and, where there are any, what the others say is missing or doubled."""
    broken: list[str] = []
    unread: list[Path] = []
    shards: list[Shard] = []
    for path in paths:
        try:
            shards.append(Shard(path, read_predictions(path)))
        except DataError as error:
            unread.append(path)
            broken.append(error.message if str(path) in error.message else f"{path}: {error.message}")
    twice = [str(path) for path, count in Counter(path.resolve() for path in paths).items() if count > 1]
    broken += [f"{path}: given twice" for path in twice]
    if broken:
        only = list({shard.path.resolve(): shard for shard in shards}.values())
        more = [*doubled(only), *numbering_problems(only, unread=unread)]
        raise PredictionsError(
            f"nothing is merged, {len(broken)} shards cannot be used: {'; '.join([*broken, *more])}", reason="merge"
        )
    if not shards:
        raise PredictionsError("there is no shard to merge")
    return shards


# --- what must be the same ---------------------------------------------------------------------------------------------


def refuse_unlike(shards: Sequence[Shard], *, mixed: bool) -> None:
    """PredictionsError naming everything in which two shards differ and must not; `mixed` lets their models differ."""
    first, differing = shards[0], []
    for shard in shards[1:]:
        one, other = first.predictions, shard.predictions
        if one.labels.missing_from(other.labels) or other.labels.missing_from(one.labels):
            raise PredictionsError(
                f"nothing is merged: {first.path} has the classes {', '.join(one.labels.names)}, and {shard.path} "
                f"{', '.join(other.labels.names)}"
            )
        if one.hard != other.hard:
            raise PredictionsError(
                f"nothing is merged: {first.path} and {shard.path} differ, one has logits and the other only classes"
            )
        keys = SAME if mixed else (*SAME, *SAME_MODEL)
        facts = [(key, one.provenance.get(key), other.provenance.get(key)) for key in keys]
        facts += [
            (f"asked {key}", asked_of(one).get(key), asked_of(other).get(key))
            for key in sorted({*asked_of(one), *asked_of(other)} - set(_NOT_ASKED))
        ]
        differing += [
            f"{key} ({first.path}: {_short(left)}, {shard.path}: {_short(right)})"
            for key, left, right in facts
            if left != right
        ]
    if differing:
        models_only = all(text.startswith(SAME_MODEL) for text in differing)
        advice = "; different models, one per fold, are merged with --mixed" if models_only else ""
        shown = "; ".join(differing[:MOST_NAMED]) + ("; …" if len(differing) > MOST_NAMED else "")
        raise PredictionsError(f"nothing is merged, the shards differ in {shown}{advice}", reason="merge")


def asked_of(predictions: Predictions) -> Mapping[str, Any]:
    """The question that predictions answer; empty where it is not recorded."""
    asked = predictions.provenance.get("asked")
    return asked if isinstance(asked, dict) else {}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 80 else f"{text[:77]}…"


def number_of(shard: Shard) -> tuple[int, int, int | None] | None:
    """(index from 1, of how many, samples of the whole) of a shard that knows; None of others."""
    record = shard.predictions.provenance.get("shard")
    if not isinstance(record, dict):
        return None
    index, of, total = record.get("index"), record.get("of"), record.get("total")
    if not isinstance(index, int) or not isinstance(of, int) or not 1 <= index <= of:
        return None
    return index, of, total if isinstance(total, int) else None


def numbering_problems(shards: Sequence[Shard], unread: Sequence[Path] = ()) -> list[str]:
    """From the shards' own numbers: which is missing, doubled, or of another division; and too few rows in all.

    `unread` are shards that are there and cannot be read; the number that a file's name says is not missing too.
    """
    numbers = [(shard, number) for shard in shards if (number := number_of(shard)) is not None]
    if not numbers:
        return []
    counts = {of for _, (_, of, _) in numbers}
    if len(counts) > 1:
        return [f"the shards are of different divisions, {' and '.join(f'1 of {of}' for of in sorted(counts))}"]
    of = counts.pop()
    by_index: dict[int, list[str]] = {}
    for shard, (index, _, _) in numbers:
        by_index.setdefault(index, []).append(str(shard.path))
    problems = [
        f"shard {index} of {of} is there {len(places)} times: {', '.join(places)}"
        for index, places in sorted(by_index.items())
        if len(places) > 1
    ]
    named = {share.index for path in unread if (share := share_of_name(path.name)) is not None and share.of == of}
    gone = [index for index in range(1, of + 1) if index not in by_index and index not in named]
    if gone:
        shown = ", ".join(map(str, gone[:MOST_NAMED])) + (", …" if len(gone) > MOST_NAMED else "")
        problems.append(f"shard {shown} of {of} is missing")
    totals = {total for _, (_, _, total) in numbers if total is not None}
    rows = sum(len(shard.predictions) for shard in shards)
    if not problems and not unread and totals and totals != {rows}:
        problems.append(
            f"the shards hold {rows} samples, and their records say {' or '.join(map(str, sorted(totals)))}"
        )
    return problems


def doubled(shards: Sequence[Shard]) -> list[str]:
    """Which samples are in two shards, as a sentence for each pair of shards."""
    if len(set().union(*(shard.predictions.sample_ids for shard in shards))) == sum(
        len(shard.predictions) for shard in shards
    ):
        return []
    place: dict[str, Path] = {}
    pairs: dict[tuple[Path, Path], list[str]] = {}
    for shard in shards:
        for name in shard.predictions.sample_ids:
            if name in place:
                pairs.setdefault((place[name], shard.path), []).append(name)
            else:
                place[name] = shard.path
    return [
        f"{len(names)} samples are both in {one} and in {other}: {listed(names)}"
        for (one, other), names in pairs.items()
    ]


def listed(names: Sequence[str]) -> str:
    """The first few names, in quotes."""
    ordered = sorted(names)
    return ", ".join(map(repr, ordered[:MOST_NAMED])) + (", …" if len(ordered) > MOST_NAMED else "")
