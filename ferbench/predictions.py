"""Predictions: what a model said about each sample. The only input of metrics; a parquet file anyone can write.

Rows are joined to manifests by sample_id; their order carries no meaning. A sample that could not be scored is a row
with null logits and the reason, never a missing row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import DataError, PredictionsError, UsageError
from ferbench.labels import LabelSet
from ferbench.tables import read_table, write_table

KIND = "predictions"
COLUMNS = ("sample_id", "fold", "target", "target_name", "predicted", "predicted_name", "logits", "error")
"""Of a predictions file; every other column of text or integers is an attribute."""

CLUSTERS = ("subject", "source_id", "group", "video")
"""Attributes whose samples are not independent, in the order in which they are looked for."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """N samples, K classes."""

    sample_ids: tuple[str, ...]
    targets: NDArray[np.int64]
    """(N,) index into `labels`."""
    logits: NDArray[np.float32]
    """(N, K) raw model outputs in the order of `labels`; a row of NaN where the sample has no prediction."""
    folds: tuple[str, ...]
    """Name of the fold whose test part the sample is in; `all` when the manifest had no folds."""
    errors: tuple[str | None, ...]
    """`reason: message` of a sample without a prediction."""
    labels: LabelSet
    provenance: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    """What else is known of each sample, by name: subject, group, source_id, scene, occlusion, pose; None where unknown."""
    hard: bool = False
    """Only the predicted class is known, as `one_hot_logits`: probabilities mean nothing."""

    def __post_init__(self) -> None:
        count = len(self.sample_ids)
        lengths = {
            "targets": len(self.targets),
            "logits": len(self.logits),
            "folds": len(self.folds),
            "errors": len(self.errors),
            **{name: len(values) for name, values in self.attributes.items()},
        }
        reserved = sorted(set(self.attributes) & set(COLUMNS))
        if reserved:
            raise PredictionsError(
                f"an attribute cannot be named {reserved[0]!r}: predictions have such a column already"
            )
        wrong = {name: length for name, length in lengths.items() if length != count}
        if wrong:
            raise PredictionsError(f"{count} sample ids, but {wrong}")
        if len(set(self.sample_ids)) != count:
            seen: set[str] = set()
            twice = next(name for name in self.sample_ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise PredictionsError(f"sample {twice!r} is predicted more than once")
        if self.logits.ndim != 2 or self.logits.shape[1] != len(self.labels):
            raise PredictionsError(f"logits of shape {self.logits.shape} do not fit {len(self.labels)} classes")
        outside = np.flatnonzero((self.targets < 0) | (self.targets >= len(self.labels)))
        if len(outside):
            index = int(outside[0])
            raise PredictionsError(
                f"sample {self.sample_ids[index]!r}: target {self.targets[index]} is outside 0..{len(self.labels) - 1}"
            )

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __repr__(self) -> str:
        return f"Predictions({len(self)} samples, {len(self.labels)} classes, {len(set(self.folds))} folds)"

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) argmax of the logits, the lowest class on ties; -1 where any logit is NaN."""
        scored = ~np.isnan(self.logits).any(axis=1)
        predicted = np.full(len(self), -1, dtype=np.int64)
        predicted[scored] = np.argmax(self.logits[scored], axis=1)
        return predicted


def attribute_of(predictions: Predictions, name: str) -> tuple[str | None, ...]:
    """(N,) the values of an attribute, or of `fold`. Raises UsageError that lists what there is."""
    if name == "fold":
        return predictions.folds
    if name not in predictions.attributes:
        known = ", ".join(["fold", *predictions.attributes])
        raise UsageError(f"the predictions have no column {name!r} to group by; they have: {known}")
    return predictions.attributes[name]


def rows_by_value(values: Sequence[str | None]) -> dict[str, NDArray[np.int64]]:
    """The rows (n,) of each value, in order; rows without a value are left out."""
    encoded = pa.array(values, pa.string()).dictionary_encode()
    number: NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(len(encoded.dictionary) + 1))
    names = encoded.dictionary.to_pylist()
    return {name: order[ends[place] : ends[place + 1]] for place, name in enumerate(names)}


def find_cluster(predictions: Predictions, name: str = "auto") -> str:
    """The attribute that ties samples together; empty when there is none, or `name` is `none`.

    `auto` is the first of `CLUSTERS` that some sample has a value of. Any other name must be an attribute (UsageError).
    """
    if name == "auto":
        return next((cluster for cluster in CLUSTERS if any(predictions.attributes.get(cluster, ()))), "")
    if name in ("", "none"):
        return ""
    attribute_of(predictions, name)
    return name


def clusters_of(predictions: Predictions, name: str) -> NDArray[np.int64]:
    """(N,) a number from 0 for each value of an attribute; a sample without a value is a cluster of its own."""
    values = pa.array(attribute_of(predictions, name), pa.string()).dictionary_encode()
    number: NDArray[np.int64] = values.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    alone = np.flatnonzero(number < 0)
    number[alone] = len(values.dictionary) + np.arange(len(alone))
    return number


def one_hot_logits(predicted: NDArray[np.int64], *, num_classes: int) -> NDArray[np.float32]:
    """(N, K) 1 for the predicted class and 0 for the others; a row of NaN for -1. For predictions that are `hard`."""
    logits = np.zeros((len(predicted), num_classes), np.float32)
    scored = np.flatnonzero(predicted >= 0)
    logits[scored, predicted[scored]] = 1
    logits[predicted < 0] = np.nan
    return logits


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write parquet, atomically: sample_id, fold, target, target_name, predicted, predicted_name, logits, error, and a
    column of text for each attribute."""
    scored = predictions.predicted
    names = np.array([*predictions.labels.names, None], dtype=object)  # index -1 is None
    logits = [None if label < 0 else row for label, row in zip(scored, predictions.logits.tolist(), strict=True)]
    table = pa.table(
        {
            "sample_id": pa.array(predictions.sample_ids, pa.string()),
            "fold": pa.array(predictions.folds, pa.string()),
            "target": pa.array(predictions.targets, pa.int16()),
            "target_name": pa.array(names[predictions.targets], pa.string()),
            "predicted": pa.array([None if label < 0 else int(label) for label in scored], pa.int16()),
            "predicted_name": pa.array(names[scored], pa.string()),
            "logits": pa.array(logits, pa.list_(pa.float32(), len(predictions.labels))),
            "error": pa.array(predictions.errors, pa.string()),
            **{name: pa.array(values, pa.string()) for name, values in predictions.attributes.items()},
        }
    )
    metadata: dict[str, Any] = {
        "labels": list(predictions.labels.names), "provenance": dict(predictions.provenance),
        **({"hard": True} if predictions.hard else {}),
    }  # fmt: skip
    write_table(table, path, kind=KIND, metadata=metadata)


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file; PredictionsError names the file and the rule when it cannot be scored."""
    table, metadata = read_table(path, kind=KIND, error=PredictionsError)
    missing = [name for name in ("sample_id", "fold", "target", "logits", "error") if name not in table.column_names]
    if missing:
        raise PredictionsError(f"{path}: the columns {', '.join(missing)} are missing")
    kinds = {"target": pa.types.is_integer, "sample_id": pa.types.is_string, "fold": pa.types.is_string}
    for name, is_right in kinds.items():
        column = table.column(name)
        if not is_right(column.type) or column.null_count:
            empty = f", {column.null_count} of them empty" if column.null_count else ""
            raise PredictionsError(f"{path}: column {name!r} holds {column.type} values{empty}")
    try:
        labels = LabelSet.of(metadata["labels"])
        return Predictions(
            sample_ids=tuple(table.column("sample_id").to_pylist()),
            targets=table.column("target").to_numpy().astype(np.int64),
            logits=_logits(table.column("logits"), len(labels)),
            folds=tuple(table.column("fold").to_pylist()),
            errors=tuple(table.column("error").to_pylist()),
            labels=labels,
            provenance=metadata.get("provenance", {}),
            attributes=_attributes(table),
            hard=bool(metadata.get("hard", False)),
        )
    except DataError as error:
        raise PredictionsError(f"{path}: {error.message}", reason=error.reason) from error
    except (KeyError, TypeError, ValueError) as error:
        raise PredictionsError(f"{path}: its logits or class names cannot be read ({error})") from error


def _logits(column: pa.ChunkedArray, num_classes: int) -> NDArray[np.float32]:
    """(N, K) from lists of K numbers; a row of NaN where the list is null. ValueError for lists of another length."""
    logits = np.full((len(column), num_classes), np.nan, np.float32)
    start = 0
    for chunk in column.chunks:
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        lists = chunk.drop_null()
        lengths = set(pc.list_value_length(lists).unique().to_pylist())
        if lengths - {num_classes}:
            raise ValueError(f"{num_classes} classes, but a list of {min(lengths - {num_classes})} logits")
        values = lists.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
        logits[start + np.flatnonzero(valid)] = values.reshape(-1, num_classes)
        start += len(chunk)
    return logits


def _attributes(table: pa.Table) -> dict[str, tuple[str | None, ...]]:
    """Every column of text, of integers or of truth values that is not one of ours, as text."""
    found = {}
    for name in table.column_names:
        column = table.column(name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if name not in COLUMNS and (is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            found[name] = tuple(column.cast(kind).cast(pa.string()).to_pylist())
    return found
