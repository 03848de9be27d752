"""Processes that train together: torchrun starts them, each sees its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `world`; alone, rank 0 of 1."""

    rank: int = 0
    world: int = 1
    local: int = 0
    """Among the processes of this machine: which GPU is this one's."""

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and prints."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """This process's device."""
        return f"cuda:{self.local}" if self.world > 1 and wanted.startswith("cuda") else wanted

    def wrapped(self, module: nn.Module, device: str) -> nn.Module:
        """The module whose gradients are averaged over the processes."""
        if self.world == 1:
            return module
        places = [torch.device(device)] if device.startswith("cuda") else None
        # Parameters of a head that a batch does not reach would wait for ever otherwise.
        return nn.parallel.DistributedDataParallel(module, device_ids=places, find_unused_parameters=True)

    def gathered(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process's rank, as torchrun's variables say; the group is left at the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    ranks = Ranks(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
