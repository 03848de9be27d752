"""Blocks as tasks of an engine, several neighbours together: within a stretch reading is ahead of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from ferbench.engines import GIVEN_UP, EngineOptions, Job, engine_of
from ferbench.errors import FerbenchError

Block = TypeVar("Block")

TASKS_AT_LEAST = 64
"""Tasks that a job is cut into, where it has as many blocks: so that a cluster's workers end at about the same time."""


def stretches(blocks: Sequence[Block], most: int) -> list[tuple[Block, ...]]:
    """Neighbouring blocks, at most `most` together, and no more than leaves `TASKS_AT_LEAST` of them."""
    size = max(1, min(most, len(blocks) // TASKS_AT_LEAST))
    return [tuple(blocks[start : start + size]) for start in range(0, len(blocks), size)]


def map_blocks(
    engine: str, job: Job[tuple[Block, ...], list[Any]], blocks: Sequence[Block], options: EngineOptions, *, most: int
) -> Iterator[tuple[Block, Any | FerbenchError]]:
    """Each block once, with its result or with why it could not be done, as they get done.

    A worker is given a stretch of at most `most` blocks and returns a result for each. It dies of one of them: they are
    tried one by one then. An error that says something about the job, and not about a block, is raised.
    """
    suspects: list[tuple[Block, ...]] = []
    for task, found in _answers(engine, job, stretches(blocks, most), options):
        if isinstance(found, FerbenchError) and len(task) > 1:
            suspects += [(block,) for block in task]
        else:
            yield from _each(task, found)
    for task, found in _answers(engine, job, suspects, options):
        yield from _each(task, found)


def _answers(
    engine: str, job: Job[tuple[Block, ...], list[Any]], tasks: Sequence[tuple[Block, ...]], options: EngineOptions
) -> Iterator[tuple[tuple[Block, ...], list[Any] | FerbenchError]]:
    for task, found in engine_of(engine)(job, tasks, options):
        if isinstance(found, FerbenchError) and found.reason not in GIVEN_UP:
            raise found
        yield task, found


def _each(task: tuple[Block, ...], found: list[Any] | FerbenchError) -> Iterator[tuple[Block, Any | FerbenchError]]:
    results = [found] * len(task) if isinstance(found, FerbenchError) else found
    yield from zip(task, results, strict=True)
