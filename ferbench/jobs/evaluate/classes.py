"""The model's classes matched to the dataset's, by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import ModelError
from ferbench.labels import LabelSet


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """How a model's outputs become logits of a label set."""

    labels: LabelSet
    """The dataset's classes, then those only the model knows."""
    columns: tuple[int | None, ...]
    """For each class, the model's output; None for a class that the model does not know."""
    notices: tuple[str, ...]
    """What the reader must be told."""

    def logits(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(K,) outputs of the model to logits of `labels`; a class the model does not know can never be predicted."""
        return np.array([-np.inf if column is None else outputs[column] for column in self.columns], np.float32)


def match_classes(
    dataset: LabelSet, targets: Iterable[int], classes: tuple[str, ...], num_outputs: int, *, model: str
) -> ClassMatch:
    """Match by name. `targets` are the labels that occur: only they must be known to the model.

    Classes only the model has come last; predicting one is an error like any other. Raises ModelError when the model
    lacks a class that occurs, or when nobody says what its outputs mean.
    """
    if not classes:
        if num_outputs != len(dataset):
            raise ModelError(
                f"{model} has {num_outputs} outputs and the manifest {len(dataset)} classes; say the model's classes in "
                "order: --input classes=neutral,happy,…"
            )
        notice = (
            f"The model does not say what its outputs mean. Assumed: the manifest's order, {', '.join(dataset.names)}."
        )
        return ClassMatch(dataset, tuple(range(num_outputs)), (notice,))
    if num_outputs != len(classes):
        raise ModelError(f"{model} has {num_outputs} outputs, and its input spec names {len(classes)} classes")
    known = LabelSet.of(classes)
    lacking = dataset.missing_from(known)
    needed = {dataset.names[label] for label in set(targets)}
    if needed & set(lacking):
        names = ", ".join(name for name in lacking if name in needed)
        raise ModelError(f"{model} does not know the classes {names} of the manifest; it knows {', '.join(classes)}")
    labels = dataset.united_with(known)
    extra = known.missing_from(dataset)
    notices = []
    if extra:
        notices.append(
            f"The model also knows {', '.join(extra)}, which no sample is; predicting one counts as an error."
        )
    if lacking:
        notices.append(f"The model does not know {', '.join(lacking)}; no sample here is one.")
    return ClassMatch(labels, tuple(labels.mapping_to(known)), tuple(notices))
