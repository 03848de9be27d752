"""The one place a device is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ferbench.errors import UsageError


def choose_device(wanted: str) -> str:
    """`auto` is CUDA where it works, else the CPU; `cpu`, `cuda` and `cuda:1` are checked. UsageError when absent."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"{wanted!r} is not a device; say auto, cpu or cuda:0") from error
    if device.type not in ("cpu", "cuda", "mps", "xpu"):
        raise UsageError(f"{wanted!r} is not a device that models run on; say auto, cpu or cuda:0")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {wanted!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    return str(device)


def limit_threads(count: int) -> None:
    """Have torch use `count` threads of the CPU for each operation, in this process from now on."""
    import torch

    torch.set_num_threads(count)


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """The same while the block runs."""
    import torch

    before = torch.get_num_threads()
    limit_threads(count)
    try:
        yield
    finally:
        limit_threads(before)
