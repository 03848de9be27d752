"""What the mirror holds of each object: which version, when it was last used, and who is using it.

    CACHE/.ferbench-about/objects/3f/9a0c…     a file of JSON per object or frame folder; its age is the last use
    CACHE/.ferbench-about/locks/3f9            held while an object is fetched, so that it is fetched once
    CACHE/.ferbench-about/usage                bytes held, as far as known; counted anew whenever it is over the limit

Whoever has lately asked for an object holds a shared lock on its file; the least recently used ones that nobody holds are
removed first. The kernel lets go for a process that ended, however that was. What has no file there, because it is not in
the store yet, is never removed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ferbench.errors import UsageError
from ferbench.remote.places import Spot

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
"""Elsewhere what is in use may be removed, and is fetched again."""

ABOUT = ".ferbench-about"
DEFAULT_SIZE = "50GB"
HELD = 64
"""Objects of a process that are in use: those it asked for last. As many as threads may be reading at once."""
KNOWN = 1 << 16
"""Objects of a process that it remembers to have looked at, and does not ask the store about again."""
_KEPT = 0.9
"""Of the limit, what is left after removing: so that it is not done for every object."""
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip

_guard = threading.Lock()
_held: OrderedDict[str, int] = OrderedDict()
"""Path of an object -> open file of its record, with a shared lock."""
_known: OrderedDict[str, bool] = OrderedDict()
"""Path of an object, lately seen to be as in the store -> whether it is a folder of frames."""
_process = os.getpid()


@dataclass(slots=True)
class About:
    """What is known of a mirrored object."""

    path: str
    size: int = 0
    version: str = ""
    """Empty for what was written here: the store was not asked what it calls it."""
    names: dict[str, str] | None = field(default=None)
    """Of a frame folder: file name -> version."""


def size_limit() -> int:
    """Bytes, from FERBENCH_CACHE_SIZE (`50GB`, `500MiB`); UsageError for what is no size."""
    text = os.environ.get("FERBENCH_CACHE_SIZE") or DEFAULT_SIZE
    number = text.strip().upper().rstrip("BIKMGT")
    unit = text.strip().upper()[len(number) :].strip()
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        raise UsageError(f"FERBENCH_CACHE_SIZE is a size such as 50GB or 500MB, not {text!r}") from None
    if size < 0:
        raise UsageError(f"FERBENCH_CACHE_SIZE cannot be negative, got {text!r}")
    return size


def is_known(spot: Spot) -> bool:
    """Whether this process has lately seen that the mirror is what the store has; it then counts as used.

    A file of a folder that was fetched is known with it: its frames are no objects of their own.
    """
    folder = spot.parent
    with _guard:
        _start_anew_after_fork()
        if _known.get(folder.path):
            spot = folder
        elif spot.path not in _known:
            return False
        _known.move_to_end(spot.path)
    return os.path.lexists(spot.path) and hold(spot)


def read(spot: Spot) -> About | None:
    """The record of an object; None where there is none that can be read."""
    return _read(_record(spot))


def write(spot: Spot, about: About) -> bool:
    """Record an object that is in the mirror and in the store now, and count it; False when it was just removed again."""
    record = _record(spot)
    record.parent.mkdir(parents=True, exist_ok=True)
    before = _read(record)
    # In place: others may hold a lock on the file. Who reads it half written takes it for no record.
    descriptor = os.open(record, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        file.write(json.dumps(asdict(about)).encode())
        file.truncate()
    with _guard:
        _start_anew_after_fork()
        _known[spot.path] = about.names is not None
        _known.move_to_end(spot.path)
        while len(_known) > KNOWN:
            _known.popitem(last=False)
    is_held = hold(spot)
    _count(spot.cache, about.size - (before.size if before else 0))
    return is_held


def forget(spot: Spot) -> None:
    """Its mirror is not what the store has any more: it is kept until it is, or asked about again."""
    with _guard:
        _known.pop(spot.path, None)
        descriptor = _held.pop(spot.path, None)
    if descriptor is not None:
        os.close(descriptor)
    _record(spot).unlink(missing_ok=True)


def hold(spot: Spot) -> bool:
    """Count an object as in use, until this process has asked for `HELD` others; False when it is being removed."""
    record = _record(spot)
    with suppress(OSError):
        os.utime(record)
    if fcntl is None:
        return record.exists()
    with _guard:
        if spot.path in _held:
            _held.move_to_end(spot.path)
            return True
    try:
        descriptor = os.open(record, os.O_RDONLY)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if os.fstat(descriptor).st_nlink == 0:  # removed while this waited
        os.close(descriptor)
        return False
    with _guard:
        if spot.path in _held:
            os.close(descriptor)
            return True
        _held[spot.path] = descriptor
        while len(_held) > HELD:
            os.close(_held.popitem(last=False)[1])
    return True


@contextmanager
def fetching(spot: Spot) -> Iterator[None]:
    """One process or thread of this machine at a time fetches an object; the others wait and find it there."""
    with _locked(_about(spot.cache) / "locks" / _digest(spot)[:3]):
        yield


@contextmanager
def appending(spot: Spot) -> Iterator[None]:
    """Hold that this process is the one that appends to a file: nobody here replaces it by what the store has."""
    with _locked(_about(spot.cache) / "locks" / f"append-{_digest(spot)[:24]}"):
        yield


def is_appended_to(spot: Spot) -> bool:
    """Whether a process of this machine is appending to it."""
    path = _about(spot.cache) / "locks" / f"append-{_digest(spot)[:24]}"
    if fcntl is None or not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _about(cache: str) -> Path:
    return Path(cache) / ABOUT


def _digest(spot: Spot) -> str:
    return hashlib.sha256(spot.url.encode("utf-8", "surrogateescape")).hexdigest()


def _record(spot: Spot) -> Path:
    digest = _digest(spot)
    return _about(spot.cache) / "objects" / digest[:2] / digest[2:]


def _read(record: Path) -> About | None:
    try:
        return About(**json.loads(record.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _start_anew_after_fork() -> None:
    # The locks of the process that this one is a copy of are its own, and shared: they must not be closed as if they were
    # let go of, nor counted on.
    global _process
    if _process != os.getpid():
        _process = os.getpid()
        _held.clear()
        _known.clear()


# --- the limit ---------------------------------------------------------------------------------------------------------


def _count(cache: str, size: int) -> None:
    """Add to what is held; remove the least recently used objects when that is over the limit."""
    usage = _about(cache) / "usage"
    limit = size_limit()
    with _locked(_about(cache) / "locks" / "usage"):
        try:
            total = int(usage.read_text("ascii")) + size
        except (OSError, ValueError):
            total = limit + 1  # counted anew
        if total > limit:
            total = _evict(cache, limit)
        usage.write_text(str(total), "ascii")


def _evict(cache: str, limit: int) -> int:
    """Remove objects that nobody uses, the least recently used first, until `_KEPT` of the limit; the bytes left."""
    records = []
    for folder in os.scandir(_about(cache) / "objects"):
        for entry in os.scandir(folder.path):
            about = _read(Path(entry.path))
            if about is not None:
                with suppress(FileNotFoundError):
                    records.append((entry.stat().st_mtime_ns, entry.path, about))
    total = sum(about.size for _, _, about in records)
    if total <= limit:
        return total
    for _, record, about in sorted(records, key=lambda each: each[0]):
        if total <= limit * _KEPT:
            break
        if _is_removed(Path(record), about, cache):
            total -= about.size
    return total


def _is_removed(record: Path, about: About, cache: str) -> bool:
    """Remove one object whole, unless it is in use."""
    with suppress(OSError), record.open("rb") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        files = [about.path] if about.names is None else [f"{about.path}/{name}" for name in about.names]
        record.unlink()
        for path in files:
            with suppress(OSError):
                os.unlink(path)
        folder = os.path.dirname(files[0]) if files else about.path
        with suppress(OSError):
            while len(folder) > len(cache) + 1:
                os.rmdir(folder)  # as far as they are empty
                folder = os.path.dirname(folder)
        return True
    return False
