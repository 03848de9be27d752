"""Recipe: everything that decides the pixels of aligned faces, and the id that names it.

The recipe id is in every aligned manifest, in checkpoints ferbench trains and in every report. Two sets of faces with the
same id were made the same way; a model evaluated on faces of another id is told so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ferbench.storage import sha256_of_value

Settings = tuple[tuple[str, Any], ...]
"""A record as sorted (key, value) pairs: hashable and order-free."""


def _frozen(values: dict[str, Any]) -> Settings:
    return tuple(sorted((key, tuple(value) if isinstance(value, list) else value) for key, value in values.items()))


@dataclass(frozen=True, slots=True)
class Recipe:
    """The resolved settings of every stage that touches pixels, as plain values.

    `stages` maps a stage (`reading`, `sampling`, `detection`, `selection`, `crop`, `writing`) to its settings.
    """

    stages: tuple[tuple[str, Settings], ...]

    @classmethod
    def of(cls, **stages: dict[str, Any]) -> Recipe:
        """From one dict of settings per stage."""
        return cls(tuple(sorted((name, _frozen(values)) for name, values in stages.items())))

    @property
    def id(self) -> str:
        """Twelve hex digits that change when anything changes that decides pixels."""
        return sha256_of_value(self.as_dict())[:12]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dicts, as written into manifests and reports."""
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in settings}
            for name, settings in self.stages
        }

    @classmethod
    def from_dict(cls, values: dict[str, dict[str, Any]]) -> Recipe:
        """Read `as_dict`'s form."""
        return cls.of(**values)

    def differences(self, other: Recipe) -> list[str]:
        """What differs, one line each: `crop.size: 112 here, 224 there`."""
        here, there = self.as_dict(), other.as_dict()
        lines = []
        for stage in sorted(set(here) | set(there)):
            for key in sorted(set(here.get(stage, {})) | set(there.get(stage, {}))):
                ours, theirs = here.get(stage, {}).get(key), there.get(stage, {}).get(key)
                if ours != theirs:
                    lines.append(f"{stage}.{key}: {ours} here, {theirs} there")
        return lines
