"""How long do the intervals of every headline metric take, and are they those of drawing samples?

One million made-up predictions of seven classes, 5,000 subjects. Ours draws the cells of the confusion matrix; the peers
draw samples and score each draw. A few replicates of the peers are timed and multiplied up to 10,000, which is said where
it is printed. Processor time and wall time are both given: other work on a machine lengthens the second.

    python benchmarks/score_speed.py
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported: processor time is then of one thread

import numpy as np  # noqa: E402

from ferbench.intervals import (  # noqa: E402
    BootstrapOptions,
    IntervalTable,
    Outcomes,
    cluster_intervals,
    sample_intervals,
    wider_level,
)
from ferbench.metrics import METRICS, Confusion, confusion_matrix  # noqa: E402

CLASSES = 7
COUNTS = np.array([2445, 1894, 2669, 2173, 1469, 145, 902])
"""DFEW's, in proportion."""
RECALLS = np.array([0.8405, 0.6257, 0.6752, 0.7003, 0.5643, 0.0345, 0.3178])
"""Former-DFER's."""


def predictions(count: int, subjects: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, predictions and subjects; some subjects are harder than others."""
    targets = rng.choice(CLASSES, count, p=COUNTS / COUNTS.sum())
    owner = rng.integers(0, subjects, count)
    ease = rng.normal(0, 0.15, subjects)[owner]
    right = rng.random(count) < np.clip(RECALLS[targets] + ease, 0, 1)
    other = (targets + rng.integers(1, CLASSES, count)) % CLASSES
    return targets, np.where(right, targets, other), owner


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Processor and wall seconds of the fastest of some repeats, each by itself."""
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        times.append((time.process_time() - processor, time.perf_counter() - wall))
    return min(time[0] for time in times), min(time[1] for time in times)


# --- the peers -----------------------------------------------------------------------------------------------------------


def scikit_learn(targets: np.ndarray, predicted: np.ndarray) -> dict[str, Callable[[np.ndarray], object]]:
    """One replicate by scikit-learn: of UAR alone, and of every headline metric."""
    from sklearn import metrics as sk

    labels = list(range(CLASSES))

    def uar(rows: np.ndarray) -> object:
        return sk.balanced_accuracy_score(targets[rows], predicted[rows])

    def every(rows: np.ndarray) -> object:
        truth, guess = targets[rows], predicted[rows]
        return (
            sk.accuracy_score(truth, guess),
            sk.balanced_accuracy_score(truth, guess),
            sk.f1_score(truth, guess, labels=labels, average="macro", zero_division=0),
            sk.f1_score(truth, guess, labels=labels, average="weighted", zero_division=0),
            sk.precision_score(truth, guess, labels=labels, average="macro", zero_division=0),
            sk.cohen_kappa_score(truth, guess),
            sk.matthews_corrcoef(truth, guess),
        )

    return {"scikit-learn, UAR alone": uar, "scikit-learn, seven metrics": every}


def torchmetrics_replicates(targets: np.ndarray, predicted: np.ndarray, replicates: int) -> Callable[[], object] | None:
    """torchmetrics' BootStrapper of UAR, or None where it is not installed."""
    try:
        import torch
        from torchmetrics.classification import MulticlassAccuracy
        from torchmetrics.wrappers import BootStrapper
    except ImportError:
        print("torchmetrics is left out: pip install torchmetrics")
        return None
    torch.set_num_threads(1)
    truth, guess = torch.from_numpy(targets), torch.from_numpy(predicted)

    def work() -> object:
        metric = MulticlassAccuracy(num_classes=CLASSES, average="macro")
        wrapped = BootStrapper(metric, num_bootstraps=replicates, sampling_strategy="multinomial", raw=True)
        wrapped.update(guess, truth)
        return wrapped.compute()

    return work


# --- agreement -----------------------------------------------------------------------------------------------------------


def drawn_rows(owner: np.ndarray | None, count: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of each replicate, drawn sample by sample or subject by subject."""
    if owner is None:
        for _ in range(draws):
            yield rng.integers(0, count, count)
        return
    order = np.argsort(owner, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(owner))[:-1])
    for _ in range(draws):
        yield np.concatenate([members[subject] for subject in rng.integers(0, len(members), len(members))])


def largest_disagreement(
    table: IntervalTable, level: float, targets: np.ndarray, predicted: np.ndarray, replicates: Iterator[np.ndarray]
) -> tuple[float, int]:
    """The largest difference between our ends and those of drawn samples, in standard errors of it; and replicates."""
    counts = [confusion_matrix(targets[rows], predicted[rows], num_classes=CLASSES) for rows in replicates]
    stacked = Confusion(np.stack([part.matrix for part in counts]), np.stack([part.unscored for part in counts]))
    tail = (1 - level) / 2
    worst = 0.0
    for name, row in METRICS.items():
        values = row.function(stacked, "detected")
        # The standard error of a percentile of a normal distribution, of R replicates.
        density = np.exp(-(normal_quantile(tail) ** 2) / 2) / np.sqrt(2 * np.pi)
        error = values.std() * np.sqrt(tail * (1 - tail)) / density
        error *= np.sqrt(1 / len(counts) + 1 / table.replicates)
        interval = table.pooled["detected"][name]
        ends = np.quantile(values, [tail, 1 - tail])
        worst = max(worst, *(abs(np.array([interval.low, interval.high]) - ends) / error).tolist())
    return worst, len(counts)


def normal_quantile(probability: float) -> float:
    """Of the standard normal distribution."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--subjects", type=int, default=5_000)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--peer-replicates", type=int, default=3, help="timed and multiplied up")
    parser.add_argument("--draws", type=int, default=300, help="replicates of drawn samples that ours are held against")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    targets, predicted, owner = predictions(options.samples, options.subjects, rng)
    bootstrap = BootstrapOptions(replicates=options.replicates)
    outcomes = Outcomes(targets, predicted, CLASSES, np.zeros(len(targets), np.int64), 1)

    def by_sample() -> IntervalTable:
        return sample_intervals([confusion_matrix(targets, predicted, num_classes=CLASSES)], bootstrap)

    def by_subject() -> IntervalTable:
        return cluster_intervals("subject", owner, outcomes, bootstrap)

    print(
        f"{options.samples:,} samples, {CLASSES} classes, {options.subjects:,} subjects, {options.replicates:,} replicates"
    )
    print(f"{'':44s}{'processor s':>14s}{'wall s':>14s}{'times ours (processor)':>26s}")
    ours = {}
    for name, work in (("by sample", by_sample), ("by subject", by_subject)):
        ours[name] = timed(work, options.repeats)
        print(f"{f'ferbench, {len(METRICS)} metrics, {name}':44s}{ours[name][0]:14.3f}{ours[name][1]:14.3f}")

    def report(name: str, processor: float, wall: float, timed_replicates: int) -> None:
        scale = options.replicates / timed_replicates
        ratios = ", ".join(f"{processor * scale / ours[of][0]:,.0f} {of}" for of in ours)
        label = f"{name} (x{scale:,.0f})"
        print(f"{label:44s}{processor * scale:14,.0f}{wall * scale:14,.0f}    {ratios}")

    for name, replicate in scikit_learn(targets, predicted).items():
        processor, wall = timed(
            lambda work=replicate: work(rng.integers(0, len(targets), len(targets))), options.peer_replicates
        )
        report(name, processor, wall, 1)
    work = torchmetrics_replicates(targets, predicted, options.peer_replicates)
    if work is not None:
        report("torchmetrics BootStrapper, UAR alone", *timed(work, 1), options.peer_replicates)
    for name, table, owners, level in (
        ("by sample", by_sample(), None, 0.95),
        ("by subject", by_subject(), owner, wider_level(0.95, options.subjects)),
    ):
        rows = drawn_rows(owners, len(targets), options.draws, rng)
        worst, drawn = largest_disagreement(table, level, targets, predicted, rows)
        print(
            f"{name}: {2 * len(METRICS)} ends; the furthest from those of {drawn} draws is {worst:.1f} standard errors off"
        )


if __name__ == "__main__":
    main()
