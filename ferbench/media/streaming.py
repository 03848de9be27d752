"""Packs read in order: each part once, held in memory from the first step that needs it to the last.

A step is what goes through a model together: a batch, or a block. Whether a part is held changes nothing but how often the
file is read: what is not held is read picture by picture, from its place.
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ferbench import remote
from ferbench.errors import FerbenchError, MediaError
from ferbench.media.packs import SUFFIXES, Pack, Place, find_place, open_pack

HELD_BYTES = 1 << 30
"""Most that is held at once, per process. What would be more is read picture by picture."""


def pack_of(path: str) -> str | None:
    """The pack that a path leads into, by its name alone: no file is looked at. None for an ordinary path."""
    ends = [path.find(f"{suffix}/") + len(suffix) for suffix in SUFFIXES if f"{suffix}/" in path]
    return path[: min(ends)] if ends else None


@dataclass(slots=True, eq=False)
class _Part:
    """One part in use."""

    size: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    left: int = 0
    """Steps that still need it."""
    is_held: bool = False


@dataclass(slots=True, eq=False)
class _Open:
    """A pack in use."""

    pack: Pack | None
    """None for one that cannot be opened."""
    parts: dict[int, _Part] = field(default_factory=dict)

    def part_of(self, inner: str) -> int | None:
        """The part of what stands below the pack: a sample's frames, one of them, or an image."""
        if self.pack is None:
            return None
        part = self.pack.part_of(inner)
        return self.pack.part_of(Place(Path(), inner).picture(self.pack)[0]) if part is None else part


class Stream:
    """What is held of the packs that some steps read. Threads may begin steps; one thread ends them."""

    def __init__(self, num_steps: int, paths_of: Callable[[int], Sequence[str]], *, limit: int = HELD_BYTES) -> None:
        """`paths_of(step)`: absolute paths of the samples, or of their pictures, that the step reads.

        `held` and `most_held` are the bytes that are held now, and were at once at the most.
        """
        self._paths_of, self._limit = paths_of, limit
        self._lock = threading.Lock()
        self.held = self.most_held = 0
        self._steps: dict[str, list[int]] = defaultdict(list)
        for step in range(num_steps):
            for name in self._inners(step):
                self._steps[name].append(step)
        self._left = {name: len(steps) for name, steps in self._steps.items()}
        self._opening = {name: threading.Lock() for name in self._steps}
        self._open: dict[str, _Open] = {}
        names = list(self._steps)
        self._next = dict(itertools.pairwise(names))
        self._fetching: list[threading.Thread] = []

    def begin(self, step: int) -> None:
        """Have what a step needs in memory. What cannot be read is left to who reads the samples, and says so."""
        for pack, number, part in self._needed(step):
            with part.lock:
                if part.is_held or not self._reserve(part.size):
                    continue
                try:
                    pack.hold(number)
                    part.is_held = True
                except (OSError, ValueError):
                    self._reserve(-part.size)

    def end(self, step: int) -> None:
        """Let go of what no later step needs."""
        for pack, number, part in self._needed(step):
            with part.lock:
                part.left -= 1
                if part.left <= 0:
                    self._release(pack, number, part)
        for name in self._inners(step):
            self._left[name] -= 1
            if not self._left[name]:
                self._open.pop(name, None)  # its contents too: an epoch may go through very many packs

    def close(self) -> None:
        """Let go of everything."""
        for opened in self._open.values():
            for number, part in opened.parts.items():
                with part.lock:
                    if opened.pack is not None:
                        self._release(opened.pack, number, part)
        self._open.clear()
        for thread in self._fetching:
            thread.join()

    def _inners(self, step: int) -> dict[str, list[str]]:
        """By pack, what a step reads of it."""
        found: dict[str, list[str]] = {}
        for path in self._paths_of(step):
            name = pack_of(path)
            if name is not None:
                found.setdefault(name, []).append(path[len(name) + 1 :])
        return found

    def _needed(self, step: int) -> list[tuple[Pack, int, _Part]]:
        needed = []
        for name, inners in self._inners(step).items():
            with self._opening[name]:
                if name not in self._open:
                    self._open[name] = self._look_into(name, f"{name}/{inners[0]}")
                opened = self._open[name]
            if opened.pack is not None:
                numbers = {number for number in map(opened.part_of, inners) if number is not None}
                needed += [(opened.pack, number, opened.parts[number]) for number in sorted(numbers)]
        return needed

    def _look_into(self, name: str, path: str) -> _Open:
        """Which parts of a pack the steps need, and how many need each."""
        try:
            place = find_place(path)
            self._fetch(self._next.get(name))
            opened = _Open(open_pack(place.pack) if place is not None and str(place.pack) == name else None)
        except MediaError:
            return _Open(None)
        for step in self._steps[name]:
            for number in {opened.part_of(inner) for inner in self._inners(step)[name]}:
                if opened.pack is not None and number is not None:
                    opened.parts.setdefault(number, _Part(opened.pack.part_bytes(number))).left += 1
        return opened

    def _fetch(self, name: str | None) -> None:
        """Have a pack of an object store in the cache before a step needs it: that takes longer than a few steps."""
        if name is not None and remote.spot_of(name) is not None:
            self._fetching = [thread for thread in self._fetching if thread.is_alive()]
            self._fetching.append(threading.Thread(target=_fetch_quietly, args=(name,), daemon=True))
            self._fetching[-1].start()

    def _reserve(self, size: int) -> bool:
        """Count bytes that are held, or with a negative size are not any more; False where that is too much."""
        with self._lock:
            if size > 0 and self.held + size > self._limit:
                return False
            self.held += size
            self.most_held = max(self.most_held, self.held)
            return True

    def _release(self, pack: Pack, number: int, part: _Part) -> None:
        if part.is_held:
            part.is_held = False
            pack.release(number)
            self._reserve(-part.size)


def _fetch_quietly(path: str) -> None:
    with suppress(FerbenchError):  # who needs it asks again, and says so
        remote.ensure(path)
