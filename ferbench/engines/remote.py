"""The end of a cluster's engine that runs elsewhere: a worker process on some node, told what to do in packed bytes."""

from __future__ import annotations

import os
import pickle
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ferbench.engines import Worker, limit_cores
from ferbench.errors import FerbenchError

_WORTH_COMPRESSING = 16 << 10
"""Bytes. What is below 100 KiB travels in the message itself and never sees an object store; names repeat a lot."""
_MUST_BE_THE_SAME = ("ferbench", "torch", "numpy", "opencv-python-headless")
"""What decides a result's last bits."""
TOLD = ("FERBENCH_CACHE_SIZE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3_ENDPOINT_URL")
"""Variables of the driver that workers take over. None is a secret: credentials are each machine's own."""


def pack(value: Any) -> bytes:
    """A value as bytes that stay small."""
    data = pickle.dumps(value, protocol=5)
    return b"z" + zlib.compress(data, 1) if len(data) > _WORTH_COMPRESSING else b"p" + data


def unpack(data: bytes) -> Any:
    """The value again. The bytes are of our own cluster, whose every member may run code anyway."""
    return pickle.loads(zlib.decompress(data[1:]) if data[:1] == b"z" else data[1:])


def versions() -> dict[str, str]:
    """What must be the same on every node."""
    found = {"Python": ".".join(map(str, sys.version_info[:2]))}
    for name in _MUST_BE_THE_SAME:
        try:
            found[name] = version(name)
        except ImportError:
            found[name] = "missing"
    return found


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker's node must be like, and what it is told."""

    versions: Mapping[str, str]
    shared: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    """The driver's current folder, which relative paths are from."""
    search_path: tuple[str, ...]
    """Where the driver finds modules: a network may be one of the user's."""


def open_worker(job: bytes, surroundings: bytes, cpus: float) -> Worker[Any, Any] | FerbenchError:
    """The worker of this process, which has `cpus` of its node's, or in one line why there is none."""
    told: Surroundings = unpack(surroundings)
    here = versions()
    for name, wanted in told.versions.items():
        if here[name] != wanted:
            return FerbenchError(f"it has {name} {here[name]} where this machine has {wanted}; install the same on all")
    os.environ.update(told.environment)
    sys.path += [path for path in told.search_path if path not in sys.path and os.path.exists(path)]
    if os.path.isdir(told.folder):
        os.chdir(told.folder)
    limit_cores(int(cpus))
    for path in told.shared:
        if not os.path.exists(path):
            return FerbenchError(
                f"it has no {path}; what a job reads and writes must be on a disk that all nodes share"
            )
    try:
        worker: Worker[Any, Any] = unpack(job).open()
    except FerbenchError as error:
        return error
    return worker


def handle(worker: Worker[Any, Any], task: bytes) -> bytes:
    """One task's packed result, or FerbenchError."""
    try:
        return pack(worker.handle(unpack(task)))
    except FerbenchError as error:
        return pack(error)
