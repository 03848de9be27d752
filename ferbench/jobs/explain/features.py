"""The part with features: a table of them, a scatter, and how well they keep the classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench.errors import ModelError
from ferbench.explaining.embedding import EMBEDDINGS, Separation, embed, separation
from ferbench.explaining.running import ModelRun, Outputs
from ferbench.explaining.scatter_figure import Scatter, scatter
from ferbench.jobs.explain.choose import drawn
from ferbench.jobs.explain.study import Study
from ferbench.predictions import Predictions
from ferbench.rendering.wording import counted
from ferbench.tables import write_table


@dataclass(frozen=True, slots=True)
class FeaturePart:
    """Features in two dimensions."""

    picture: str
    separation: Separation
    total: int
    """Samples with features, of which `separation.samples` are in the picture."""


def make_features(study: Study, run: ModelRun, outputs: Outputs, predictions: Predictions) -> FeaturePart:
    """Write features.parquet and the scatter. ModelError when no sample has features."""
    options, labels = study.options, predictions.labels
    rows = [row for row, name in enumerate(predictions.sample_ids) if name in outputs.features]
    if not rows:
        raise ModelError("no sample has features; the reasons are in the list of failures")
    vectors = np.stack([outputs.features[predictions.sample_ids[row]] for row in rows])
    targets, predicted = predictions.targets[rows], predictions.predicted[rows]
    shown = drawn(len(rows), options.most_points, np.random.default_rng([options.seed, len(rows)]))
    points = embed(vectors[shown], method=options.embedding, seed=options.seed)
    separated = separation(vectors[shown], targets[shown], num_classes=len(labels))
    _write_features(study, run, predictions, rows, vectors, shown, points)
    title = EMBEDDINGS[options.embedding].title
    number = (
        f"{len(shown):,} of {counted(len(rows), 'sample')}" if len(shown) < len(rows) else counted(len(rows), "sample")
    )
    layer = f"input of {run.watch.name}" if run.watch else "logits"
    note = (
        f"{number}, {vectors.shape[1]} features ({layer}); silhouette {separated.silhouette:.3f}; nearest neighbour of the "
        f"same class {100 * separated.neighbour_agreement:.1f}% (chance {100 * separated.chance:.1f}%)"
    )
    figure = scatter(
        Scatter(
            points, targets[shown], (predicted == targets)[shown], labels.names,
            f"{title} of {run.model.name} on {study.manifest.name}", note,
        )
    )  # fmt: skip
    study.facts["features"] = f"{vectors.shape[1]}, {layer}"
    study.facts["embedding"] = f"{title} ({EMBEDDINGS[options.embedding].source}), seed {options.seed}"
    return FeaturePart(study.keep("embedding", figure), separated, len(rows))


def _write_features(
    study: Study, run: ModelRun, predictions: Predictions, rows: Sequence[int], vectors: NDArray[np.float32],
    shown: NDArray[np.int64], points: NDArray[np.float32],
) -> None:  # fmt: skip
    names = np.array([*predictions.labels.names, None], dtype=object)
    targets, predicted = predictions.targets[rows], predictions.predicted[rows]
    places = np.full((len(rows), 2), np.nan, np.float32)
    places[shown] = points
    hidden = np.isnan(places[:, 0])
    flat = pa.array(vectors.reshape(-1), pa.float32())
    table = pa.table(
        {
            "sample_id": pa.array([predictions.sample_ids[row] for row in rows], pa.string()),
            "fold": pa.array([predictions.folds[row] for row in rows], pa.string()),
            "target": pa.array(targets, pa.int16()),
            "target_name": pa.array(names[targets], pa.string()),
            "predicted": pa.array(predicted, pa.int16()),
            "predicted_name": pa.array(names[predicted], pa.string()),
            "features": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            "x": pa.array(places[:, 0], pa.float32(), mask=hidden),
            "y": pa.array(places[:, 1], pa.float32(), mask=hidden),
        }
    )
    metadata = {
        "labels": list(predictions.labels.names), "model": run.model.name,
        "layer": run.watch.name if run.watch else "logits", "embedding": study.options.embedding,
        "seed": study.options.seed,
    }  # fmt: skip
    write_table(table, study.out / "features.parquet", kind="features", metadata=metadata)
    study.files.append("features.parquet")
