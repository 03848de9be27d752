"""A run: one predictions file under a name. Which file a user's words mean, and what the runs are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ferbench import remote
from ferbench.errors import PredictionsError, UsageError
from ferbench.jobs.read_predictions import read_any_predictions
from ferbench.labels import canonical_name
from ferbench.predictions import Predictions
from ferbench.storage import sha256_of_file

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Predictions and what they are called."""

    place: int
    """Of the run on the command line."""
    label: str
    path: Path
    predictions: Predictions
    sha256: str
    """Of the file."""
    named: bool
    """The user chose the label."""
    coverage: frozenset[tuple[str, str, str]]
    """(sample_id, fold, class) of every sample, with or without a prediction: what the numbers are over."""


def read_runs(texts: Sequence[str]) -> tuple[Run, ...]:
    """The runs that a command line names, in its order: `FOLDER`, `FILE`, `LABEL=FOLDER` or `LABEL=FILE`.

    A folder holds `predictions.parquet`; a file may be another tool's that has the labels in it, a CSV of path, label and
    class for one.

    Raises UsageError for a place that is not there or named twice, PredictionsError for a file that cannot be scored.
    """
    if not texts:
        raise UsageError("say which runs: ferbench compare runs/a runs/b; a run is a folder with predictions.parquet")
    runs = [_read(text, number) for number, text in enumerate(texts)]
    twice = [str(path) for path, count in Counter(run.path.resolve() for run in runs).items() if count > 1]
    if twice:
        raise UsageError(f"{twice[0]} is named twice; a run compared with itself says nothing")
    return tuple(runs)


def _read(text: str, number: int) -> Run:
    label, place = _split(text)
    is_folder = remote.is_folder(place)
    path = place / PREDICTIONS if is_folder else place
    if not remote.has_file(path):
        what = f"{place} holds no {PREDICTIONS}" if is_folder else f"{place}: no such run"
        raise UsageError(f"{what}; give a folder that `ferbench evaluate` or `ferbench score` wrote, or a file")
    # Other tools' files say no protocol and no dataset: `group_runs` finds the runs that they belong to.
    predictions = read_any_predictions([path]).predictions
    if not len(predictions):
        raise PredictionsError(f"{path}: there are no predictions to score")
    return Run(
        number,
        label or str(predictions.provenance.get("model") or place.resolve().stem),
        path,
        predictions,
        sha256_of_file(path),
        named=bool(label),
        coverage=coverage_of(predictions),
    )


def with_folds_of(run: Run, known: frozenset[tuple[str, str, str]]) -> Run:
    """A run whose file says no folds, with those of `known`, in which each of its samples is."""
    fold_of = {sample: fold for sample, fold, _ in known}
    folds = tuple(fold_of[sample] for sample in run.predictions.sample_ids)
    predictions = replace(run.predictions, folds=folds)
    return replace(run, predictions=predictions, coverage=coverage_of(predictions))


def coverage_of(predictions: Predictions) -> frozenset[tuple[str, str, str]]:
    """What a run's numbers are over; classes in their canonical spelling."""
    names = [canonical_name(name) for name in predictions.labels.names]
    classes = [names[target] for target in predictions.targets.tolist()]
    return frozenset(zip(predictions.sample_ids, predictions.folds, classes, strict=True))


def _split(text: str) -> tuple[str, Path]:
    """(label, place) of `LABEL=PLACE`; a place may have a = in its name."""
    if remote.is_url(text):
        return "", remote.path_of(text)
    if Path(text).exists() or "=" not in text:
        return "", Path(text)
    # The first = whose right side is there; a label, too, may have one in it.
    splits = [(text[:place].strip(), text[place + 1 :]) for place, letter in enumerate(text) if letter == "="]
    label, place = next((split for split in splits if split[1] and _is_there(split[1])), splits[0])
    if not label or not place:
        raise UsageError(f"{text!r}: write LABEL=PATH, such as ours=runs/ours")
    return label, remote.path_of(place)


def _is_there(place: str) -> bool:
    return remote.exists(remote.path_of(place))


def distinct(groups: Iterable[Sequence[Run]]) -> dict[int, str]:
    """Place of a run -> its label in the table, where runs of one group that share a model's name are told apart by folder.

    Runs of one label on different datasets are one row; two of one dataset cannot be. UsageError when the user's own
    labels say otherwise.
    """
    renamed: dict[int, str] = {}
    for runs in groups:
        count = Counter(run.label for run in runs)
        for run in runs:
            if count[run.label] == 1:
                renamed[run.place] = run.label
            elif run.named:
                raise UsageError(f"two runs of one dataset are called {run.label!r}; give each its own label")
            else:
                renamed[run.place] = f"{run.label} ({run.path.resolve().parent.name})"
        again = [label for label, times in Counter(renamed[run.place] for run in runs).items() if times > 1]
        if again:
            raise UsageError(f"two runs of one dataset would both be {again[0]!r}; name them: LABEL=PATH")
    return renamed


def relabelled(runs: Sequence[Run], labels: dict[int, str]) -> tuple[Run, ...]:
    """The runs under the labels of `distinct`."""
    return tuple(replace(run, label=labels[run.place]) for run in runs)
