"""What a file's integers, names and value columns mean: the classes, matched by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.errors import LabelError, PredictionsError
from ferbench.labels import LabelSet
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.rows import NO_NUMBER, ClassColumn, ScoreRows

NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class Classes:
    """How a file's classes become labels."""

    labels: LabelSet
    """The dataset's classes, then those only the file knows."""
    order: LabelSet | None
    """What the file's columns and integers count; None where it has only names."""
    notes: tuple[str, ...] = ()


def resolve_classes(rows: ScoreRows, options: ScoreFileOptions, dataset: LabelSet | None) -> Classes:
    """Classes of a file. `dataset` are those of the manifest or the truth, where there is one.

    Integers and columns without names take `--classes`; or the dataset's order, where the file's own labels are integers
    too and so will be held against the dataset's. Raises PredictionsError where nothing says what they mean.
    """
    order = _order(rows, options, dataset)
    notes: list[str] = []
    if order is None and _needs_order(rows):
        if dataset is None:
            width = "" if rows.values is None else f" ({rows.values.shape[1]} columns)"
            raise PredictionsError(
                f"{rows.place}: nothing says which class is which{width}; name them in the order of the file: "
                "--classes neutral,happy,…"
            )
        if rows.targets is None or rows.targets.numbers is None:
            raise PredictionsError(
                f"{rows.place}: nothing says which class is which, and it has no labels to tell by; name the classes in "
                f"the order of the file, if it is the manifest's: --classes {','.join(dataset.names)}"
            )
        order = dataset
        notes.append(
            f"{rows.place} does not say what its classes are. Taken: the manifest's order, {', '.join(order.names)}, with "
            "which the file's own labels agree."
        )
    if rows.values is not None and order is not None and rows.values.shape[1] != len(order):
        raise PredictionsError(
            f"{rows.place}: {rows.values.shape[1]} values per sample, but {len(order)} classes: {', '.join(order.names)}"
        )
    names = {
        str(name)
        for column in (rows.targets, rows.predicted)
        if column is not None and column.names is not None
        for name in pc.unique(column.names).to_pylist()
        if name is not None
    }
    try:
        labels = dataset or order or LabelSet.of(())
        if order is not None:
            labels = labels.united_with(order)
        for name in sorted(names):
            if name not in labels:
                if order is not None and dataset is None:
                    raise LabelError(f"class {name!r} is none of {', '.join(order.names)}")
                labels = LabelSet((*labels.names, name))
    except LabelError as error:
        raise PredictionsError(f"{rows.place}: {error.message}", reason=error.reason) from error
    if not len(labels):
        raise PredictionsError(f"{rows.place}: no cell of its class columns holds a class")
    if dataset is not None and len(labels) > len(dataset):
        more = ", ".join(labels.names[len(dataset) :])
        notes.append(f"The file also knows {more}, which no sample is; predicting one counts as an error.")
    return Classes(labels, order, tuple(notes))


def _needs_order(rows: ScoreRows) -> bool:
    return rows.values is not None or (rows.predicted is not None and rows.predicted.numbers is not None)


def _order(rows: ScoreRows, options: ScoreFileOptions, dataset: LabelSet | None) -> LabelSet | None:
    try:
        said = LabelSet.of(rows.classes) if rows.classes else None
    except LabelError as error:
        raise PredictionsError(f"{rows.place}: its class names cannot be used: {error.message}") from error
    if not options.classes:
        return said
    asked = LabelSet(options.classes)
    if said is not None and said.mapping_to(asked) != list(range(len(asked))):
        raise PredictionsError(
            f"{rows.place}: it names its classes {', '.join(said.names)}, and --classes {', '.join(asked.names)}; leave "
            "--classes out"
        )
    return asked


def labels_of(column: ClassColumn, classes: Classes, rows: ScoreRows, options: ScoreFileOptions) -> NDArray[np.int64]:
    """(N,) labels of `classes.labels`, `NO_LABEL` where the cell is empty or says no class.

    Raises PredictionsError with the line of an integer that counts no class.
    """
    if column.names is not None:
        encoded = column.names.dictionary_encode()
        table = np.array(
            [*(classes.labels.label_of(str(name)) for name in encoded.dictionary.to_pylist()), NO_LABEL], np.int64
        )
        return table[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]  # type: ignore[no-any-return]
    assert column.numbers is not None
    order = classes.order or classes.labels
    numbers = column.numbers
    empty = (numbers == NO_NUMBER) | np.isin(numbers, list(rows.ignored))
    wrong = ~empty & ((numbers < options.label_base) | (numbers >= options.label_base + len(order)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        span = f"{options.label_base}..{options.label_base + len(order) - 1}"
        hint = ""
        if options.label_base == 0 and not ((numbers == 0) & ~empty).any() and numbers[~empty].max() == len(order):
            hint = "; the file counts from 1, it seems: --label-base 1"
        raise PredictionsError(
            f"{rows.where(row)}: class {numbers[row]} is not in {span} ({', '.join(order.names)}){hint}"
        )
    mapping = np.array([NO_LABEL if label is None else label for label in order.mapping_to(classes.labels)], np.int64)
    return np.where(empty, NO_LABEL, mapping[np.where(empty, 0, numbers - options.label_base)])
