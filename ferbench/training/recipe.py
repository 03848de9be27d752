"""TrainRecipe: everything that decides the weights, beside the data: `manifests/recipes/NAME.toml`, any key overridable.

    model = "former-dfer"
    epochs = 100
    batch-size = 32
    optimizer = { name = "sgd", lr = 0.01, momentum = 0.9, weight-decay = 1e-4 }
    schedule = { name = "step", step = 40, gamma = 0.1 }
    loss = { name = "cross-entropy" }
    augment = [ { name = "random-resized-crop", scale = [0.08, 1.0] }, { name = "flip", p = 0.5 } ]

`manifests/README.md` documents every key.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferbench.cards import cards_folder
from ferbench.errors import UsageError
from ferbench.metrics import METRICS
from ferbench.settings import read_toml, toml_value

FOLDER = "recipes"
AMP = ("off", "bf16", "fp16")
SHUFFLES = ("samples", "shards")
SELECT_ON = ("validation", "test", "last")


@dataclass(frozen=True, slots=True)
class Choice:
    """A row of a table by name, with its own settings: `{ name = "step", step = 40 }`."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As in the TOML."""
        return {"name": self.name, **{key.replace("_", "-"): value for key, value in self.settings.items()}}


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """One training."""

    model: str
    """A built-in name, `timm:NAME`, or code as `--arch` of evaluate takes it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the network."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the InputSpec that differ from the model's own."""
    epochs: int = 100
    batch_size: int = 32
    """Clips or images per step and process; times `accumulate`, times the processes, is the batch that a step sees."""
    accumulate: int = 1
    """Batches whose gradients make one step."""
    optimizer: Choice = Choice("sgd", {"lr": 0.01, "momentum": 0.9})
    schedule: Choice = Choice("none")
    loss: Choice = Choice("cross-entropy")
    augment: tuple[Choice, ...] = ()
    """In order; each is the same for all frames of a clip."""
    balanced: bool = False
    """Draw every class equally often."""
    drop_last: bool = False
    """Leave the samples out that do not fill an epoch's last batch: others every time, as the order is."""
    shuffle: str = "samples"
    """`samples`: each from wherever it lies. `shards`: packed samples shard by shard, in another order every epoch."""
    shuffle_window: int = 4
    """With `shards`: shards whose samples are mixed."""
    mixup: float = 0.0
    """Alpha of the Beta distribution; 0 is off (Zhang et al. 2018)."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 is no limit."""
    amp: str = "off"
    freeze: tuple[str, ...] = ()
    """Prefixes of parameter names that stay as they are; their modules stay in eval mode."""
    warm_start: str = ""
    """A checkpoint to begin from. Weights that do not fit (another number of classes) begin anew, and that is said."""
    metric: str = "war"
    """Of the validation part: the epoch with the most is kept."""
    select_on: str = "validation"
    """`validation`, carved out of train where the manifest has none; `last`: the last epoch, no part held out; `test`:
    as published code does, which is stamped into the checkpoint and said in every report."""
    validation_by: str = "subject"
    """Column whose values stay whole when a validation part is carved; without values there, by class alone."""
    validation_share: float = 0.1
    early_stop: int = 0
    """Epochs without a better one after which training ends; 0 is never."""
    seed: int = 0
    notes: tuple[str, ...] = ()
    """Where the values are from, and what is not known."""
    name: str = ""
    """Of the file."""

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("accumulate", 1), ("early_stop", 0), ("seed", 0),
                            ("shuffle_window", 1)):  # fmt: skip
            if getattr(self, name) < least:
                raise UsageError(f"recipe: {_dashed(name)} must be at least {least}, got {getattr(self, name)}")
        for name, known in (
            ("amp", AMP), ("select_on", SELECT_ON), ("shuffle", SHUFFLES), ("metric", tuple(METRICS)),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise UsageError(f"recipe: {_dashed(name)} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        if self.balanced and self.shuffle == "shards":
            raise UsageError("recipe: balanced draws samples from everywhere; with shuffle = shards it cannot be")
        if self.clip_norm < 0 or self.mixup < 0:
            raise UsageError("recipe: clip-norm and mixup cannot be negative")
        if not 0 < self.validation_share < 1:
            raise UsageError(f"recipe: validation-share must be between 0 and 1, got {self.validation_share}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in the TOML; `recipe_of` reads them back."""
        return {_dashed(entry.name): _plain(getattr(self, entry.name)) for entry in dataclasses.fields(self)}


def recipe_names() -> list[str]:
    """Recipes that come with ferbench."""
    return sorted(path.stem for path in (cards_folder() / FOLDER).glob("*.toml"))


def default_recipe(model: str, dataset: str) -> str:
    """The recipe of a model on a dataset: `MODEL-DATASET`, else the model's only one, else its first. UsageError."""
    names = recipe_names()
    exact = f"{model}-{dataset}"
    if dataset and exact in names:
        return exact
    models = {name: read_recipe(name).model for name in names}
    own = [name for name in names if models[name] == model]
    if not own:
        near = difflib.get_close_matches(model, sorted(set(models.values())), 1)
        hint = f"did you mean {near[0]!r}? Else " if near else ""
        raise UsageError(f"no recipe for model {model!r}; {hint}write one and name it: --recipe FILE.toml")
    return own[0]


def read_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> TrainRecipe:
    """A recipe by name, or a TOML file; `overrides` (`{"lr": "0.01", "schedule.gamma": "0.5"}`) win.

    Raises UsageError for an unknown recipe or key, or a value of the wrong kind.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in recipe_names():
            near = difflib.get_close_matches(name, recipe_names(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"no training recipe {name!r}{hint}; known: {', '.join(recipe_names())}")
        path = cards_folder() / FOLDER / f"{name}.toml"
    values = read_toml(path)
    values.setdefault("name", path.stem)
    return recipe_of(overridden(values, overrides or {}), where=str(path))


def recipe_of(values: Mapping[str, Any], *, where: str) -> TrainRecipe:
    """A recipe of plain values; UsageError says `where` they are from."""
    fields = {_dashed(entry.name): entry.name for entry in dataclasses.fields(TrainRecipe)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(fields)}")
    if "model" not in values:
        raise UsageError(f"{where}: say which model")
    hints = typing.get_type_hints(TrainRecipe)
    try:
        read = {fields[key]: _read(value, hints[fields[key]], key) for key, value in values.items()}
        return TrainRecipe(**read)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}") from error


def overridden(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `overrides`: a key of the recipe, `table.key`, or the last part of one alone where that is clear.

    `lr` is `optimizer.lr`. `optimizer=adamw` keeps lr and weight-decay; `loss=` and `schedule=` begin anew.
    Text is read as TOML reads it where it can be, else taken as text. UsageError for a key that no table has.
    """
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    known = {_dashed(entry.name) for entry in dataclasses.fields(TrainRecipe)}
    for given, value in overrides.items():
        parts = given.replace("_", "-").split(".")
        parts = _found(parts, result, known)
        table, key = (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])
        parsed = toml_value(value) if isinstance(value, str) else value
        if table:
            result.setdefault(table, {})
            key = key.replace("-", "_") if table in ("options", "input") else key
            result[table] = {**result[table], key: parsed}
        elif isinstance(result.get(key), dict) and not isinstance(parsed, Mapping):
            kept = result[key] if parsed == result[key].get("name") else _shared_settings(key, result[key])
            result[key] = {**kept, "name": parsed}
        else:
            result[key] = {"name": parsed} if key in _CHOICES and isinstance(parsed, str) else parsed
    return result


_CHOICES = ("optimizer", "schedule", "loss")
_SHORT = {
    "lr": ("optimizer", "lr"), "momentum": ("optimizer", "momentum"), "weight-decay": ("optimizer", "weight-decay"),
    "height": ("input", "height"), "width": ("input", "width"), "clip-len": ("input", "clip-len"),
    "sampler": ("input", "sampler"),
}  # fmt: skip
"""Keys that are said without their table."""


def _shared_settings(key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that mean the same in every row of the table."""
    every = ("lr", "weight-decay") if key == "optimizer" else ()
    return {name: value for name, value in values.items() if name.replace("_", "-") in every}


def _found(parts: Sequence[str], values: Mapping[str, Any], known: set[str]) -> list[str]:
    if len(parts) == 1 and parts[0] in known:
        return list(parts)
    if len(parts) == 2 and parts[0] in (*_CHOICES, "options", "input"):
        return list(parts)
    if len(parts) == 1 and parts[0] in _SHORT:
        return list(_SHORT[parts[0]])
    tables = [table for table in _CHOICES if parts[0] in dict(values.get(table, {}))] if len(parts) == 1 else []
    if len(tables) == 1:
        return [tables[0], parts[0]]
    near = difflib.get_close_matches(".".join(parts), [*known, *_SHORT], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        f"-o {'.'.join(parts)}: no such key of a training recipe{hint}; known: {', '.join(sorted(known))}, "
        f"{', '.join(_SHORT)}, and TABLE.KEY of optimizer, schedule, loss, options and input"
    )


def _read(value: Any, hint: Any, key: str) -> Any:
    if hint is Choice:
        return _choice(value, key)
    if hint == tuple[Choice, ...]:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f'{key} is a list of tables, [{{ name = "flip", p = 0.5 }}, …], got {value!r}')
        return tuple(_choice(entry, key) for entry in value)
    if hint == tuple[str, ...]:
        return (value,) if isinstance(value, str) else tuple(str(entry) for entry in value)
    origin = typing.get_origin(hint)
    if origin is not None and isinstance(value, Mapping):
        return types.MappingProxyType({name.replace("-", "_"): entry for name, entry in value.items()})
    wrong = UsageError(f"{key} must be {getattr(hint, '__name__', hint)}, got {value!r}")
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (int, bool, str) and isinstance(value, hint) and (hint is not int or not isinstance(value, bool)):
        return value
    raise wrong


def _choice(value: Any, key: str) -> Choice:
    if isinstance(value, str):
        return Choice(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise UsageError(f'{key} must be a name, or a table {{ name = "…", … }}, got {value!r}')
    settings = {name.replace("-", "_"): entry for name, entry in value.items() if name != "name"}
    return Choice(value["name"], settings)


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return value.as_dict()
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return dict(value) if isinstance(value, Mapping) else value


def _dashed(name: str) -> str:
    return name.replace("_", "-")
