"""Engines: each maps a job over rows. The job code is the same under all of them.

A job is a picklable object with `open()`, which returns a `Worker`; `open` is called once in each process that works.
A worker handles one task at a time, reads its inputs and writes its outputs itself, and returns a small status record.
Results come back in any order; a task whose process died comes back as a FerbenchError, and the others go on.

    local        this process, or worker processes of this machine
    ray          worker processes of a Ray cluster; what it decides is `scheduling`, what runs elsewhere `remote`
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ferbench.errors import FerbenchError, UsageError

Task = TypeVar("Task")
Result = TypeVar("Result", covariant=True)
TaskIn = TypeVar("TaskIn", contravariant=True)


class WorkerStartError(FerbenchError):
    """A worker cannot be made; the job cannot run at all. Raised out of the engine, not returned for a task."""

    default_reason = "worker-start"


class Worker(Protocol[TaskIn, Result]):
    """Handles tasks in one process."""

    def handle(self, task: TaskIn) -> Result:
        """Do one task."""

    def close(self) -> None:
        """Let go of processes and devices."""


class Job(Protocol[TaskIn, Result]):
    """A picklable recipe for workers."""

    def open(self) -> Worker[TaskIn, Result]:
        """Make the worker of this process."""


TASK_DEADLINE = 3600.0
"""Seconds for one task, which in no job takes more than minutes."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine runs a job. Nothing here changes a result."""

    workers: int = 0
    """Processes; 0 is as many as the machine, or the cluster, has places for."""
    num_tasks: int | None = None
    """How many there are, where that is known: there are never more workers."""
    task_deadline: float = TASK_DEADLINE
    """Seconds that a worker process may take for a task; then it is killed, and the task tried once more."""
    address: str = ""
    """Of a Ray cluster, `HOST:PORT`; empty is `RAY_ADDRESS`, and else a cluster of this machine alone."""
    device: str = "cpu"
    """What a worker of a cluster needs: `cpu`, `cuda`, or `auto`: a GPU each, where the cluster has any."""
    cpus: int = 1
    """CPUs of a node that a worker takes, where it takes no GPU."""
    shared: tuple[str, ...] = ()
    """Absolute paths that must be there on every node of a cluster: where the job reads and writes."""


def check_engine(engine: str, address: str, task_deadline: float) -> None:
    """UsageError for settings of an engine that do not go together; what every job's options check."""
    if engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    if address and engine != "ray":
        raise UsageError(
            f"--address is that of a Ray cluster: say --engine ray, or leave it out with --engine {engine}"
        )
    if not task_deadline > 0:
        raise UsageError(f"task-deadline must be positive, got {task_deadline:g}")


Engine = Callable[[Any, Iterable[Any], EngineOptions], Iterator[tuple[Any, "Any | FerbenchError"]]]
"""(job, tasks, options) -> (task, result or error) pairs as they finish."""

ENGINES: dict[str, str] = {"local": "ferbench.engines.local", "ray": "ferbench.engines.ray"}
"""Name -> module with a `run` function of type `Engine`, and `device_of`. A new engine is one small file and one row."""


def engine_of(name: str) -> Engine:
    """The engine of that name; UsageError lists the known ones."""
    engine: Engine = _module_of(name).run
    return engine


def device_of(name: str, options: EngineOptions) -> str:
    """The device that workers of an engine run networks on, `cpu` or `cuda` with a number where there is a choice.

    UsageError when it is not there.
    """
    device: str = _module_of(name).device_of(options)
    return device


def _module_of(name: str) -> Any:
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    return importlib.import_module(ENGINES[name])


_own_cores: int | None = None


def own_cores() -> int:
    """Cores that this process may use."""
    if _own_cores is not None:
        return _own_cores
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_cores(count: int) -> None:
    """Have this process use so many cores from now on: a worker among others on a node does not have all of its."""
    global _own_cores
    _own_cores = max(1, count)


def worker_count(wanted: int, tasks: int) -> int:
    """How many workers to use: as many as wanted, or one per core that this process may use; never more than tasks."""
    return max(1, min(wanted or own_cores(), tasks))


GIVEN_UP = ("worker-died", "task-hung", "node-lost")
"""Reasons of a task that an engine could not get done, whatever the task was."""


def died(*, hung: bool = False, seconds: float = 0.0) -> FerbenchError:
    """What a task comes back as that took two workers with it: the same words under every engine."""
    if hung:
        return FerbenchError(
            f"the worker was still at it after {seconds:g} seconds and was stopped, and so was the next one; "
            f"--task-deadline gives it more",
            reason="task-hung",
        )
    return FerbenchError(
        "the process working on it died, and so did the next one; a full memory is the usual reason",
        reason="worker-died",
    )
