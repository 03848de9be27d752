"""Ray Data as an engine, as far as it goes: what `ferbench.engines.ray` is measured against.

A row is one packed task, an actor per CPU handles them, and results come back as their blocks are done. A worker that dies
takes its block with it, which Ray Data does again as a whole; there is no deadline, no copy of a slow task, and no telling
a task that kills its workers from a node that died.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ferbench.engines import EngineOptions
from ferbench.engines.cluster import connect, nodes_of, places_of
from ferbench.engines.remote import pack, unpack
from ferbench.errors import FerbenchError


class Handler:
    """One actor of the pool."""

    def __init__(self, job: bytes) -> None:
        self._worker = unpack(job).open()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            result = self._worker.handle(unpack(row["task"]))
        except FerbenchError as error:
            result = error
        return {"number": row["number"], "result": pack(result)}


def run(job: Any, tasks: Iterable[Any], options: EngineOptions) -> Iterator[tuple[Any, Any]]:
    """As `ferbench.engines.Engine`."""
    ray = connect(options)
    from ray.data import ActorPoolStrategy, DataContext, from_items

    context = DataContext.get_current()
    context.enable_progress_bars = False
    rows = list(tasks)
    count = sum(place.count for place in places_of(nodes_of(ray), options))
    # As many blocks as rows: larger ones would hold results back, and end unevenly.
    blocks = from_items(
        [{"number": number, "task": pack(task)} for number, task in enumerate(rows)], override_num_blocks=len(rows)
    )
    done = blocks.map(
        Handler, fn_constructor_args=(pack(job),), compute=ActorPoolStrategy(size=count), num_cpus=options.cpus
    )
    for row in done.iter_rows():
        yield rows[row["number"]], unpack(row["result"])


def device_of(options: EngineOptions) -> str:
    """The CPU is what is measured."""
    return "cpu"
