"""Locks that keep a second run out of what one is writing. The kernel lets go for a run that was killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ferbench.errors import UsageError
from ferbench.storage import storage_errors

_PATIENCE_SECONDS = 10.0
"""How long `refuse_held` waits: others look in the same way, and hold what they look at for a moment."""


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path`, whose folder is made; UsageError with the sentence `busy` when another run holds it."""
    from filelock import FileLock, Timeout

    with storage_errors(path.parent, "locking it"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(busy) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before letting go: whoever comes next makes a lock of its own
        lock.release()


def refuse_held(paths: Iterable[Path], busy: str) -> None:
    """UsageError with the sentence `busy`, `{}` in it the file's name, when another run holds one of these locks."""
    from filelock import FileLock, Timeout

    for path in paths:
        if not path.exists():
            continue
        lock = FileLock(path)
        with storage_errors(path, "looking at its lock"):
            try:
                lock.acquire(timeout=_PATIENCE_SECONDS)
            except Timeout as error:
                raise UsageError(busy.format(path.name)) from error
            lock.release()
