"""A state dict matched to a network key by key: what fits, under which spelling, and what is said about the rest.

Training code puts things before keys: DataParallel `module.`, torch.compile `_orig_mod.`, wrapper classes `backbone.` or
`model.`. A spelling without them is taken only where more keys fit the network than with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ferbench.errors import ModelError

PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.", "net.", "encoder.")
"""Taken off the front of keys, where the network fits better without."""
HARMLESS_MISSING = ("num_batches_tracked",)
"""Counters that evaluation never reads; torch before 0.4.1 did not store them."""
HARMLESS_UNEXPECTED = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Counters of batch normalisation, of the profiler thop, and of torch's AveragedModel."""
_DEPTH = 4
_SHOWN = 5

Convert = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
"""The keys of another repository's network to ours."""


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What became of every key, of the file and of the network."""

    used: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Keys of the network that the file lacks."""
    unexpected: tuple[str, ...] = ()
    """Keys of the file that the network lacks."""
    misshaped: tuple[str, ...] = ()
    """Keys of both, of different shapes: `head.weight is (8, 512), the model has (7, 512)`."""
    dropped_prefix: str = ""
    """What was taken off the front of the file's keys."""
    wrapper: str = ""
    """Where in the file the weights lay: `state_dict`, `checkpoint.model`."""
    fraction: float = 1.0
    """Of the network's parameters and buffers, counted in numbers, those that came from the file; 0..1."""
    converted: bool = False
    """True when the keys were those of the original repository, translated by the built-in's `convert_state_dict`."""

    @property
    def fits(self) -> bool:
        """True when nothing that matters is left over on either side."""
        return not (self.missing or self.unexpected or self.misshaped)

    def problems(self) -> str:
        """`1 missing: head.bias; 2 unexpected: a, b`; empty when all fits."""
        return "; ".join(
            f"{len(found)} {kind}: {', '.join(found[:_SHOWN])}{', …' if len(found) > _SHOWN else ''}"
            for kind, found in (
                ("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.misshaped),
            )
            if found
        )  # fmt: skip

    def summary(self) -> str:
        """One line for a terminal: how many keys were used, what was taken off them, what is left over."""
        told = [f"{len(self.used)} keys used, {100 * self.fraction:.1f} % of the network's weights"]
        told += [f"found under {self.wrapper}"] if self.wrapper else []
        told += [f"without the prefix {self.dropped_prefix}"] if self.dropped_prefix else []
        told += ["names translated from the original repository's"] if self.converted else []
        told += [self.problems()] if not self.fits else []
        return "; ".join(told)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the keys that were used are counted, the others are listed."""
        return {
            "used": len(self.used), "missing": list(self.missing), "unexpected": list(self.unexpected),
            "misshaped": list(self.misshaped), "dropped_prefix": self.dropped_prefix, "wrapper": self.wrapper,
            "fraction": self.fraction, "converted": self.converted,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """The weights under other names, and what was done to get there."""

    weights: Mapping[str, Tensor]
    dropped: str = ""
    converted: bool = False


@dataclass(frozen=True, slots=True)
class Loading:
    """How a state dict is to be put into a network, and how errors call what is loaded."""

    where: str
    """The file, for messages."""
    wrapper: str = ""
    partial: bool = False
    convert: Convert | None = None
    num_classes: int | None = None
    """What the network's head was made for, to name a head of another size as such."""


def load_into(module: nn.Module, weights: Mapping[str, Tensor], how: Loading) -> KeyReport:
    """Copy `weights` into `module`, and say what was used.

    Raises ModelError with the lists of missing, unexpected and mis-shaped keys, unless `how.partial`; with that too when
    nothing fits at all.
    """
    own = module.state_dict()
    best = max(_spellings(dict(weights), how.convert), key=lambda spelling: _fit(own, spelling))
    report = _report(own, best, how.wrapper)
    if not report.fits and (not how.partial or not report.used):
        raise ModelError(
            f"{how.where}: the weights do not fit the model: {report.problems()}.{_advice(own, best, how)}"
        )
    module.load_state_dict({key: best.weights[key] for key in report.used}, strict=False)
    return report


def _spellings(weights: dict[str, Tensor], convert: Convert | None) -> list[Spelling]:
    """The weights as they are, without each chain of prefixes, and each of these in our names."""
    spellings = [Spelling(weights)]
    for depth in range(_DEPTH):
        for known in [each for each in spellings if each.dropped.count(".") == depth]:
            for prefix in PREFIXES:
                shorter = _without(known.weights, prefix)
                if shorter is not None:
                    spellings.append(Spelling(shorter, known.dropped + prefix))
    if convert is not None:
        for spelling in tuple(spellings):
            try:
                spellings.append(Spelling(convert(dict(spelling.weights)), spelling.dropped, converted=True))
            except (KeyError, ValueError, IndexError, ModelError):
                continue  # not the keys this conversion is for
    return spellings


def _without(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor] | None:
    """The weights with `prefix` off the keys that have it; None where none has, or two would get one name."""
    if not any(key.startswith(prefix) for key in weights):
        return None
    shorter = {key.removeprefix(prefix): value for key, value in weights.items()}
    return shorter if len(shorter) == len(weights) else None


def _fit(own: Mapping[str, Tensor], spelling: Spelling) -> tuple[int, int]:
    """(keys of the right shape, keys): the first spelling of several that fit alike is taken, which is the plainest."""
    common = own.keys() & spelling.weights.keys()
    return sum(own[key].shape == spelling.weights[key].shape for key in common), len(common)


def _report(own: Mapping[str, Tensor], spelling: Spelling, wrapper: str) -> KeyReport:
    weights = spelling.weights
    used = [key for key in own if key in weights and weights[key].shape == own[key].shape]
    sizes = {key: value.numel() for key, value in own.items() if not key.endswith(HARMLESS_MISSING)}
    total = sum(sizes.values())
    return KeyReport(
        used=tuple(used),
        missing=tuple(key for key in own if key not in weights and not key.endswith(HARMLESS_MISSING)),
        unexpected=tuple(key for key in weights if key not in own and not key.endswith(HARMLESS_UNEXPECTED)),
        misshaped=tuple(
            f"{key} is {tuple(weights[key].shape)}, the model has {tuple(own[key].shape)}"
            for key in own
            if key in weights and weights[key].shape != own[key].shape
        ),
        dropped_prefix=spelling.dropped,
        wrapper=wrapper,
        fraction=sum(sizes.get(key, 0) for key in used) / total if total else 1.0,
        converted=spelling.converted,
    )


def _advice(own: Mapping[str, Tensor], spelling: Spelling, how: Loading) -> str:
    """What to do next: a head of another size is named as such."""
    head = wrong_head(own, spelling.weights)
    if head is not None and how.num_classes in (None, head[2]):
        name, in_file, in_model = head
        return (
            f" The head {name!r} has {in_file} classes in the file, and the network was made for the {in_model} of the "
            f"manifest. Say the model's own {in_file} classes in their order, --input classes=neutral,happy,…, and they "
            "are matched to the manifest's by name; --partial would leave the head untrained"
        )
    return " Another network, or other options of it, may be meant (--arch, --option); --partial loads what fits"


def wrong_head(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[str, int, int] | None:
    """(layer, classes in the file, classes of the network) when one layer's number of outputs is all that differs."""
    odd = [key for key in own if key in weights and weights[key].shape != own[key].shape]
    layers = {key.rpartition(".")[0] for key in odd}
    if len(layers) != 1 or any(weights[key].ndim == 0 or own[key].ndim != weights[key].ndim for key in odd):
        return None
    if any(weights[key].shape[1:] != own[key].shape[1:] for key in odd):
        return None
    counts = {(weights[key].shape[0], own[key].shape[0]) for key in odd}
    if len(counts) != 1:
        return None
    in_file, in_model = counts.pop()
    return layers.pop(), in_file, in_model


def partial_notice(report: KeyReport, where: str) -> str:
    """What the reader of the scores must know when weights were loaded in part."""
    return (
        f"Only {100 * report.fraction:.1f} % of the network's weights come from {where} (--partial); the others are as the "
        f"network was made, untrained. {report.problems()}."
    )


def not_finite(state: Mapping[str, Any]) -> str:
    """A notice when weights are NaN or infinite; empty when all are numbers. One pass over the weights."""
    bad: Sequence[str] = [
        key
        for key, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if not bad:
        return ""
    names = f"{', '.join(bad[:_SHOWN])}{', …' if len(bad) > _SHOWN else ''}"
    return f"{len(bad)} of the model's {len(state)} weight tensors hold values that are not finite numbers: {names}."
