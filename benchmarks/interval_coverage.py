"""How often does a 95% interval hold the truth?

A population is a confusion matrix of probabilities, so the true value of every metric is known. Test sets are drawn from
it, an interval is made of each, and it is counted how often the truth is inside. `sizes random` draws the classes too;
`sizes fixed` keeps the number of samples of each class, as in a test set that was made to have them. The rows of `plain`
are the percentile bootstrap of the samples as they are, those of `ours` what reports have.

    python benchmarks/interval_coverage.py
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

import ferbench.intervals as intervals  # noqa: E402
from ferbench.intervals import BootstrapOptions, IntervalTable, Outcomes  # noqa: E402
from ferbench.metrics import METRICS, Confusion  # noqa: E402

SHOWN = ("war", "uar", "macro_f1", "weighted_f1", "macro_precision", "kappa", "mcc", "abaw2021")
"""accuracy, macro_recall and abaw_f1 have the values of war, uar and macro_f1 here: every class occurs."""
DFEW = (2445, 1894, 2669, 2173, 1469, 145, 902)
DFEW_FOLD = (489, 379, 534, 435, 294, 29, 181)
RECALLS = {
    "Former-DFER": (0.8405, 0.6257, 0.6752, 0.7003, 0.5643, 0.0345, 0.3178),
    "C3D": (0.7517, 0.3949, 0.5511, 0.6249, 0.4500, 0.0138, 0.2051),
    "MAE-DFER": (0.9292, 0.7746, 0.7456, 0.7694, 0.6099, 0.1862, 0.4235),
}
"""Published per-class recalls on DFEW: happy, sad, neutral, anger, surprise, disgust, fear."""


@dataclass(frozen=True, slots=True)
class Case:
    """One population and the test sets that are drawn from it."""

    name: str
    counts: tuple[int, ...]
    recalls: tuple[float, ...]
    fixed: bool = False
    folds: int = 1

    @property
    def population(self) -> np.ndarray:
        """(K, K) probabilities; errors go to the other classes in proportion to their counts."""
        counts, recalls = np.array(self.counts, float), np.array(self.recalls)
        others = np.where(np.eye(len(counts), dtype=bool), 0, counts)
        rows = others / others.sum(axis=1, keepdims=True) * (1 - recalls)[:, None]
        np.fill_diagonal(rows, recalls)
        return rows * (counts / counts.sum())[:, None]


def test_sets(case: Case, number: int, rng: np.random.Generator) -> Iterator[list[Confusion]]:
    """The folds of each test set."""
    cells, size, total = case.population, len(case.counts), sum(case.counts)
    for _ in range(number):
        folds = []
        for _ in range(case.folds):
            if case.fixed:
                rows = [rng.multinomial(count, row / row.sum()) for count, row in zip(case.counts, cells, strict=True)]
                matrix = np.stack(rows)
            else:
                matrix = rng.multinomial(total, cells.ravel()).reshape(size, size)
            folds.append(Confusion(matrix, np.zeros(size, np.int64)))
        yield folds


def true_values(population: np.ndarray) -> dict[str, float]:
    truth = Confusion(population, np.zeros(len(population)))
    return {name: METRICS[name].function(truth, "detected") for name in SHOWN}


Ways = dict[str, Callable[[], IntervalTable]]


def count_held(truth: dict[str, float], trials: Iterator[Ways], part: str) -> dict[str, dict[str, tuple[float, float]]]:
    """By way and metric: percent of intervals that are wholly above the truth, and wholly below it."""
    missed: dict[str, dict[str, list[int]]] = defaultdict(lambda: {name: [0, 0] for name in SHOWN})
    number = 0
    for ways in trials:
        number += 1
        for way, make in ways.items():
            table = getattr(make(), part)["detected"]
            for name in SHOWN:
                # Where an end is the truth but for the last digit, it holds it.
                missed[way][name][0] += truth[name] < table[name].low - 1e-9
                missed[way][name][1] += truth[name] > table[name].high + 1e-9
    return {
        way: {name: (100 * above / number, 100 * below / number) for name, (above, below) in row.items()}
        for way, row in missed.items()
    }


def print_held(title: str, held: dict[str, dict[str, tuple[float, float]]], number: int) -> None:
    error = 100 * np.sqrt(0.95 * 0.05 / number)
    print(f"{title}; {number} test sets, standard error {error:.1f}")
    print(f"    {'':8s}" + "".join(f"{METRICS[name].title:>18s}" for name in SHOWN))
    for way, row in held.items():
        cells = [f"{100 - above - below:.1f} ({above:.1f}, {below:.1f})" for above, below in row.values()]
        print(f"    {way:8s}" + "".join(f"{cell:>18s}" for cell in cells), flush=True)


# --- over samples --------------------------------------------------------------------------------------------------------


def over_samples(case: Case, number: int, replicates: int, seed: int, *, part: str = "pooled") -> None:
    rng = np.random.default_rng(seed)
    plain = BootstrapOptions(replicates, seed=seed, smoothing=0)
    ours = BootstrapOptions(replicates, seed=seed)

    def trials() -> Iterator[Ways]:
        for folds in test_sets(case, number, rng):
            yield {
                "plain": lambda folds=folds: intervals.sample_intervals(folds, plain),
                "ours": lambda folds=folds: intervals.sample_intervals(folds, ours),
            }

    sizes = "fixed" if case.fixed else "random"
    title = f"{case.name}, {case.folds * sum(case.counts):,} samples, smallest class {min(case.counts)}, sizes {sizes}"
    print_held(f"{title}, {part.replace('_', ' ')}", count_held(true_values(case.population), trials(), part), number)


# --- over subjects -------------------------------------------------------------------------------------------------------


def over_subjects(subjects: int, number: int, replicates: int, seed: int) -> None:
    """Seven classes, three samples of each per subject; a subject's recall of a class has a beta distribution."""
    rng = np.random.default_rng(seed)
    size, each, spread = 7, 3, 4
    means = np.linspace(0.35, 0.8, size)
    population = np.where(np.eye(size, dtype=bool), means[:, None], (1 - means[:, None]) / (size - 1)) / size
    options = BootstrapOptions(replicates, seed=seed)
    student = intervals.wider_level

    def trials() -> Iterator[Ways]:
        for _ in range(number):
            recall = rng.beta(means * spread, (1 - means) * spread, (subjects, size))
            targets = np.tile(np.arange(size), subjects * each)
            owner = np.repeat(np.arange(subjects), size * each)
            wrong = (targets + rng.integers(1, size, len(targets))) % size
            predicted = np.where(rng.random(len(targets)) < recall[owner, targets], targets, wrong)
            outcomes = Outcomes(targets, predicted, size, np.zeros(len(targets), np.int64), 1)

            def made(level: Callable[[float, int], float], outcomes=outcomes, owner=owner) -> IntervalTable:
                intervals.wider_level = level
                return intervals.cluster_intervals("subject", owner, outcomes, options)

            yield {"plain": lambda made=made: made(lambda level, _: level), "ours": lambda made=made: made(student)}

    held = count_held(true_values(population), trials(), "pooled")
    intervals.wider_level = student
    print_held(f"{subjects} subjects of {size * each} samples, over subjects", held, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test-sets", type=int, default=1200)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    few = max(2, options.test_sets // 4)
    print("percent of 95% intervals that hold the truth (above it, below it)")
    for name, recalls in RECALLS.items():
        for fixed in (False, True):
            case = Case(f"DFEW, one fold, {name}", DFEW_FOLD, recalls, fixed)
            over_samples(case, options.test_sets, options.replicates, options.seed)
    five = Case("DFEW, five folds, Former-DFER", DFEW_FOLD, RECALLS["Former-DFER"], folds=5)
    for part in ("pooled", "mean_of_folds"):
        over_samples(five, few, options.replicates, options.seed, part=part)
    seven = Case("30 of each of 7 classes", (30,) * 7, (0.9, 0.95, 0.85, 0.8, 0.9, 1.0, 0.9))
    over_samples(seven, few, options.replicates, options.seed)
    sizes = np.maximum(4, np.rint(150 * np.exp(-np.arange(43) / 12))).astype(int)
    recalls = np.clip(np.random.default_rng(9).beta(1, 4, 43) * sizes / 40, 0, 0.9)
    many = Case("43 classes", tuple(sizes.tolist()), tuple(recalls.tolist()))
    over_samples(many, max(2, few // 3), options.replicates, options.seed)
    for subjects in (5, 10, 24, 91):
        over_subjects(subjects, options.test_sets, options.replicates, options.seed)


if __name__ == "__main__":
    main()
