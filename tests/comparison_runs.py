"""Fabricated runs for the comparison tests: predictions of two classes whose numbers can be worked out by hand."""

from pathlib import Path

import numpy as np

from ferbench.labels import LabelSet
from ferbench.predictions import Predictions, write_predictions

LABELS = LabelSet.of(["calm", "happy"])
SIZES = (6, 2)
"""Samples of each class in a fold."""

# Correct of 6 calm and of 2 happy in each of five folds.
#   steady: UAR .75 1 .5 .5 .75, mean .7, sd sqrt(.175/4); WAR 7/8 1 4/8 6/8 5/8, mean .75, sd sqrt(.15625/4)
#   blunt: always calm. UAR .5, WAR .75, no deviation; its WAR ties with that of steady
#   keen: half of calm, all of happy. UAR .75, WAR 5/8, no deviation
STEADY = ((6, 6, 3, 6, 3), (1, 2, 1, 0, 2))
BLUNT = ((6, 6, 6, 6, 6), (0, 0, 0, 0, 0))
KEEN = ((3, 3, 3, 3, 3), (2, 2, 2, 2, 2))


def predictions(
    correct, *, model, dataset="toy", folds=None, missing=(), labels=LABELS, swap=None, prefix="s", **provenance
) -> Predictions:
    """`correct[class][fold]` samples are right. `folds` names those that are in the file; `missing` ids have no logits."""
    ids, targets, logits, names = [], [], [], []
    for fold in range(len(correct[0])):
        for label, size in enumerate(SIZES):
            for place in range(size):
                guess = label if place < correct[label][fold] else 1 - label
                sample = f"{prefix}{fold + 1}-{label}-{place}"
                row = np.eye(len(labels))[guess] * 4
                ids.append(sample)
                targets.append(1 - label if sample == swap else label)
                logits.append(row * np.nan if sample in missing else row)
                names.append(str(fold + 1) if len(correct[0]) > 1 else "test")
    kept = [row for row, name in enumerate(names) if folds is None or name in folds]
    protocol = {"kind": "k-fold", "method": "stratified", "folds": 5, "group": None, "seed": 0, "selects": "none"}
    if len(correct[0]) == 1:
        protocol = {"kind": "published", "dataset": dataset, "name": "official", "rule": "distributed"}
    return Predictions(
        tuple(ids[row] for row in kept),
        np.array([targets[row] for row in kept], np.int64),
        np.array([logits[row] for row in kept], np.float32).reshape(len(kept), len(labels)),
        tuple(names[row] for row in kept),
        tuple("no-face: none" if ids[row] in missing else None for row in kept),
        labels,
        {"model": model, "manifest": dataset, "protocol": protocol, "recipe_id": "r1", **provenance},
    )


def write_run(folder: Path, name: str, correct, **options) -> Path:
    """A run's folder, as `evaluate` leaves one."""
    write_predictions(predictions(correct, **{"model": name, **options}), folder / name / "predictions.parquet")
    return folder / name
