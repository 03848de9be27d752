"""Optimizers of the recipes, over the parameters that train."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from ferbench.training.losses import row_of
from ferbench.training.recipe import Choice

Parameters = Sequence[nn.Parameter]


def sgd(
    parameters: Parameters, *, lr: float, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False
) -> Optimizer:
    """Stochastic gradient descent."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


def adam(
    parameters: Parameters, *, lr: float, weight_decay: float = 0.0, beta1: float = 0.9, beta2: float = 0.999
) -> Optimizer:
    """Adam, with weight decay as a part of the gradient."""
    return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


def adamw(
    parameters: Parameters, *, lr: float, weight_decay: float = 0.01, beta1: float = 0.9, beta2: float = 0.999
) -> Optimizer:
    """Adam with weight decay apart from the gradient."""
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adam": adam, "adamw": adamw}
"""Name -> function(parameters, **settings)."""


def make_optimizer(choice: Choice, parameters: Parameters) -> Optimizer:
    """The optimizer; UsageError for an unknown one, a setting it does not have, or no learning rate."""
    function = row_of(OPTIMIZERS, choice, "optimizer")
    settings = {key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
                for key, value in choice.settings.items()}  # fmt: skip
    if "lr" not in settings:
        from ferbench.errors import UsageError

        raise UsageError(f"optimizer {choice.name!r} needs a learning rate: -o lr=0.01")
    return function(parameters, **settings)  # type: ignore[no-any-return]
