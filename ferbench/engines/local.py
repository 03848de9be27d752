"""The local engine: this process for one worker, warm worker processes for more."""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ferbench.engines import EngineOptions, Job, Worker, WorkerStartError, died, worker_count
from ferbench.errors import FerbenchError, UsageError

TASKS_PER_WORKER = 3
"""Tasks in flight per worker: enough that no worker waits, few enough that memory is flat in the size of the job."""
TRIES = 2
"""Times a task is given to a worker that dies of it, or does not end, before it is given up."""

_worker: Worker[Any, Any] | None = None
_start_error: WorkerStartError | None = None


def run(job: Job[Any, Any], tasks: Iterable[Any], options: EngineOptions) -> Iterator[tuple[Any, Any | FerbenchError]]:
    """Map `job` over `tasks`; see `ferbench.engines.Engine`. One worker is this process, which has no deadline."""
    workers = worker_count(options.workers, sys.maxsize if options.num_tasks is None else options.num_tasks)
    if workers <= 1:
        yield from _in_this_process(job, tasks)
    else:
        yield from _in_processes(job, tasks, workers, options.task_deadline)


def device_of(options: EngineOptions) -> str:
    """See `ferbench.engines.device_of`."""
    from ferbench.device import choose_device

    return choose_device(options.device)


def _in_this_process(job: Job[Any, Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any | FerbenchError]]:
    worker = job.open()
    try:
        for task in tasks:
            try:
                yield task, worker.handle(task)
            except UsageError:
                raise
            except FerbenchError as error:
                yield task, error
    finally:
        worker.close()


def _in_processes(
    job: Job[Any, Any], tasks: Iterable[Any], workers: int, deadline: float
) -> Iterator[tuple[Any, Any | FerbenchError]]:
    from pebble import ProcessExpired, ProcessPool

    # spawn: a forked copy of a process that has used torch or FFmpeg can deadlock.
    context = multiprocessing.get_context("spawn")
    waiting = ((task, 1) for task in tasks)
    with ProcessPool(max_workers=workers, context=context, initializer=_open, initargs=(job,)) as pool:
        running: dict[concurrent.futures.Future[Any], tuple[Any, int]] = {}
        try:
            while True:
                for task, attempt in itertools.islice(waiting, workers * TASKS_PER_WORKER - len(running)):
                    running[pool.schedule(_handle, args=(task,), timeout=deadline)] = task, attempt
                if not running:
                    break
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    task, attempt = running.pop(future)
                    try:
                        yield task, future.result()
                    except (WorkerStartError, UsageError):
                        raise
                    except FerbenchError as error:
                        yield task, error
                    except (ProcessExpired, concurrent.futures.TimeoutError) as error:
                        if attempt < TRIES:
                            running[pool.schedule(_handle, args=(task,), timeout=deadline)] = task, attempt + 1
                        else:
                            hung = not isinstance(error, ProcessExpired)
                            yield task, died(hung=hung, seconds=deadline)
        except BaseException:
            pool.stop()  # type: ignore[no-untyped-call]
            raise


def _open(job: Job[Any, Any]) -> None:
    """Runs once in each worker process. An error is kept for the first task: a pool cannot report one from here."""
    global _worker, _start_error
    try:
        _worker = job.open()
        atexit.register(_worker.close)
    except FerbenchError as error:
        _start_error = WorkerStartError(error.message, reason=error.reason)


def _handle(task: Any) -> Any:
    if _worker is None:
        raise _start_error or WorkerStartError("this process has no worker")
    return _worker.handle(task)
