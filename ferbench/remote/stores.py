"""What is asked of a store: fsspec's file systems, with their errors as one clear line each."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ferbench.errors import FerbenchError, MissingExtraError, StorageError, UsageError
from ferbench.remote.places import SCHEMES, Spot, scrub

_UNREACHABLE = ("EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ConnectionClosedError",
                "ConnectionError", "ConnectError", "ReadTimeoutError", "TimeoutError", "FSTimeoutError")  # fmt: skip
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ProfileNotFound",
                   "TokenRetrievalError", "LocalTokenNotFoundError")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store says of an object, without sending it."""

    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970; 0 where the store does not say."""
    version: str
    """Differs whenever the bytes do."""
    is_folder: bool = False


def facts_of(spot: Spot) -> Facts | None:
    """Of an object or a prefix; None when neither is there. Raises StorageError, for a missing bucket too."""
    with _asking(spot, "looking at it"):
        try:
            return _facts(_store(spot.scheme).info(spot.key))
        except FileNotFoundError as error:
            _refuse_missing_bucket(spot, error)
            return None


def objects_below(spot: Spot) -> dict[str, Facts]:
    """Every object below a prefix by its name relative to it: one listing. {} when there is none."""
    with _asking(spot, "listing it"):
        try:
            found = _store(spot.scheme).find(spot.key, detail=True)
        except FileNotFoundError as error:
            _refuse_missing_bucket(spot, error)
            found = {}
    return _relative(spot, found)


def objects_in(spot: Spot) -> dict[str, Facts]:
    """The objects of one folder, not those in folders below it: one listing of that folder. {} when there is none.

    Not fsspec's `ls`, which for a folder that is not there lists the one it would be in: of a million clips, each time.
    """
    return {name: facts for name, facts in objects_below(spot).items() if "/" not in name}


def download(pairs: Sequence[tuple[Spot, str]]) -> None:
    """Fetch objects to the paths beside them, several at once. Raises FileNotFoundError when one is gone."""
    if not pairs:
        return
    spot = pairs[0][0]
    with _asking(spot, "reading it"):
        store = _store(spot.scheme)
        if len(pairs) == 1:
            store.get_file(spot.key, pairs[0][1])
        else:
            store.get([each.key for each, _ in pairs], [path for _, path in pairs])


def upload(pairs: Sequence[tuple[str, Spot]]) -> None:
    """Put files where the spots say, several at once; each appears whole or not at all."""
    if not pairs:
        return
    spot = pairs[0][1]
    _refuse_read_only(spot)
    with _asking(spot, "writing it"):
        store = _store(spot.scheme)
        try:
            if len(pairs) == 1:
                store.put_file(pairs[0][0], spot.key)
            else:
                store.put([path for path, _ in pairs], [each.key for _, each in pairs])
        except FileNotFoundError as error:
            _refuse_missing_bucket(spot, error)
            raise


def put_bytes(spot: Spot, data: bytes) -> None:
    """Write an object."""
    _refuse_read_only(spot)
    with _asking(spot, "writing it"):
        _store(spot.scheme).pipe_file(spot.key, data)


def read_bytes(spot: Spot) -> bytes:
    """A small object; empty when it is gone."""
    with _asking(spot, "reading it"):
        try:
            return bytes(_store(spot.scheme).cat_file(spot.key))
        except FileNotFoundError:
            return b""


def delete(spots: Sequence[Spot]) -> None:
    """Remove objects; those that are not there do not matter."""
    if not spots:
        return
    with _asking(spots[0], "removing it"):
        try:
            _store(spots[0].scheme).rm([spot.key for spot in spots])
        except FileNotFoundError:
            if len(spots) > 1:  # some may be left
                for spot in spots:
                    delete([spot])


def _relative(spot: Spot, found: Mapping[str, Any]) -> dict[str, Facts]:
    start = len(spot.key) + 1
    names = {name.lstrip("/")[start:]: info for name, info in found.items()}
    # An object that is named like the folder marks it in some tools, and holds nothing.
    return {name: _facts(info) for name, info in names.items() if name and not name.endswith("/")}


def _facts(info: Mapping[str, Any]) -> Facts:
    size = int(info.get("size") or 0)
    moment = next((info[name] for name in ("LastModified", "updated", "mtime", "created") if info.get(name)), 0.0)
    modified = _seconds(moment)
    names = ("ETag", "etag", "generation", "blob_id", "checksum")
    version = next((str(info[name]) for name in names if info.get(name)), "") or f"{size}-{modified}"
    return Facts(size, modified, version, info.get("type") == "directory")


def _seconds(moment: Any) -> float:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return float(moment.timestamp() if isinstance(moment, datetime) else moment)


def _store(scheme: str) -> Any:
    return _opened(scheme, os.getpid())


@functools.cache
def _opened(scheme: str, _process: int) -> Any:
    """One file system per process: its connections do not survive a fork. Without its own cache of listings, which would
    not see what other processes write."""
    try:
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        extra = SCHEMES[scheme].extra
        raise MissingExtraError(f"{scheme}:// needs another package: pip install 'ferbench[{extra}]'") from error
    except Exception as error:
        raise StorageError(f"{scheme}://: {_told(error)} while opening the store", reason="store") from None


@contextmanager
def _asking(spot: Spot, doing: str) -> Iterator[None]:
    """StorageError for what a store refuses or fails in; FileNotFoundError passes. Without the original error, whose text
    and traceback may hold what must not be seen."""
    try:
        yield
    except (FerbenchError, FileNotFoundError):
        raise
    except PermissionError:
        raise StorageError(
            f"{spot.url}: access denied while {doing}; the credentials are missing, wrong or not allowed to do that",
            reason="store-denied",
        ) from None
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & set(_NO_CREDENTIALS):
            raise StorageError(
                f"{spot.url}: no credentials were found; give them in the environment, or for a public bucket set "
                f"FSSPEC_{spot.scheme.upper()}_{'ANON=true' if spot.scheme == 's3' else 'TOKEN=anon'}",
                reason="store-denied",
            ) from None
        if kinds & set(_UNREACHABLE):
            raise StorageError(f"{spot.url}: the store cannot be reached", reason="store-unreachable") from None
        raise StorageError(f"{spot.url}: {_told(error)} while {doing}", reason="store") from None


def _told(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return scrub(lines[0][:300] if lines else type(error).__name__)


def _refuse_missing_bucket(spot: Spot, error: OSError) -> None:
    """StorageError when it is the bucket that is not there. A store says so; else the bucket is looked at."""
    bucket = spot.key.split("/")[0]
    if spot.scheme in ("s3", "gs") and ("bucket does not exist" in str(error) or spot.key == bucket):
        raise StorageError(f"{spot.scheme}://{bucket}: no such bucket", reason="store-missing") from None


def _refuse_read_only(spot: Spot) -> None:
    if not SCHEMES[spot.scheme].is_writable:
        writable = ", ".join(f"{name}://" for name, scheme in SCHEMES.items() if scheme.is_writable and scheme.extra)
        raise UsageError(
            f"{spot.url}: {spot.scheme}:// is only read here; write to a folder or to {writable}, and upload it from there"
        )
