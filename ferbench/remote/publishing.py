"""What is written into the mirror goes to the store: files and folders when they are whole, journals as they grow."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

from ferbench.remote import cache
from ferbench.remote.cache import About
from ferbench.remote.fetching import PARTS
from ferbench.remote.places import Spot, spot_of
from ferbench.remote.stores import delete, objects_below, put_bytes, upload

PUBLISH_SECONDS = 5.0
"""How much of a journal, in time, is lost when a machine is: FERBENCH_PUBLISH_SECONDS."""
_SHARE = 20
"""Times as long as publishing took passes before it is done again, so that it never takes much of a run."""
AT_ONCE = 1000
"""Objects that are removed with one request: what S3 takes."""


def claim(path: str | Path) -> None:
    """What is at a path is about to be replaced: it is not what the store has, and is kept until it is published."""
    spot = spot_of(path)
    if spot is not None:
        cache.forget(spot)


def publish(path: str | Path) -> None:
    """Put a file, or a folder with all that is in it, where its path mirrors; nothing is done for an ordinary path.

    A file appears whole or not at all. A folder's files appear one by one, then those that it has no more go: whoever
    records that it is there does so afterwards. Raises StorageError when the store refuses.
    """
    spot = spot_of(path)
    if spot is None or spot.is_private:
        return
    if not os.path.isdir(spot.path):
        upload([(spot.path, spot)])
        cache.write(spot, About(spot.path, os.path.getsize(spot.path)))
        return
    names = [
        os.path.relpath(os.path.join(folder, name), spot.path).replace(os.sep, "/")
        for folder, _, files in os.walk(spot.path)
        for name in files
    ]
    upload([(f"{spot.path}/{name}", spot.below(name)) for name in names])
    # After it: of a folder that is there a store says what is in it with one request.
    _delete([spot.below(name) for name in objects_below(spot).keys() - set(names)])
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        own = [name.rpartition("/")[2] for name in names if name.rpartition("/")[0] == folder]
        inner = spot.below(folder) if folder else spot
        size = sum(os.path.getsize(f"{inner.path}/{name}") for name in own)
        cache.write(inner, About(inner.path, size, names=dict.fromkeys(own, "")))


def unpublish(path: str | Path) -> None:
    """Remove from the store what a path mirrors: the file with what was appended to it, or everything below the folder."""
    spot = spot_of(path)
    if spot is None or spot.is_private:
        return
    cache.forget(spot)
    parts = Spot(spot.cache, spot.scheme, f"{spot.key}{PARTS}")
    found = [spot.below(name) for name in objects_below(spot)]
    _delete([*found, *(parts.below(name) for name in objects_below(parts)), *([] if found else [spot])])


def _delete(spots: list[Spot]) -> None:
    for start in range(0, len(spots), AT_ONCE):
        delete(spots[start : start + AT_ONCE])


class Appended:
    """A file that grows line by line, and its place in the store.

    What was added since the last time is put beside it, `journal.jsonl.parts/00000000000000012345` after the byte it
    begins at: stores cannot append. `ferbench.remote.pull` joins the parts again. Of an ordinary path nothing is done.
    """

    def __init__(self, path: Path) -> None:
        self._spot = spot_of(path)
        self._path = path
        self._stack = ExitStack()
        self._has_begun = False
        self._published = 0
        self._next = 0.0

    def begin(self) -> None:
        """Publish the file as it is now, as one; from here on this process alone appends to it."""
        if self._spot is None:
            return
        self._stack.enter_context(cache.appending(self._spot))
        self._has_begun = True
        cache.forget(self._spot)
        self._published = os.path.getsize(self._path)
        upload([(str(self._path), self._spot)])
        parts = Spot(self._spot.cache, self._spot.scheme, f"{self._spot.key}{PARTS}")
        _delete([parts.below(name) for name in objects_below(parts)])
        self._next = time.monotonic() + _interval()

    def grown(self) -> None:
        """Something was added, and is with the operating system: published now, or soon."""
        if self._spot is not None and time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Publish what was added since."""
        if self._spot is None or not os.path.exists(self._path):
            return
        started = time.monotonic()
        with open(self._path, "rb") as file:
            file.seek(self._published)
            data = file.read()
        if data:
            part = Spot(self._spot.cache, self._spot.scheme, f"{self._spot.key}{PARTS}").below(
                f"{self._published:020d}"
            )
            put_bytes(part, data)
            self._published += len(data)
        now = time.monotonic()
        self._next = now + max(_interval(), _SHARE * (now - started) if _interval() else 0.0)

    def close(self) -> None:
        """Publish the rest, and let go."""
        try:
            if self._has_begun:
                self.flush()
        finally:
            self._has_begun = False
            self._stack.close()


def _interval() -> float:
    try:
        return float(os.environ["FERBENCH_PUBLISH_SECONDS"])
    except (KeyError, ValueError):
        return PUBLISH_SECONDS
