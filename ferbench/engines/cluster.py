"""A Ray cluster: getting at one, starting one of this machine alone, and how many workers its nodes have room for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ferbench.engines import EngineOptions, own_cores
from ferbench.errors import FerbenchError, MissingExtraError, UsageError

_CONNECT_SECONDS = 5.0
_OBJECT_STORE_BYTES = 80 << 20
"""Of a cluster of our own: about the least that Ray takes. Nothing is kept there."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a cluster that is up, and what of it is meant for work."""

    id: str
    address: str
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Places:
    """Room for workers on one node, and what each of them takes."""

    node: Node
    count: int
    cpus: float
    gpus: float


def connect(options: EngineOptions) -> Any:
    """The module `ray`, connected to a cluster; a connection that this process has already is kept.

    Raises MissingExtraError with the install line, FerbenchError when nobody answers at the address, UsageError for an
    address that is none.
    """
    # Read when ray is imported. Ray has no passwords, so a cluster of our own listens on the loopback interface only; the
    # variable is what Ray has for systems that ask the user about every port.
    address = options.address or os.environ.get("RAY_ADDRESS", "")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray needs ray: pip install 'ferbench[ray]'") from error
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if address:
        _assert_somebody_there(address)
        _join(ray, address, quiet)
    else:
        ray.init(address="local", num_cpus=own_cores(), object_store_memory=_OBJECT_STORE_BYTES, **quiet)
    _be_quiet()
    return ray


def _join(ray: Any, address: str, quiet: Mapping[str, Any]) -> None:
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error.__cause__ or error)
        if "Auth" in said:
            why = "it wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH as on its nodes"
        else:
            why = " ".join(said.split())[:300]
        raise FerbenchError(
            f"the Ray cluster at {address} does not let this machine in ({why})", reason="no-cluster"
        ) from error


def _assert_somebody_there(address: str) -> None:
    """Ray itself waits for minutes and then ends the process."""
    if "://" in address:
        raise UsageError(
            f"--address {address}: say HOST:PORT, the cluster's own address (port 6379 where it was not changed), and run "
            f"ferbench on one of its nodes; a `ray://` client is none"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--address {address!r} is not HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FerbenchError(
            f"no Ray cluster answers at {address} ({reason}); `ray status --address {address}` on one of its nodes shows "
            f"whether it is up, and without --address this machine alone is used",
            reason="no-cluster",
        ) from error


def _be_quiet() -> None:
    """Ray prints what it notices about nodes to stdout, where a program reads our JSON; we say it in our own words."""
    try:
        from ray._private import worker
    except ImportError:
        return  # another version of Ray: it is only less quiet
    worker._worker_logs_enabled = False


def nodes_of(ray: Any) -> list[Node]:
    """The nodes that are up, in the order of their ids."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = [
        Node(node["NodeID"], node["NodeManagerAddress"], float(node["Resources"].get("CPU", 0)),
             float(node["Resources"].get("GPU", 0)))
        for node in alive
    ]  # fmt: skip
    return sorted(nodes, key=lambda node: node.id)


def device_of(nodes: Iterable[Node], wanted: str) -> str:
    """`cpu` or `cuda`: what workers on these nodes use. UsageError for a GPU that no node has, or one by its number."""
    has_gpus = any(node.gpus >= 1 for node in nodes)
    if wanted == "auto":
        return "cuda" if has_gpus else "cpu"
    if wanted == "cuda" and not has_gpus:
        raise UsageError("--device cuda: no node of the cluster has a GPU")
    if wanted not in ("cpu", "cuda"):
        raise UsageError(f"--device {wanted}: Ray gives every worker a GPU of its own; say cuda, cpu or auto")
    return wanted


def places_of(nodes: Iterable[Node], options: EngineOptions) -> list[Places]:
    """How many workers each node has room for, at most `workers` and `num_tasks` of them, dealt out in turn.

    The device is chosen: `cpu` or `cuda`. A worker has `cpus` CPUs, or a GPU and its share of the node's CPUs. A node that
    has some CPUs, and fewer than a worker wants, has one worker.
    """
    nodes = list(nodes)
    room = [_room(node, options.device, options.cpus) for node in nodes]
    most = min([limit for limit in (options.workers, options.num_tasks) if limit] or [sum(p.count for p in room)])
    counts: dict[str, int] = {places.node.id: 0 for places in room}
    while most > 0 and any(counts[places.node.id] < places.count for places in room):
        for places in room:
            if most > 0 and counts[places.node.id] < places.count:
                counts[places.node.id] += 1
                most -= 1
    return [Places(p.node, counts[p.node.id], p.cpus, p.gpus) for p in room if counts[p.node.id]]


def _room(node: Node, device: str, cpus: int) -> Places:
    if device == "cuda":
        count = int(node.gpus)
        return Places(node, count, max(0.0, float(node.cpus // count)) if count else 0.0, 1.0)
    count = int(node.cpus // cpus) or int(node.cpus >= 1)
    return Places(node, count, min(float(cpus), node.cpus), 0.0)


def missing_from(places: Iterable[Places], there: Mapping[str, int]) -> list[Places]:
    """What is not there yet of the workers wanted, `there` being their number by node."""
    lacking = [Places(p.node, p.count - there.get(p.node.id, 0), p.cpus, p.gpus) for p in places]
    return [p for p in lacking if p.count > 0]
