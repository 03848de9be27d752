"""A cluster in which nothing is done and everything goes wrong: an event simulation for scheduler_simulation.py.

Time is a number, a task is the seconds it takes, and the next event is taken from a heap. Who gets which task, who is
stopped and what is tried again is decided by the engine's own `ferbench.engines.scheduling.Scheduler`; the driver here does
what it says, as the Ray engine's driver does. What can happen:

    a node dies        and takes its workers and what they have; another comes after a while, and its workers start
    a run stalls       it takes many times as long, this once: a disk, a switch
    a run hangs        it never ends
    a task kills       its worker process, every time
    the driver dies    and with it the schedule and the workers; started again, it plans what has no line in the journal

Every random number comes from the generator that is passed in, so a simulation can be repeated.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ferbench.engines.scheduling import Done, GiveUp, Rules, Scheduler, Start, Stop

HOUR = 3600.0
MOST_LOOKS = 1000
"""At the schedule, without a decision: then it waits for what cannot happen."""


@dataclass(frozen=True)
class Cluster:
    """Machines, and how they fail."""

    speeds: tuple[float, ...] = (1.0,)
    """One per node: 0.5 takes twice as long."""
    workers: int = 1
    """Per node."""
    start_seconds: float = 0.0
    """From a process's start to its first task."""
    result_seconds: float = 0.0
    """The driver's time for one result; it takes them one after the other."""
    node_life_hours: float = math.inf
    """On average; exponential."""
    node_back_seconds: float = 300.0
    """Until another node is there for one that died."""
    driver_dies_at: tuple[float, ...] = ()
    driver_back_seconds: float = 60.0
    """Until a driver that died has planned again."""
    stall_share: float = 0.0
    """Of runs."""
    stall_factor: float = 100.0
    hang_share: float = 0.0
    """Of runs."""

    @property
    def capacity(self) -> float:
        """Seconds of work done in a second while nothing fails."""
        return sum(self.speeds) * self.workers


@dataclass
class Outcome:
    """What came of a simulated job."""

    makespan: float = 0.0
    """Seconds until the last task was recorded or given up."""
    results: Counter[int] = field(default_factory=Counter)
    """Task -> how often its result was recorded: once, or it is a mistake."""
    given_up: list[tuple[int, str]] = field(default_factory=list)
    """(task, reason)."""
    runs: int = 0
    """Begun; copies and second tries included."""
    copies: int = 0
    worked_seconds: float = 0.0
    """Of all workers, with what was in vain."""
    node_deaths: int = 0
    stopped: Counter[str] = field(default_factory=Counter)
    """Workers that the schedule stopped, by reason."""
    most_known: int = 0
    """Tasks that the driver had taken from the source and not yet recorded: what its memory grows with."""


def least_makespan(seconds: Sequence[float], cluster: Cluster) -> float:
    """No schedule is faster: all work at full capacity, or the longest task on the fastest node. Start-up included."""
    if not seconds:
        return 0.0
    return cluster.start_seconds + max(sum(seconds) / cluster.capacity, max(seconds) / max(cluster.speeds))


@dataclass
class _Worker:
    node: int
    is_ready: bool = False
    task: int | None = None
    """What it is at; None while its result is on the way."""
    begun: float = 0.0


class Simulation:
    """One job on one cluster. `seconds[i]` is what task i takes on a node of speed 1."""

    def __init__(
        self,
        seconds: Sequence[float],
        cluster: Cluster,
        generator: np.random.Generator,
        *,
        rules: Rules = Rules(),  # noqa: B008 - a frozen record
        killers: Iterable[int] = (),
    ) -> None:
        """`killers` are tasks that kill the process of their worker, at their end."""
        self._seconds, self._cluster, self._generator, self._rules = seconds, cluster, generator, rules
        # Of each node its own, so that the same machines die at the same times whatever the schedule does.
        self._lives = generator.spawn(len(cluster.speeds))
        self._killers = frozenset(killers)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._nodes: dict[int, int] = {}
        """Nodes that are there -> which life of theirs it is."""
        self._workers: dict[int, _Worker] = {}
        self._driver: int | None = None
        """Which life of the driver it is; None while there is none."""
        self._free_at = 0.0
        """When the driver has done what came in before."""
        self._look_at = math.inf
        """When the schedule is looked at although nothing happens."""
        self._looks = 0
        """Such looks since something was decided."""
        self._open = set(range(len(seconds)))
        self.now = 0.0
        self.outcome = Outcome()

    def run(self, *, at_most: float = math.inf) -> Outcome:
        """To the end of the job. RuntimeError when that is not within `at_most` seconds, or nothing happens any more."""
        for node in range(len(self._cluster.speeds)):
            self._node_comes(node)
        for moment in self._cluster.driver_dies_at:
            self._at(moment, self._driver_dies)
        self._driver_comes()
        while self._open:
            if not self._events:
                raise RuntimeError(f"nothing happens any more, and {len(self._open)} tasks are open")
            self.now, _, happen, arguments = heapq.heappop(self._events)
            if self.now > at_most:
                raise RuntimeError(f"{len(self._open)} tasks are still open after {at_most:g} seconds")
            happen(*arguments)
        self.outcome.makespan = self.now
        for worker in list(self._workers):
            self._end(worker)
        return self.outcome

    def _at(self, moment: float, happen: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, happen, arguments))

    # --- the driver ---------------------------------------------------------------------------------------------------

    def _driver_comes(self) -> None:
        self._count += 1
        self._driver, self._free_at = self._count, self.now
        self._scheduler = Scheduler(self._rules)
        self._source = deque(sorted(self._open))
        self._known = 0
        for node in self._nodes:
            self._start_workers(node, self._cluster.workers)
        self._drive()

    def _driver_dies(self) -> None:
        if self._driver is None or not self._open:
            return
        self._driver = None
        for worker in list(self._workers):
            self._end(worker)
        self._at(self.now + self._cluster.driver_back_seconds, self._driver_comes)

    def _start_workers(self, node: int, number: int) -> None:
        for _ in range(0 if self._scheduler.refuses(node) else number):
            self._count += 1
            self._workers[self._count] = _Worker(node)
            self._scheduler.worker_added(self._count, node, self.now)
            self._at(self.now + self._cluster.start_seconds, self._worker_ready, self._count)

    def _drive(self) -> None:
        """Take in tasks, carry out what is decided, and look again when the schedule wants to."""
        while self._source and self._scheduler.room:
            self._scheduler.task_added(self._source.popleft())
            self._known += 1
        if not self._source:
            self._scheduler.no_more_tasks()
        self.outcome.most_known = max(self.outcome.most_known, self._known)
        lost: list[int] = []
        for decision in self._scheduler.decide(self.now):
            self._looks = 0
            match decision:
                case Start(task, int(worker), is_copy):
                    self.outcome.copies += is_copy
                    self._begin(worker, task)
                case Stop(int(worker), reason):
                    self.outcome.stopped[reason] += 1
                    lost.append(worker)
                case Done(task):
                    self.outcome.results[task] += 1
                    self._known -= 1
                    self._open.discard(task)
                case GiveUp(task, reason):
                    self.outcome.given_up.append((task, reason))
                    self._known -= 1
                    self._open.discard(task)
        for worker in lost:
            self._lose(worker, "told")
        if lost:
            self._drive()
            return
        wait = self._scheduler.next_look(self.now)
        if wait is not None:
            # Rounding can leave the time a hair before the moment that was meant, for ever.
            moment = self.now + max(wait, 1e-3)
            if moment < self._look_at:
                self._look_at = moment
                self._at(moment, self._look_again, moment)

    def _look_again(self, moment: float) -> None:
        if moment == self._look_at:
            self._look_at = math.inf
            self._looks += 1
            if self._looks > MOST_LOOKS:
                raise RuntimeError(f"nothing happens any more, and {len(self._open)} tasks are open")
            if self._driver is not None:
                self._drive()

    def _worker_ready(self, worker: int) -> None:
        if worker in self._workers:
            self._workers[worker].is_ready = True
            self._scheduler.worker_ready(worker, self.now)
            self._drive()

    def _result_arrives(self, worker: int, driver: int | None) -> None:
        """The driver takes one after the other: this one when those before it are done."""
        self._free_at = max(self._free_at, self.now) + self._cluster.result_seconds
        self._at(self._free_at, self._take, worker, driver)

    def _take(self, worker: int, driver: int | None) -> None:
        if driver == self._driver and self._driver is not None:
            self._scheduler.finished(worker, self.now)
            self._drive()

    def _lose(self, worker: int, cause: Literal["died", "node", "told"]) -> None:
        """The process of a worker is no more; where its node is, there is a new one in its place."""
        known = self._workers.get(worker)
        if known is None:
            return
        self._end(worker)
        self._scheduler.worker_lost(worker, self.now, cause=cause)
        if cause != "node":
            self._start_workers(known.node, 1)

    # --- the nodes ----------------------------------------------------------------------------------------------------

    def _node_comes(self, node: int) -> None:
        self._count += 1
        self._nodes[node] = self._count
        if self._cluster.node_life_hours < math.inf:
            life = self._lives[node].exponential(self._cluster.node_life_hours * HOUR)
            self._at(self.now + life, self._node_dies, node, self._count)
        if self._driver is not None:
            self._start_workers(node, self._cluster.workers)
            self._drive()

    def _node_dies(self, node: int, life: int) -> None:
        if self._nodes.get(node) != life:
            return
        del self._nodes[node]
        self.outcome.node_deaths += 1
        for worker in [name for name, known in self._workers.items() if known.node == node]:
            self._lose(worker, "node")
        if self._driver is not None:
            self._drive()
        self._at(self.now + self._cluster.node_back_seconds, self._node_comes, node)

    # --- the workers --------------------------------------------------------------------------------------------------

    def _begin(self, worker: int, task: int) -> None:
        known = self._workers[worker]
        known.task, known.begun = task, self.now
        self.outcome.runs += 1
        took = self._seconds[task] / self._cluster.speeds[known.node]
        luck = self._generator.random()
        if luck < self._cluster.hang_share:
            return
        if luck < self._cluster.hang_share + self._cluster.stall_share:
            took *= self._cluster.stall_factor
        self._at(self.now + took, self._dies_of_it if task in self._killers else self._ends, worker)

    def _ends(self, worker: int) -> None:
        known = self._workers.get(worker)
        if known is not None:  # it may have been stopped, or died, before: then its name is not used again
            self.outcome.worked_seconds += self.now - known.begun
            known.task = None
            self._result_arrives(worker, self._driver)

    def _dies_of_it(self, worker: int) -> None:
        if worker in self._workers:
            self._lose(worker, "died")
            self._drive()

    def _end(self, worker: int) -> None:
        known = self._workers.pop(worker)
        if known.task is not None:
            self.outcome.worked_seconds += self.now - known.begun
