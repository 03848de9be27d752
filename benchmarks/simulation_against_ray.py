"""Is the simulated scheduler the real one? The same tasks through the simulation and through the Ray engine itself.

Tasks sleep as long as clips take, so that a real Ray cluster of many workers fits on a few cores. Printed per case: seconds
from the first result to the last, simulated and found, and what was given up.

    python benchmarks/simulation_against_ray.py benchmarks/results/2026-11-23-clip-costs.csv --workers 8 --tasks 2000
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scheduler_simulation import clips_of
from simulated_cluster import Cluster, Simulation

from ferbench.engines import EngineOptions
from ferbench.engines.scheduling import Rules
from ferbench.errors import FerbenchError

START = 1.5
"""Seconds in which all workers should be there; the first results come before that, and are not in the figures."""


@dataclass(frozen=True)
class Sleeping:
    """A job whose tasks are (number, seconds, whether it kills its process)."""

    def open(self) -> Sleeping:
        return self

    def handle(self, task: tuple[int, float, bool]) -> int:
        number, seconds, kills = task
        time.sleep(seconds)
        if kills:
            os._exit(1)
        return number

    def close(self) -> None:
        pass


def found(seconds: Sequence[float], killers: set[int], workers: int) -> tuple[float, list[tuple[int, str]]]:
    """Seconds between first and last result of the engine, and (task, reason) of those that were given up."""
    # Pickled, a class is its module's name, and workers have another __main__.
    from simulation_against_ray import Sleeping as Job

    from ferbench.engines.ray import run

    tasks = [(number, length, number in killers) for number, length in enumerate(seconds)]
    moments, failed, done = [], [], set()
    for task, result in run(Job(), tasks, EngineOptions(workers=workers, num_tasks=len(tasks))):
        moments.append(time.perf_counter())
        done.add(task[0])
        if isinstance(result, FerbenchError):
            failed.append((task[0], result.reason))
    if len(moments) != len(seconds) or len(done) != len(seconds):
        raise SystemExit("a task was lost or doubled")
    return moments[-1] - moments[0], sorted(failed)


def simulated(seconds: Sequence[float], killers: set[int], workers: int, ms: float, start: float) -> tuple[float, list]:
    cluster = Cluster((1.0,), workers, start_seconds=start, result_seconds=ms / 1000)
    outcome = Simulation(seconds, cluster, np.random.default_rng(0), rules=Rules(), killers=killers).run()
    return outcome.makespan - start - min(seconds[:workers]), sorted(outcome.given_up)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("costs", type=Path, help="of clip_costs.py --csv")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--result-ms", type=float, default=1.0)
    arguments = parser.parse_args()
    import ray

    ray.init(
        address="local", num_cpus=arguments.workers, object_store_memory=80 << 20, include_dashboard=False,
        log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    clips, _ = clips_of(arguments.costs, arguments.tasks, np.random.default_rng(0))
    plain = clips.tolist()
    long = [*plain[:-2], 12.0, plain[-1]]
    print(f"{arguments.tasks} tasks of {clips.mean():.3f} s on average, {arguments.workers} workers")
    print(f"{'':44}{'simulated':>10}{'found':>8}   given up")
    for name, seconds, killers in (
        ("nothing goes wrong", plain, set()),
        ("one of 12 seconds at the end", long, set()),
        ("three that kill their worker", plain, {100, 700, 1500}),
    ):
        expected, given_up = simulated(seconds, killers, arguments.workers, arguments.result_ms, START)
        took, failed = found(seconds, killers, arguments.workers)
        same = "the same" if failed == given_up else f"simulated {given_up}, found {failed}"
        print(f"{name:44}{expected:9.1f}s{took:7.1f}s   {len(failed)}, {same}", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
