"""The keys of another repository's state dict to ours, by rules: what every `convert_state_dict` is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ferbench.errors import ModelError

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one repository names what we name otherwise."""

    source: str
    """The repository, for messages."""
    rules: Sequence[tuple[str, str]]
    """(pattern of the front of a key, what stands there instead), tried in order on every key until one fits."""
    ignored: Sequence[str] = ()
    """Patterns of keys without a place in ours: what the original registers and never uses."""
    inner: Sequence[tuple[str, str]] = ()
    """(pattern, replacement) that are applied one after the other, anywhere in a key that a rule has fitted."""

    def __call__(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors under our keys.

        Raises ModelError with the keys that no rule knows, or when two would get one name.
        """
        converted: dict[str, Tensor] = {}
        unknown = []
        for key, value in weights.items():
            if any(re.match(pattern, key) for pattern in self.ignored):
                continue
            name = self.name_of(key)
            if name is None:
                unknown.append(key)
            elif name in converted:
                raise ModelError(f"two keys of {self.source} would both become {name}; the second is {key}")
            else:
                converted[name] = value
        if unknown or not converted:
            shown = ", ".join(unknown[:_SHOWN]) + (", …" if len(unknown) > _SHOWN else "")
            what = f"{len(unknown)} keys are not those of {self.source}: {shown}" if unknown else "there are no weights"
            raise ModelError(f"{what}; weights that have our own names need no conversion")
        return converted

    def name_of(self, key: str) -> str | None:
        """Our name for one of its keys; None for a key that no rule knows."""
        for pattern, replacement in self.rules:
            name, found = re.subn(rf"\A(?:{pattern})", replacement, key, count=1)
            if found:
                for inside, instead in self.inner:
                    name = re.sub(inside, instead, name)
                return name
        return None
