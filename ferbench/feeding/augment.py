"""The table of augmentations, and a recipe's list of them applied to a clip."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ferbench.errors import UsageError
from ferbench.feeding import colour, geometry
from ferbench.feeding.autoaugment import autoaugment_cifar
from ferbench.feeding.geometry import Frames
from ferbench.feeding.settings import Rng
from ferbench.inputspec import InputSpec
from ferbench.training.recipe import Choice

AUGMENTATIONS: dict[str, Callable[..., Frames]] = {
    "resize": geometry.resize,
    "random-resized-crop": geometry.random_resized_crop,
    "random-crop": geometry.random_crop,
    "flip": geometry.flip,
    "rotation": geometry.rotation,
    "color-jitter": colour.color_jitter,
    "grey": colour.grey,
    "gaussian-blur": colour.gaussian_blur,
    "autoaugment-cifar": autoaugment_cifar,
    "random-erasing": geometry.random_erasing,
}
"""Name -> function(frames, rng, **settings): (T, H, W, C) uint8 (or float32 in 0..255) to the same kind.

What is drawn is drawn once per call: all frames of a clip get the same. `size` and `resize` are the model's where a recipe
does not say them. A new augmentation is one function and one row.
"""


def check_augmentations(choices: Sequence[Choice]) -> None:
    """UsageError for a name that no row has, a setting that it does not take, or a value that it refuses."""
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    for choice in choices:
        if choice.name not in AUGMENTATIONS:
            near = difflib.get_close_matches(choice.name, AUGMENTATIONS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"no augmentation {choice.name!r}{hint}; known: {', '.join(AUGMENTATIONS)}")
        function = AUGMENTATIONS[choice.name]
        known = _settings_of(function)
        unknown = sorted(set(choice.settings) - set(known))
        if unknown:
            takes = ", ".join(known) or "no settings"
            raise UsageError(f"augment {choice.name}: no setting {unknown[0]!r}; it takes {takes}")
        try:
            function(frames, np.random.default_rng(0), **choice.settings)
        except (TypeError, ValueError) as error:
            raise UsageError(f"augment {choice.name}: {dict(choice.settings)} cannot be used ({error})") from error


class Augmenter:
    """A recipe's augmentations for a model's input."""

    def __init__(self, choices: Sequence[Choice], spec: InputSpec) -> None:
        check_augmentations(choices)
        own: dict[str, Any] = {"size": (spec.height, spec.width), "resize": spec.resize}
        self._steps = []
        for choice in choices:
            function = AUGMENTATIONS[choice.name]
            known = _settings_of(function)
            settings = {key: value for key, value in own.items() if key in known} | dict(choice.settings)
            self._steps.append((function, settings))

    def __call__(self, frames: Frames, rng: Rng) -> Frames:
        """(T, H, W, C) to (T, h, w, C): one after the other."""
        for function, settings in self._steps:
            frames = function(frames, rng, **settings)
        return frames


def _settings_of(function: Callable[..., Frames]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
