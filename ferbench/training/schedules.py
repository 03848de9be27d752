"""Schedules of the learning rate, stepped once per epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any, Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, ReduceLROnPlateau, StepLR

from ferbench.training.losses import row_of
from ferbench.training.recipe import Choice


class Schedule(Protocol):
    """What the loop needs of one."""

    def step(self, metric: float) -> None:
        """After an epoch, with the validation part's metric, or the training part's accuracy where there is none."""

    def state_dict(self) -> dict[str, Any]:
        """For continuing."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue."""


class _ByEpoch:
    """A schedule of torch's that looks at the epoch only."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def step(self, metric: float) -> None:
        self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return {key: value for key, value in self._scheduler.state_dict().items() if key != "lr_lambdas"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        known = self._scheduler.state_dict()
        self._scheduler.load_state_dict({**state, **{key: known[key] for key in ("lr_lambdas",) if key in known}})


class _ByMetric(_ByEpoch):
    """ReduceLROnPlateau, on a metric that should grow."""

    def step(self, metric: float) -> None:
        self._scheduler.step(metric)


def constant(optimizer: Optimizer, epochs: int) -> Schedule:
    """The same rate throughout."""
    return _ByEpoch(LambdaLR(optimizer, lambda epoch: 1.0))


def step(optimizer: Optimizer, epochs: int, *, step: int, gamma: float = 0.1) -> Schedule:
    """Times `gamma` every `step` epochs."""
    return _ByEpoch(StepLR(optimizer, step, gamma))


def multistep(optimizer: Optimizer, epochs: int, *, milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """Times `gamma` at each of `milestones`."""
    return _ByEpoch(MultiStepLR(optimizer, list(milestones), gamma))


def exponential(optimizer: Optimizer, epochs: int, *, gamma: float) -> Schedule:
    """Times `gamma` every epoch."""
    return _ByEpoch(StepLR(optimizer, 1, gamma))


def cosine(optimizer: Optimizer, epochs: int, *, warmup: int = 0, least: float = 0.0) -> Schedule:
    """Linear over `warmup` epochs, then half a cosine down to `least` times the rate."""

    def factor(epoch: int) -> float:
        if epoch < warmup:
            return (epoch + 1) / (warmup + 1)
        along = (epoch - warmup) / max(1, epochs - warmup)
        return least + (1 - least) * (1 + cos(pi * min(1.0, along))) / 2

    return _ByEpoch(LambdaLR(optimizer, factor))


def plateau(optimizer: Optimizer, epochs: int, *, factor: float = 0.1, patience: int = 10) -> Schedule:
    """Times `factor` after `patience` epochs without a better validation metric."""
    return _ByMetric(ReduceLROnPlateau(optimizer, mode="max", factor=factor, patience=patience))


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "none": constant, "step": step, "multistep": multistep, "exponential": exponential, "cosine": cosine,
    "plateau": plateau,
}  # fmt: skip
"""Name -> function(optimizer, epochs, **settings)."""


def make_schedule(choice: Choice, optimizer: Optimizer, *, epochs: int) -> Schedule:
    """The schedule; UsageError for an unknown one or a setting it does not have."""
    function = row_of(SCHEDULES, choice, "schedule")
    return function(optimizer, epochs, **choice.settings)  # type: ignore[no-any-return]
