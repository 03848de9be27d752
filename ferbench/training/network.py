"""The network of a training: made new, begun from a checkpoint where one is named, and frozen where the recipe says so."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import MODELS, model_module
from ferbench.models.checkpoints import read_weights
from ferbench.models.files import check_file
from ferbench.models.keys import Loading, load_into, partial_notice
from ferbench.models.sources import new_network
from ferbench.settings import resolve_all
from ferbench.training.recipe import TrainRecipe


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """What is trained."""

    module: nn.Module
    spec: InputSpec
    """With the classes, in the order of the outputs."""
    notices: tuple[str, ...]
    """What the reader of a log must know: weights that began anew."""


def make_network(recipe: TrainRecipe, classes: tuple[str, ...]) -> Network:
    """The recipe's network for `classes`, its new weights drawn from the recipe's seed.

    Raises UsageError or ModelError, with the next step.
    """
    texts = {key: str(value) for key, value in recipe.options.items()}
    module, spec, _ = new_network(recipe.model, len(classes), texts, seed=recipe.seed)
    base = dataclasses.replace(spec or InputSpec(), classes=classes).as_dict()
    spec = resolve_all([InputSpec], [(f"recipe {recipe.name} [input]", recipe.input), ("", base)])[0]
    if spec.classes != classes:
        raise UsageError(f"recipe {recipe.name}: the classes are those of the manifest; leave input.classes out")
    notices = _warm_started(module, recipe, len(classes)) if recipe.warm_start else ()
    freeze(module, recipe.freeze)
    return Network(module, spec, notices)


def _warm_started(module: nn.Module, recipe: TrainRecipe, num_classes: int) -> tuple[str, ...]:
    path = Path(recipe.warm_start)
    check_file(path)
    weights = read_weights(path)
    convert = getattr(model_module(recipe.model), "convert_state_dict", None) if recipe.model in MODELS else None
    how = Loading(str(path), wrapper=weights.wrapper, partial=True, convert=convert, num_classes=num_classes)
    report = load_into(module, weights.state, how)
    return () if report.fits else (partial_notice(report, path.name),)


def freeze(module: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Parameters whose names begin with one of `prefixes` do not train. UsageError for a prefix that no name has."""
    names = [name for name, _ in module.named_parameters()]
    for prefix in prefixes:
        if not any(_is_below(name, prefix) for name in names):
            parts = sorted({name.partition(".")[0] for name in names})
            raise UsageError(f"freeze: no parameter's name begins with {prefix!r}; the parts are {', '.join(parts)}")
    for name, parameter in module.named_parameters():
        if any(_is_below(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)


def training_mode(module: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Train mode, but for the frozen parts: their batch statistics and dropout stay as in evaluation."""
    module.train()
    for name, part in module.named_modules():
        if name and any(_is_below(name, prefix) for prefix in prefixes):
            part.eval()


def _is_below(name: str, prefix: str) -> bool:
    """`backbone.conv.weight` is below `backbone` and below `backbone.conv`, not below `back`."""
    return name == prefix or name.startswith(f"{prefix.rstrip('.')}.")
