"""The local engine with real processes: nothing is lost when a task fails or its process dies."""

import os
import signal
from dataclasses import dataclass

import pytest
from engine_jobs import DeedsJob

from ferbench.engines import EngineOptions, WorkerStartError, engine_of
from ferbench.errors import FerbenchError, MediaError, MissingExtraError, UsageError


class Squares:
    """Squares numbers; -1 is an expected failure, -2 kills the process."""

    def handle(self, task: int) -> int:
        if task == -1:
            raise MediaError("minus one", reason="negative")
        if task == -2:
            os.kill(os.getpid(), signal.SIGKILL)
        return task * task

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class SquareJob:
    def open(self) -> Squares:
        return Squares()


@dataclass(frozen=True)
class HomelessJob:
    def open(self) -> Squares:
        raise MissingExtraError("pip install 'ferbench[somewhere]'")


def results(tasks, workers):
    return {
        task: (result.reason, result.message) if isinstance(result, FerbenchError) else result
        for task, result in engine_of("local")(SquareJob(), tasks, EngineOptions(workers))
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_comes_back_once_with_its_result_or_its_error(workers):
    expected = {task: task * task for task in range(20)} | {-1: ("negative", "minus one")}
    assert results([*range(10), -1, *range(10, 20)], workers) == expected


def test_a_task_that_kills_its_process_is_an_error_and_the_others_go_on():
    found = results([1, 2, -2, *range(3, 15)], 2)
    assert found.pop(-2) == (
        "worker-died",
        "the process working on it died, and so did the next one; a full memory is the usual reason",
    )
    assert found == {task: task * task for task in range(1, 15)}


def test_a_worker_that_hangs_is_stopped_and_its_task_tried_once_more(tmp_path):
    tasks = [("hang", 1), ("late", 3), ("die", 1), *(("square", number) for number in range(6))]
    found = dict(engine_of("local")(DeedsJob(str(tmp_path)), tasks, EngineOptions(2, task_deadline=1.5)))
    assert found.pop(("hang", 1)).as_row() == (
        "task-hung: the worker was still at it after 1.5 seconds and was stopped, and so was the next one; "
        "--task-deadline gives it more"
    )
    assert found.pop(("die", 1)).reason == "worker-died"
    assert found == {("late", 3): 9, **{("square", number): number * number for number in range(6)}}
    tries = {path.name: len(path.read_text().split()) for path in tmp_path.iterdir()}
    assert {name: count for name, count in tries.items() if count != 1} == {"hang-1": 2, "late-3": 2, "die-1": 2}


def test_tasks_are_drawn_as_they_are_needed():
    drawn = []

    def tasks():
        for number in range(1000):
            drawn.append(number)
            yield number

    run = engine_of("local")(SquareJob(), tasks(), EngineOptions(2))
    for _ in range(10):
        next(run)
    assert len(drawn) <= 10 + 2 * 3
    run.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_cannot_start_ends_the_job_with_its_message(workers):
    with pytest.raises((WorkerStartError, MissingExtraError), match="pip install") as caught:
        list(engine_of("local")(HomelessJob(), [1, 2, 3], EngineOptions(workers)))
    assert caught.value.reason == "missing-extra"


def test_an_unknown_engine_lists_the_known_ones():
    with pytest.raises(UsageError, match="unknown engine 'spark'; known: local, ray"):
        engine_of("spark")
