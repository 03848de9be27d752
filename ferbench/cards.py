"""Dataset cards: what is known about a dataset, read from `manifests/NAME/card.toml`.

The folder `manifests/` lies beside the package in a checkout and inside it when ferbench is installed from a wheel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.errors import UsageError
from ferbench.labels import LabelSet
from ferbench.settings import read_toml

_PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Card:
    """One dataset's card."""

    name: str
    folder: Path
    title: str
    labels: LabelSet
    manifest: Path | None
    """The manifest that comes with ferbench, for the sets whose media do."""
    licence: str
    notes: tuple[str, ...]
    """Sentences that every report on this dataset must carry."""
    defaults: Mapping[str, Mapping[str, Any]]
    """Settings per stage (`align`, `make-splits`, `evaluate`), below the workspace file and above the general defaults."""


def cards_folder() -> Path:
    """Where the cards are on this machine."""
    inside, beside = _PACKAGE / "manifests", _PACKAGE.parent / "manifests"
    return inside if inside.is_dir() else beside


def card_names() -> list[str]:
    """Datasets that have a card."""
    return sorted(path.parent.name for path in cards_folder().glob("*/card.toml"))


def read_card(name: str) -> Card:
    """The card of a dataset; UsageError lists the known ones."""
    folder = cards_folder() / name
    if name not in card_names():
        raise UsageError(f"no dataset card {name!r}; known: {', '.join(card_names())}")
    values = read_toml(folder / "card.toml")
    return Card(
        name=name,
        folder=folder,
        title=values["title"],
        labels=LabelSet.of(values["classes"]),
        manifest=folder / values["manifest"] if "manifest" in values else None,
        licence=values["licence"],
        notes=tuple(values.get("notes", ())),
        defaults=values.get("defaults", {}),
    )
