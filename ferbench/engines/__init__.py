"""Engines: each maps a job over rows. The job code is the same under all of them.

A job is a picklable object with `open()`, which returns a `Worker`; `open` is called once in each process that works.
A worker handles one task at a time, reads its inputs and writes its outputs itself, and returns a small status record.
Results come back in any order; a task whose process died comes back as a FerbenchError, and the others go on.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
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


Engine = Callable[[Any, Iterable[Any], int], Iterator[tuple[Any, "Any | FerbenchError"]]]
"""(job, tasks, number of workers) -> (task, result or error) pairs as they finish."""

ENGINES: dict[str, str] = {"local": "ferbench.engines.local"}
"""Name -> module with a `run` function of type `Engine`. A new engine is one small file and one row."""


def engine_of(name: str) -> Engine:
    """The engine of that name; UsageError lists the known ones."""
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    engine: Engine = importlib.import_module(ENGINES[name]).run
    return engine


def worker_count(wanted: int, tasks: int) -> int:
    """How many workers to use: as many as wanted, or one per core that this process may use; never more than tasks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(wanted or cores, tasks))
