"""How long does a job take on a cluster where machines are slow, hang and die? The claims of docs/scaling.md.

The engine's own rules (`ferbench.engines.scheduling`) drive a simulated cluster (`simulated_cluster.py`), with the seconds
of clips that clip_costs.py measured, drawn with replacement. Each row is one way to go wrong; its columns are three ways to
run:

    copies      the Ray engine: one driver, any free worker takes the next clip, idle ones copy what runs long at the end
    no copies   the same without the copies
    shards      `--shard i/n`: every n-th clip is a machine's own, its own driver hands them to its own workers

and each figure is the time until the last clip is recorded, over the least that any schedule could take if nothing failed.

    python benchmarks/scheduler_simulation.py benchmarks/results/2026-11-23-clip-costs.csv
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from simulated_cluster import HOUR, Cluster, Outcome, Simulation, least_makespan

from ferbench.engines.scheduling import Rules

COPIES, PLAIN = Rules(), Rules(straggler_after=10**12)
START_SECONDS = 6.0
"""From a worker's start to its first clip: torch, the networks, a decoder process; 3.8 s for two at once on two cores
(results/2026-11-22-align-scale.txt, the first row)."""
FILM_FRAMES = 2 * 3600 * 25
PER_WORKER = 100


@dataclass(frozen=True)
class Case:
    """One row."""

    name: str
    cluster: Cluster
    films: int = 0
    """Films of two hours among the clips, the last of them the last clip but one."""
    driver_dies: int = 0
    """Times the driver dies, evenly spread over the least makespan."""
    task_deadline: float = COPIES.task_deadline


def clips_of(path: Path, count: int, generator: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Seconds of `count` clips drawn from those measured, and of a film: its decoding, and a clip's other stages."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    seconds = np.array([float(row["seconds"]) for row in rows])
    decode = sum(float(row["decode"]) for row in rows) / sum(int(row["frames"]) for row in rows)
    return generator.choice(seconds, count), FILM_FRAMES * decode + float(np.median(seconds))


def work(case: Case, clips: NDArray[np.float64], film: float) -> list[float]:
    seconds = clips.copy()
    if case.films:
        seconds[np.linspace(len(seconds) // case.films, len(seconds), case.films).astype(int) - 2] = film
    return seconds.tolist()


def with_deaths(case: Case, seconds: Sequence[float]) -> Cluster:
    least = least_makespan(seconds, case.cluster)
    moments = tuple(least * (number + 0.5) / case.driver_dies for number in range(case.driver_dies))
    return dataclasses.replace(case.cluster, driver_dies_at=moments)


def dynamic(case: Case, seconds: Sequence[float], rules: Rules, seed: int) -> Outcome:
    rules = dataclasses.replace(rules, task_deadline=case.task_deadline)
    return Simulation(seconds, with_deaths(case, seconds), np.random.default_rng(seed), rules=rules).run(at_most=1e8)


def static(case: Case, seconds: Sequence[float], seed: int) -> Outcome:
    """Each machine by itself. Its death is its driver's: what has a line in its journal stays done."""
    cluster = case.cluster
    together, number = Outcome(), len(cluster.speeds)
    generator = np.random.default_rng(seed)
    lives = generator.spawn(number)  # the machines of `dynamic` die at the same times
    back = cluster.driver_back_seconds
    for place, speed in enumerate(cluster.speeds):
        own = list(seconds[place::number])
        deaths: list[float] = []
        if cluster.node_life_hours < np.inf:
            moment = 0.0
            while moment < 100 * sum(own) / cluster.workers:
                moment += lives[place].exponential(cluster.node_life_hours * HOUR)
                deaths.append(moment)
                moment += cluster.node_back_seconds
        machine = dataclasses.replace(
            cluster, speeds=(speed,), node_life_hours=np.inf, driver_dies_at=tuple(deaths),
            driver_back_seconds=back + (cluster.node_back_seconds if deaths else 0),
        )  # fmt: skip
        if case.driver_dies and not deaths:
            machine = with_deaths(dataclasses.replace(case, cluster=machine), own)
        rules = dataclasses.replace(PLAIN, task_deadline=case.task_deadline)
        outcome = Simulation(own, machine, generator, rules=rules).run(at_most=1e8)
        together.makespan = max(together.makespan, outcome.makespan)
        together.runs += outcome.runs
        together.worked_seconds += outcome.worked_seconds
        together.results.update({place + number * task: times for task, times in outcome.results.items()})
        together.given_up += [(place + number * task, reason) for task, reason in outcome.given_up]
    return together


def check(outcome: Outcome, count: int) -> None:
    """SystemExit when a clip is lost or doubled: then no figure means anything."""
    found = sorted([*outcome.results, *(task for task, _ in outcome.given_up)])
    if found != list(range(count)) or set(outcome.results.values()) - {1}:
        raise SystemExit("a clip was lost or recorded twice")


def cases(nodes: int, workers: int, result_seconds: float) -> list[Case]:
    base = Cluster((1.0,) * nodes, workers, START_SECONDS, result_seconds, driver_back_seconds=60)

    def changed(**values: object) -> Cluster:
        return dataclasses.replace(base, **values)  # type: ignore[arg-type]

    slow = (0.25, *base.speeds[1:])
    return [
        Case("nothing goes wrong", base),
        Case("ten films of two hours, one of them at the end", base, films=10),
        Case("one machine is four times as slow", changed(speeds=slow)),
        Case("1 clip in 1,000 takes 100 times as long, this once", changed(stall_share=0.001)),
        Case("1 clip in 10,000 hangs", changed(hang_share=0.0001)),
        Case("the same with --task-deadline 60", changed(hang_share=0.0001), task_deadline=60),
        Case("a machine lives an hour", changed(node_life_hours=1)),
        Case("a machine lives ten minutes", changed(node_life_hours=1 / 6)),
        Case("the driver dies three times", base, driver_dies=3),
        Case(
            "all of this",
            changed(speeds=slow, stall_share=0.001, hang_share=0.0001, node_life_hours=1),
            films=10,
            driver_dies=1,
        ),
    ]


def failures(arguments: argparse.Namespace, clips: NDArray[np.float64], film: float) -> None:
    count = len(clips)
    print(
        f"\n{count:,} clips of {clips.mean():.3f} s on average, {arguments.nodes} machines of {arguments.workers} workers;"
        f"\na result takes {arguments.result_ms:g} ms of the driver; a machine that died is replaced after 5 minutes,"
        f"\na driver after 1. Mean of {arguments.repeats} runs, times the least that is possible where nothing fails;"
        "\nof a slow machine, with what it can do.\n"
    )
    print(f"{'':52}{'least':>8}{'copies':>8}{'no copies':>11}{'shards':>8} | with copies:")
    print(f"{'':87} | {'deaths':>6}{'copies':>8}{'in vain':>9}{'given up':>10}")
    for case in cases(arguments.nodes, arguments.workers, arguments.result_ms / 1000):
        seconds = work(case, clips, film)
        least = least_makespan(seconds, case.cluster)
        found: dict[str, list[Outcome]] = {"copies": [], "no copies": [], "shards": []}
        for seed in range(arguments.repeats):
            found["copies"].append(dynamic(case, seconds, COPIES, seed))
            found["no copies"].append(dynamic(case, seconds, PLAIN, seed))
            found["shards"].append(static(case, seconds, seed))
        for outcome in (outcome for each in found.values() for outcome in each):
            check(outcome, count)
        ratios = [statistics.fmean(outcome.makespan for outcome in each) / least for each in found.values()]
        own = found["copies"]
        vain = abs(statistics.fmean(1 - sum(seconds) / outcome.worked_seconds for outcome in own))
        print(
            f"{case.name:52}{least:7.0f}s{ratios[0]:8.2f}{ratios[1]:11.2f}{ratios[2]:8.2f} | "
            f"{statistics.fmean(outcome.node_deaths for outcome in own):7.1f}"
            f"{statistics.fmean(outcome.copies for outcome in own):8.1f}"
            f"{'' if case.cluster.speeds[0] != 1 else format(vain, '.1%'):>9}"
            f"{statistics.fmean(len(outcome.given_up) for outcome in own):10.1f}",
            flush=True,
        )


def sizes(arguments: argparse.Namespace, clips: NDArray[np.float64]) -> None:
    print(
        f"\nMore machines, {PER_WORKER} clips a worker, nothing goes wrong. The driver takes one result after the other:\n"
    )
    print(f"{'workers':>8}{'clips/s':>9}{'of least':>10}{'most clips known':>18}{'us a clip':>11}")
    for nodes in (4, 16, 32, 64, 128, 256):
        cluster = Cluster((1.0,) * nodes, arguments.workers, START_SECONDS, arguments.result_ms / 1000)
        own = np.resize(clips, PER_WORKER * nodes * arguments.workers).tolist()
        begun = time.process_time()
        outcome = Simulation(own, cluster, np.random.default_rng(0), rules=COPIES).run()
        used = time.process_time() - begun
        check(outcome, len(own))
        rate = len(own) / (outcome.makespan - cluster.start_seconds)
        print(
            f"{nodes * arguments.workers:8}{rate:9.0f}{outcome.makespan / least_makespan(own, cluster):10.2f}"
            f"{outcome.most_known:18}{used / len(own) * 1e6:11.0f}",
            flush=True,
        )
    print("(the last column: processor time of simulation and scheduling together; what scheduling costs is below it)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("costs", type=Path, help="of clip_costs.py --csv")
    parser.add_argument("--clips", type=int, default=200_000)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--workers", type=int, default=4, help="per machine")
    parser.add_argument("--result-ms", type=float, default=1.0, help="of the driver for one result")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    clips, film = clips_of(arguments.costs, arguments.clips, np.random.default_rng(0))
    failures(arguments, clips, film)
    sizes(arguments, clips)


if __name__ == "__main__":
    main()
