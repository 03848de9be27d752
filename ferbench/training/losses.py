"""Losses of the recipes. Each takes a network's training output and targets, and gives one number.

A network's training output is (N, K) logits, or a tuple of (N, K) logits, one per head, or `HeadsAndDistances`. Targets
are (N, K) class probabilities: one-hot, or mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ferbench.errors import UsageError
from ferbench.models.heads import HeadsAndDistances
from ferbench.training.dsf import deep_smooth_feature
from ferbench.training.recipe import Choice

Outputs = Tensor | tuple[Tensor, ...] | HeadsAndDistances
Loss = Callable[[Outputs, Tensor], Tensor]


def heads_of(outputs: Outputs) -> tuple[Tensor, ...]:
    """The logits of each head."""
    if isinstance(outputs, HeadsAndDistances):
        return outputs.heads
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def logits_of(outputs: Outputs) -> Tensor:
    """What is predicted: the logits, or the sum of the heads', as MFER adds them (XuJ1E/MFER model/multiscale.py)."""
    return torch.stack(heads_of(outputs)).sum(dim=0)


def cross_entropy(outputs: Outputs, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean over samples of -sum p log softmax, over the sum of the heads; `smoothing` as torch's label_smoothing."""
    return F.cross_entropy(logits_of(outputs), targets, label_smoothing=smoothing)


def per_head(outputs: Outputs, targets: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """The sum of the heads' cross-entropies: MFER's first term (XuJ1E/MFER train.py, label smoothing 0.1)."""
    return torch.stack([F.cross_entropy(head, targets, label_smoothing=smoothing) for head in heads_of(outputs)]).sum()


def mfer(outputs: Outputs, targets: Tensor, *, smoothing: float = 0.1, weight: float = 0.001) -> Tensor:
    """`per_head` plus `weight` times the deep smooth feature loss, which is a reconstruction: see `ferbench.training.dsf`.

    XuJ1E/MFER train.py has the sum and the weight. UsageError for a network that has no centres.
    """
    if not isinstance(outputs, HeadsAndDistances):
        raise UsageError(
            "loss mfer needs a network that measures distances to class centres: model mfer with "
            "options = { centres = true }; loss per-head is the same without that term"
        )
    distant = deep_smooth_feature(outputs.distances, targets, smoothing=smoothing)
    return per_head(outputs, targets, smoothing=smoothing) + weight * distant


def large_margin(outputs: Outputs, targets: Tensor, *, regular: float = 0.1) -> Tensor:
    """(1 - regular) cross-entropy + regular / (K - 1) times the cross-entropy of a uniform target over the other classes,
    under a softmax of those alone.

    Large margin in softmax cross-entropy loss (Kobayashi, BMVC 2019) in the form that MS trains with
    (025HanZheng520/MS, LargeMarginInSoftmaxLoss with deg_logit None: 0.9 and 0.1).
    """
    logits = logits_of(outputs)
    others = logits.masked_fill(targets > 0, float("-inf"))
    spread = torch.where(targets > 0, 0.0, torch.log_softmax(others, dim=1)).sum(dim=1)
    margin = -spread / (logits.shape[1] - 1)
    return (1 - regular) * F.cross_entropy(logits, targets) + regular * margin.mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": cross_entropy,
    "per-head": per_head,
    "mfer": mfer,
    "large-margin": large_margin,
}
"""Name -> function(outputs, targets, **settings)."""


def make_loss(choice: Choice) -> Loss:
    """The loss with its settings; UsageError for an unknown one, or a setting it does not have."""
    function = row_of(LOSSES, choice, "loss")

    def loss(outputs: Outputs, targets: Tensor) -> Tensor:
        value: Tensor = function(outputs, targets, **choice.settings)
        return value

    return loss


def row_of(table: Mapping[str, Callable[..., Any]], choice: Choice, what: str) -> Callable[..., Any]:
    """The table's row; UsageError names the known ones, or the settings that the row has."""
    import inspect

    if choice.name not in table:
        raise UsageError(f"{what} {choice.name!r} is unknown; known: {', '.join(table)}")
    function = table[choice.name]
    known = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    unknown = sorted(set(choice.settings) - set(known))
    if unknown:
        shown = ", ".join(name.replace("_", "-") for name in known) or "none"
        raise UsageError(f"{what} {choice.name!r} has no setting {unknown[0].replace('_', '-')!r}; it has {shown}")
    return function
