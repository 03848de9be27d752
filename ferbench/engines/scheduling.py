"""Which task runs where, when workers come and go: the rules, without processes, clocks or a network.

What happened is told with its time (`worker_added`, `worker_ready`, `task_added`, `finished`, `worker_lost`), and `decide`
says what to do about it. The times are seconds of any clock that runs forwards, so a simulation drives the very same code
(`benchmarks/scheduler_simulation.py`).

    a worker       has one task at a time: nothing waits behind a slow task, and whose fault a death is, is known
    its node dies  its task is no suspect, and tried again, `Rules.node_losses` times
    it dies        its task is tried once more, on another node where there is one, and then given up
    it hangs       it is stopped, and the same
    the end        when nothing waits, idle workers get copies of tasks that run long; the first result counts
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

HUNG, DIED, NODE_LOST = "task-hung", "worker-died", "node-lost"
"""Reasons of a task that is given up."""
COPY, NEVER_READY = "copy", "never-ready"
"""Further reasons why a worker is stopped: another had the result first; it did not start in time."""

Cause = Literal["died", "node", "told"]
"""How a worker was lost: by itself, with its node, or because it was stopped."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers. Seconds are of the clock whose times are told."""

    task_deadline: float = 3600.0
    """A worker that takes longer for one task is stopped."""
    start_deadline: float = 600.0
    """The same for getting ready: loading a model from a slow disk takes minutes."""
    tries: int = 2
    """Times a task may be running when its worker dies or hangs."""
    node_losses: int = 20
    """Times a task is tried again because a node died. It is not to blame, yet no job runs for ever."""
    start_tries: int = 3
    """Workers in a row that may die on a node while they start; there are no more after that."""
    straggler_factor: float = 3.0
    """A task that runs longer than this many times the median gets a copy, when there is an idle worker for it."""
    straggler_seconds: float = 5.0
    """A task that runs less is never copied: it is done before the copy is."""
    straggler_after: int = 5
    """Finished tasks before their median says something."""
    patience: float = 30.0
    """How long a result is kept back for the workers that still work on its copies to be gone. They write the same
    bytes, so after that it is given out all the same."""


@dataclass(frozen=True, slots=True)
class Start:
    """Give `task` to `worker`."""

    task: int
    worker: Hashable
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process of `worker`, and tell `worker_lost` with the cause `told` when it is gone."""

    worker: Hashable
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The result of `task` that `finished` called the first may be given out: nobody works on it any more."""

    task: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`task` will not be tried again."""

    task: int
    reason: str


Decision = Start | Stop | Done | GiveUp


@dataclass(slots=True)
class _Task:
    runners: list[Hashable] = field(default_factory=list)
    blames: int = 0
    node_losses: int = 0
    avoid: set[Hashable] = field(default_factory=set)
    """Nodes where it took a worker with it."""
    has_result: bool = False


@dataclass(slots=True)
class _Worker:
    node: Hashable
    since: float
    """When it was added, got its task, or became idle."""
    is_ready: bool = False
    task: int | None = None
    stopping: str = ""
    """Why it was told to stop."""


class Scheduler:
    """The state of one job. Tasks are numbers, workers and nodes any names; a lost worker's name is not used again."""

    def __init__(self, rules: Rules = Rules()) -> None:
        self.rules = rules
        self._tasks: dict[int, _Task] = {}
        self._waiting: deque[int] = deque()
        self._workers: dict[Hashable, _Worker] = {}
        self._nodes: dict[Hashable, int] = {}
        """Workers that are not being stopped, by node."""
        # Dicts as ordered sets: what was put in first has been there longest, so only the first ones are looked at.
        self._starting: dict[Hashable, None] = {}
        self._idle: dict[Hashable, None] = {}
        self._busy: dict[Hashable, None] = {}
        self._held: dict[int, float] = {}
        """Tasks with a result whose copies still run, and since when."""
        self._seconds: deque[float] = deque(maxlen=1001)
        self._start_failures: dict[Hashable, int] = {}
        self._told: list[Decision] = []
        self._no_more = False

    # --- what is asked ------------------------------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether every task was given out or given up, and no more will come."""
        return self._no_more and not self._tasks and not self._told

    @property
    def room(self) -> int:
        """Tasks to add now so that no worker waits for the next: as many wait as there are workers. Memory stays flat."""
        return 0 if self._no_more else max(0, len(self._workers) - len(self._waiting))

    @property
    def num_waiting(self) -> int:
        """Tasks that no worker has."""
        return len(self._waiting)

    def refuses(self, node: Hashable) -> bool:
        """Whether so many workers died on `node` while they started that no more should be tried."""
        return self._start_failures.get(node, 0) >= self.rules.start_tries

    def task_of(self, worker: Hashable) -> int | None:
        """What a worker is at."""
        return self._workers[worker].task if worker in self._workers else None

    # --- what is told -------------------------------------------------------------------------------------------------

    def task_added(self, task: int) -> None:
        """There is a task; numbers are not used twice."""
        self._tasks[task] = _Task()
        self._waiting.append(task)

    def no_more_tasks(self) -> None:
        """The last task was added."""
        self._no_more = True

    def worker_added(self, worker: Hashable, node: Hashable, now: float) -> None:
        """A worker is being started on a node."""
        self._workers[worker] = _Worker(node, now)
        self._nodes[node] = self._nodes.get(node, 0) + 1
        self._starting[worker] = None

    def worker_ready(self, worker: Hashable, now: float) -> None:
        """It can take tasks."""
        known = self._workers.get(worker)
        if known is None or known.stopping:
            return
        self._starting.pop(worker, None)
        self._start_failures.pop(known.node, None)
        known.is_ready, known.since = True, now
        self._idle[worker] = None

    def finished(self, worker: Hashable, now: float) -> bool:
        """A worker has the result of its task. True when it is the first, which is to be kept until `Done`."""
        known = self._workers.get(worker)
        if known is None or known.task is None:
            return False
        number, known.task = known.task, None
        self._busy.pop(worker, None)
        if not known.stopping:
            self._seconds.append(now - known.since)
            known.since = now
            self._idle[worker] = None
        task = self._tasks.get(number)
        if task is None:
            return False  # its result was given out while this copy ran
        task.runners.remove(worker)
        is_first = not task.has_result
        task.has_result = True
        for other in task.runners:
            self._stop(other, COPY)
        self._held.setdefault(number, now)
        self._release(number)
        return is_first

    def worker_lost(self, worker: Hashable, now: float, *, cause: Cause) -> None:
        """A worker is no more."""
        known = self._workers.pop(worker, None)
        if known is None:
            return
        for group in (self._starting, self._idle, self._busy):
            group.pop(worker, None)
        if not known.stopping:
            self._leave(known.node)
        if not known.is_ready and cause != "node":
            self._start_failures[known.node] = self._start_failures.get(known.node, 0) + 1
        number = known.task
        task = None if number is None else self._tasks.get(number)
        if number is None or task is None:
            return
        task.runners.remove(worker)
        reason = NODE_LOST
        if cause == "node":
            task.node_losses += 1
        elif known.stopping == HUNG or (cause == "died" and not known.stopping):
            reason = known.stopping or DIED
            task.blames += 1
            task.avoid.add(known.node)
        if task.has_result:
            self._release(number)
        elif not task.runners:
            self._try_again(number, task, reason)

    # --- what is decided ----------------------------------------------------------------------------------------------

    def decide(self, now: float) -> list[Decision]:
        """What is to be done now. Each decision counts as carried out: it is not said twice."""
        self._stop_late(now)
        for number, since in list(self._held.items()):
            if now - since < self.rules.patience:
                break
            self._give_out(number)
        self._start_waiting(now)
        if self._no_more and not self._waiting:
            self._copy_stragglers(now)
        decisions, self._told = self._told, []
        return decisions

    def next_look(self, now: float) -> float | None:
        """Seconds until something is decided although nothing happens; None where nothing would be."""
        times = [self._workers[worker].since + self.rules.start_deadline for worker in list(self._starting)[:1]]
        times += [self._workers[worker].since + self.rules.task_deadline for worker in list(self._busy)[:1]]
        times += [since + self.rules.patience for since in list(self._held.values())[:1]]
        threshold = self._threshold()
        if threshold is not None and self._no_more and not self._waiting and self._idle:
            times += [self._workers[worker].since + threshold for worker in self._uncopied()[:1]]
        return max(0.0, min(times) - now) if times else None

    def _stop_late(self, now: float) -> None:
        for group, limit, reason in (
            (self._starting, self.rules.start_deadline, NEVER_READY),
            (self._busy, self.rules.task_deadline, HUNG),
        ):
            for worker in list(group):
                if now - self._workers[worker].since < limit:
                    break
                self._stop(worker, reason)

    def _start_waiting(self, now: float) -> None:
        passed: list[int] = []
        while self._waiting and self._idle:
            number = self._waiting.popleft()
            task = self._tasks[number]
            worker = next(iter(self._idle))
            if task.avoid:
                good = next((name for name in self._idle if self._workers[name].node not in task.avoid), None)
                if good is None and any(node not in task.avoid for node in self._nodes):
                    passed.append(number)  # until a worker of another node is idle
                    continue
                worker = worker if good is None else good
            self._start(number, worker, now)
        self._waiting.extendleft(reversed(passed))

    def _copy_stragglers(self, now: float) -> None:
        threshold = self._threshold()
        if threshold is None or not self._idle:
            return
        for slow in self._uncopied():
            known = self._workers[slow]
            if now - known.since < threshold or not self._idle:
                break
            assert known.task is not None
            # What makes a task slow may be its node.
            elsewhere = (name for name in self._idle if self._workers[name].node != known.node)
            self._start(known.task, next(elsewhere, next(iter(self._idle))), now, is_copy=True)

    def _uncopied(self) -> list[Hashable]:
        """Workers whose task no other has, the longest at work first."""
        numbers = [(worker, self._workers[worker].task) for worker in self._busy]
        return [worker for worker, number in numbers if number is not None and len(self._tasks[number].runners) == 1]

    def _threshold(self) -> float | None:
        if len(self._seconds) < self.rules.straggler_after:
            return None
        return max(self.rules.straggler_seconds, self.rules.straggler_factor * statistics.median(self._seconds))

    def _start(self, number: int, worker: Hashable, now: float, *, is_copy: bool = False) -> None:
        known = self._workers[worker]
        known.task, known.since = number, now
        del self._idle[worker]
        self._busy[worker] = None
        self._tasks[number].runners.append(worker)
        self._told.append(Start(number, worker, is_copy))

    def _stop(self, worker: Hashable, reason: str) -> None:
        known = self._workers[worker]
        if known.stopping:
            return
        known.stopping = reason
        self._leave(known.node)
        for group in (self._starting, self._idle, self._busy):
            group.pop(worker, None)
        self._told.append(Stop(worker, reason))

    def _leave(self, node: Hashable) -> None:
        self._nodes[node] -= 1
        if not self._nodes[node]:
            del self._nodes[node]

    def _try_again(self, number: int, task: _Task, reason: str) -> None:
        if task.blames >= self.rules.tries or task.node_losses > self.rules.node_losses:
            del self._tasks[number]
            self._told.append(GiveUp(number, reason))
        else:
            self._waiting.appendleft(number)

    def _release(self, number: int) -> None:
        if not self._tasks[number].runners:
            self._give_out(number)

    def _give_out(self, number: int) -> None:
        del self._tasks[number]
        self._held.pop(number, None)
        self._told.append(Done(number))
