"""The local engine: this process for one worker, warm worker processes for more."""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import multiprocessing
from collections.abc import Iterable, Iterator
from typing import Any

from ferbench.engines import Job, Worker, WorkerStartError
from ferbench.errors import FerbenchError, UsageError

TASKS_PER_WORKER = 3
"""Tasks in flight per worker: enough that no worker waits, few enough that memory is flat in the size of the job."""

_worker: Worker[Any, Any] | None = None
_start_error: WorkerStartError | None = None


def run(job: Job[Any, Any], tasks: Iterable[Any], workers: int) -> Iterator[tuple[Any, Any | FerbenchError]]:
    """Map `job` over `tasks`; see `ferbench.engines.Engine`."""
    if workers <= 1:
        yield from _in_this_process(job, tasks)
    else:
        yield from _in_processes(job, tasks, workers)


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


def _in_processes(job: Job[Any, Any], tasks: Iterable[Any], workers: int) -> Iterator[tuple[Any, Any | FerbenchError]]:
    from pebble import ProcessExpired, ProcessPool

    # spawn: a forked copy of a process that has used torch or FFmpeg can deadlock.
    context = multiprocessing.get_context("spawn")
    waiting = iter(tasks)
    with ProcessPool(max_workers=workers, context=context, initializer=_open, initargs=(job,)) as pool:
        running: dict[concurrent.futures.Future[Any], Any] = {}
        try:
            while True:
                for task in itertools.islice(waiting, workers * TASKS_PER_WORKER - len(running)):
                    running[pool.schedule(_handle, args=(task,))] = task
                if not running:
                    break
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    task = running.pop(future)
                    try:
                        yield task, future.result()
                    except (WorkerStartError, UsageError):
                        raise
                    except FerbenchError as error:
                        yield task, error
                    except ProcessExpired as error:
                        yield (
                            task,
                            FerbenchError(
                                f"the process working on this sample died with exit code {error.exitcode}",
                                reason="worker-died",
                            ),
                        )
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
