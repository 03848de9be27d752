"""The Ray engine: worker processes all over a cluster, an actor each.

Ray starts processes on nodes, carries messages, and notices deaths. Which task goes where is decided by `scheduling`, on
the driver; how many workers a node has room for by `cluster`. A worker reads and writes by itself (`remote`), so that only
tasks and small status records travel, within the messages: the object store stays empty.

Ray Core and not Ray Data, measured by `benchmarks/engine_overhead.py`, which has both: a run takes 0.9 to 1.0 times what
the local engine takes, and 1.5 to 1.8 times through Ray Data. Data maps a stream of blocks of rows, keeps blocks in the
object store, and does a whole block again when a worker dies; what takes the time here is one task of a second or a minute,
whose worker may have to be stopped at a deadline or overtaken by a copy, and whose result is to be in the journal as soon
as it is there.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.engines import EngineOptions, Job, WorkerStartError, died
from ferbench.engines.cluster import Node, Places, connect, missing_from, nodes_of, places_of
from ferbench.engines.cluster import device_of as device_of_nodes
from ferbench.engines.remote import TOLD, Surroundings, pack, unpack, versions
from ferbench.engines.scheduling import HUNG, NODE_LOST, Cause, Done, GiveUp, Rules, Scheduler, Start, Stop
from ferbench.errors import FerbenchError, UsageError
from ferbench.remote import cache_folder, spot_of

LOOK_SECONDS = 3.0
"""How often the cluster is looked at for nodes that came."""
LIMBO_SECONDS = 60.0
"""How long a worker may be out of reach before it is taken for lost. Ray notices within 12 seconds that a node died."""
ALONE_SECONDS = 300.0
"""How long a job waits for a node when the last one is gone."""


def run(job: Job[Any, Any], tasks: Iterable[Any], options: EngineOptions) -> Iterator[tuple[Any, Any | FerbenchError]]:
    """Map `job` over `tasks`; see `ferbench.engines.Engine`.

    Raises FerbenchError when there is no cluster at the address or it has no room, WorkerStartError naming the node
    where a worker cannot start.
    """
    waiting = iter(tasks)
    first = list(itertools.islice(waiting, 1))
    if not first:
        return  # no cluster is needed for nothing
    driver = _Driver(connect(options), job, itertools.chain(first, waiting), options)
    try:
        yield from driver.results()
    finally:
        driver.stop()


def device_of(options: EngineOptions) -> str:
    """See `ferbench.engines.device_of`: by what the nodes have, not by what this machine has."""
    return device_of_nodes(nodes_of(connect(options)), options.device)


@dataclass(slots=True)
class _Handle:
    """The driver's end of a worker."""

    actor: Any
    node: Node
    ref: Any
    """What it will answer next: that it is open, a task's result, or whether it is alive; None while it is idle."""
    waits_for: str
    """`open`, `task`, `ping` or nothing."""
    limbo_since: float = 0.0


class _Driver:
    """One job on a cluster. `scheduling` decides; this carries it out."""

    def __init__(self, ray: Any, job: Job[Any, Any], tasks: Iterator[Any], options: EngineOptions) -> None:
        nodes = nodes_of(ray)
        # Chosen once: results of nodes with other devices would differ in their last bits.
        options = dataclasses.replace(options, device=device_of_nodes(nodes, options.device))
        self._ray, self._tasks, self._options = ray, tasks, options
        environment = {name: os.environ[name] for name in TOLD if name in os.environ}
        environment["FERBENCH_CACHE"] = str(cache_folder())  # mirrors of stores have the same paths everywhere
        shared = tuple(path for path in options.shared if os.path.exists(path) and spot_of(Path(path)) is None)
        surroundings = Surroundings(versions(), shared, environment, os.getcwd(), tuple(map(os.path.abspath, sys.path)))
        self._opening = pack(job), pack(surroundings)
        self._scheduler = Scheduler(Rules(task_deadline=options.task_deadline))
        self._handles: dict[Hashable, _Handle] = {}
        self._names = itertools.count()
        self._numbers = itertools.count()
        self._at_work: dict[int, Any] = {}
        """Tasks that were drawn and not given out, by number."""
        self._results: dict[int, bytes] = {}
        """First results, packed, that may not be given out yet."""
        self._first_nodes = {node.id for node in nodes}
        """Those there were at the start. One of them that cannot work ends the job; a later one is left alone."""
        self._refused: dict[str, str] = {}
        """Later nodes where no worker can start, and why."""
        self._next_look = 0.0
        self._last_seen = -math.inf
        """When there last was a worker."""
        self._actor_class = _actor_class(ray)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def results(self) -> Iterator[tuple[Any, Any | FerbenchError]]:
        """Every task with its result, as they finish."""
        scheduler = self._scheduler
        while True:
            now = time.monotonic()
            if now >= self._next_look:
                self._look(now)
            self._draw(scheduler.room)
            for decision in scheduler.decide(now):
                if isinstance(decision, Start):
                    handle = self._handles[decision.worker]
                    handle.ref = handle.actor.handle.remote(pack(self._at_work[decision.task]))
                    handle.waits_for = "task"
                elif isinstance(decision, Stop):
                    self._kill(decision.worker)
                else:
                    yield self._given_out(decision)
            if scheduler.is_done:
                return
            until = min(self._next_look - time.monotonic(), scheduler.next_look(time.monotonic()) or LOOK_SECONDS)
            self._listen(max(0.0, until))

    def _draw(self, count: int) -> None:
        """Take so many tasks from the source."""
        for _ in range(count):
            try:
                task = next(self._tasks)
            except StopIteration:
                self._scheduler.no_more_tasks()
                return
            number = next(self._numbers)
            self._at_work[number] = task
            self._scheduler.task_added(number)

    def _given_out(self, decision: Done | GiveUp) -> tuple[Any, Any]:
        task = self._at_work.pop(decision.task)
        if isinstance(decision, Done):
            result = unpack(self._results.pop(decision.task))
            if isinstance(result, UsageError):
                raise result
            return task, result
        if decision.reason == NODE_LOST:
            losses = self._scheduler.rules.node_losses
            return task, FerbenchError(f"{losses + 1} nodes died while they worked on it", reason=NODE_LOST)
        return task, died(hung=decision.reason == HUNG, seconds=self._options.task_deadline)

    # --- workers ------------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Start workers where there is room for more: at first, when nodes came, and in the place of those that died."""
        self._next_look = now + LOOK_SECONDS
        nodes = nodes_of(self._ray)
        usable = [node for node in nodes if node.id not in self._refused and not self._scheduler.refuses(node.id)]
        there = Counter(handle.node.id for handle in self._handles.values())
        for place in missing_from(places_of(usable, self._options), there):
            for _ in range(place.count):
                self._start_worker(place, now)
        if self._handles:
            self._last_seen = now
        elif len(usable) < len(nodes):
            why = next(iter(self._refused.values()), "worker processes die, or do not get ready, while they start")
            raise WorkerStartError(f"no node of the cluster can work on this: {why}")
        elif now - self._last_seen >= ALONE_SECONDS:
            what = "a GPU" if self._options.device == "cuda" else "a CPU"
            raise FerbenchError(
                f"no node of the cluster ({len(nodes)} are up) has {what} for a worker; add one and run the same "
                f"command again, it continues",
                reason="no-room",
            )

    def _start_worker(self, place: Places, now: float) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        name = next(self._names)
        actor = self._actor_class.options(
            num_cpus=place.cpus,
            num_gpus=place.gpus,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node.id, soft=False),
        ).remote()
        self._handles[name] = _Handle(actor, place.node, actor.open.remote(*self._opening, place.cpus), "open")
        self._scheduler.worker_added(name, place.node.id, now)

    def _kill(self, worker: Hashable) -> None:
        """End a worker's process; that it is gone shows in what it still owes us."""
        handle = self._handles[worker]
        self._ray.kill(handle.actor)
        if handle.ref is None:
            self._lost(worker, "told")

    def _lost(self, worker: Hashable, cause: Cause) -> None:
        del self._handles[worker]
        self._scheduler.worker_lost(worker, time.monotonic(), cause=cause)
        self._next_look = 0.0  # there is room for another

    # --- what happens -------------------------------------------------------------------------------------------------

    def _listen(self, seconds: float) -> None:
        """Wait until something happens, at most so long, and tell the scheduler all that did."""
        pending = {handle.ref: name for name, handle in self._handles.items() if handle.ref is not None}
        if not pending:
            time.sleep(min(seconds, LOOK_SECONDS))
            return
        happened, _ = self._ray.wait(list(pending), num_returns=1, timeout=seconds)
        if happened:  # and all else that did in the meantime
            happened, _ = self._ray.wait(list(pending), num_returns=len(pending), timeout=0)
        for ref in happened:
            self._hear(pending[ref], ref)
        now = time.monotonic()
        for name, handle in list(self._handles.items()):
            if handle.waits_for == "ping" and now - handle.limbo_since > LIMBO_SECONDS:
                self._ray.kill(handle.actor)
                self._lost(name, "node")

    def _hear(self, worker: Hashable, ref: Any) -> None:
        """Something a worker owed us is there, or why it will not come."""
        from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

        handle = self._handles[worker]
        try:
            answer = self._ray.get(ref)
        except ActorUnavailableError:
            # Out of reach: its node died, which Ray will know in a moment, or the network is down.
            handle.limbo_since = handle.limbo_since or time.monotonic()
            handle.ref, handle.waits_for = handle.actor.ping.remote(), "ping"
            return
        except RayTaskError:
            raise  # a bug in a worker is one here
        except RayError:
            alive = {node.id for node in nodes_of(self._ray)}
            self._lost(worker, "died" if handle.node.id in alive else "node")
            return
        waited_for, handle.ref, handle.waits_for = handle.waits_for, None, ""
        if waited_for == "ping":  # it lives, and what became of its task is not known
            self._ray.kill(handle.actor)
            self._lost(worker, "node")
        elif waited_for == "open":
            self._opened(worker, handle, answer)
        else:
            number = self._scheduler.task_of(worker)
            if self._scheduler.finished(worker, time.monotonic()) and number is not None:
                self._results[number] = answer

    def _opened(self, worker: Hashable, handle: _Handle, answer: bytes) -> None:
        problem = unpack(answer)
        if problem is None:
            self._scheduler.worker_ready(worker, time.monotonic())
            return
        if isinstance(problem, UsageError):
            raise problem
        reason, message = (problem.reason, problem.message) if isinstance(problem, FerbenchError) else (None, problem)
        message = f"node {handle.node.address}: {message}"
        if handle.node.id in self._first_nodes:
            raise WorkerStartError(message, reason=reason)
        self._refused[handle.node.id] = message
        self._ray.kill(handle.actor)
        self._lost(worker, "told")

    def stop(self) -> None:
        """End every worker."""
        for handle in self._handles.values():
            self._ray.kill(handle.actor)
        self._handles.clear()


def _actor_class(ray: Any) -> Any:
    """The class of actors. Made here, it travels as code: what is missing on a node is found there and said."""

    class FerbenchWorker:
        def open(self, job: bytes, surroundings: bytes, cpus: float) -> bytes:
            import pickle

            try:
                from ferbench.engines.remote import open_worker, pack
                from ferbench.errors import FerbenchError
            except ImportError as error:
                # Bytes as `pack` makes them; the driver has the class.
                return b"p" + pickle.dumps(f"it has no {error.name or error}; pip install 'ferbench[ray]' there")
            try:
                worker = open_worker(job, surroundings, cpus)
            except ImportError as error:
                return pack(
                    FerbenchError(f"it has no {error.name or error}; pip install it there", reason="missing-extra")
                )
            if isinstance(worker, FerbenchError):
                return pack(worker)
            self.worker = worker
            return pack(None)

        def handle(self, task: bytes) -> bytes:
            from ferbench.engines.remote import handle

            return handle(self.worker, task)

        def ping(self) -> None:
            pass

    return ray.remote(FerbenchWorker)
