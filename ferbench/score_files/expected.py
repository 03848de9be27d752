"""The samples that predictions are held against: those of a manifest, or of a file of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import PredictionsError
from ferbench.labels import LabelSet
from ferbench.manifest import SCHEMA, Manifest
from ferbench.protocol import scored_in
from ferbench.score_files.classes import NO_LABEL, labels_of, resolve_classes
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.rows import ScoreRows

MOST_ATTRIBUTES = 64
MOST_VALUES = 10_000
"""An extra column with more different values than this names samples, not groups of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """M samples, in order; those that are not tested are here to be known when a file has them too."""

    name: str
    ids: pa.Array
    """(M,) string."""
    paths: pa.Array | None
    targets: NDArray[np.int64]
    """(M,) label, -1 for a sample without one."""
    folds: tuple[str | None, ...]
    """(M,) fold it is tested in; None for a sample that is not."""
    labels: LabelSet
    errors: tuple[str | None, ...] = ()
    """(M,) why a sample failed before any model saw it; empty where nothing is known."""
    attributes: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    @property
    def tested(self) -> NDArray[np.bool_]:
        """(M,) True for samples with a fold and a label."""
        in_test: NDArray[np.bool_] = np.array([fold is not None for fold in self.folds], bool)
        return in_test & np.not_equal(self.targets, NO_LABEL)


def expected_of_manifest(manifest: Manifest, *, split: str = "", fold: str = "") -> Expected:
    """The test part of a manifest as `evaluate` takes it. UsageError for a split or fold that it does not have."""
    table = manifest.table
    expected = Expected(
        name=f"manifest {manifest.name!r}",
        ids=_one(table.column("sample_id")),
        paths=_one(table.column("path")),
        targets=pc.fill_null(table.column("label").cast(pa.int64()), NO_LABEL).to_numpy().astype(np.int64),
        folds=tuple(scored_in(manifest, split=split, fold=fold)),
        labels=manifest.labels,
        errors=tuple(
            error if status == "failed" else None
            for status, error in zip(manifest.column("status"), manifest.column("error"), strict=True)
        ),
        attributes=_attributes(manifest),
    )
    if not expected.tested.any():
        raise PredictionsError(f"{expected.name} has no labelled samples to score")
    return expected


def expected_of_rows(rows: ScoreRows, options: ScoreFileOptions) -> Expected:
    """The truth of a file in any of the formats: its labels, or, in a format with one class a row, that class."""
    column = rows.targets or rows.predicted
    if rows.names is None or column is None:
        raise PredictionsError(f"{rows.place}: a file of labels needs a sample id or path and a class in every row")
    classes = resolve_classes(rows, options, None)
    counts = pc.value_counts(rows.names)
    twice = pc.index(pc.greater(counts.field("counts"), 1), True).as_py()
    if twice >= 0:
        raise PredictionsError(
            f"{rows.place}: sample {counts.field('values')[twice].as_py()!r} has more than one label"
        )
    expected = Expected(
        name=rows.place,
        ids=rows.names,
        paths=None,
        targets=labels_of(column, classes, rows, options),
        folds=rows.folds or ("all",) * rows.count,
        labels=classes.labels,
        attributes=rows.attributes,
    )
    if not expected.tested.any():
        raise PredictionsError(f"{rows.place}: no sample has a label")
    return expected


def _one(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _attributes(manifest: Manifest) -> dict[str, tuple[str | None, ...]]:
    """subject, group, and extra columns that group samples."""
    found: dict[str, tuple[str | None, ...]] = {}
    extra = [name for name in manifest.table.column_names if name not in SCHEMA.names]
    for name in ("subject", "group", *extra):
        column = manifest.table.column(name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (pa.types.is_string(kind) or pa.types.is_integer(kind)) or column.null_count == len(column):
            continue
        if name not in ("subject", "group") and pc.count_distinct(column).as_py() > MOST_VALUES:
            continue
        found[name] = tuple(column.cast(kind).cast(pa.string()).to_pylist())
        if len(found) == MOST_ATTRIBUTES:
            break
    return found
