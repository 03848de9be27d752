"""Class orders that people meet: by which mistakes a label gets another class's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ferbench.cards import card_names, read_card
from ferbench.labels import LabelSet, canonical_name

Columns = NDArray[np.int64]
"""(K,) for each true class, the predicted class that would mean it; the identity where nothing is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownOrder:
    """A mistake with a name."""

    columns: Columns
    story: str
    """What would be in which order: `the model's outputs are in alphabetical order, …`."""
    shift: bool = False
    """Whether it is the label base: everything one place on."""
    names: tuple[str, ...] = ()
    """The order itself."""


def known_orders(labels: LabelSet, stated: Sequence[str] = ()) -> list[KnownOrder]:
    """Every known mistake with K labels, each once. `stated` are the model's classes in order, where it says them.

    Two things may be in another order than they are taken for: the model's outputs, and the integers of the labels.
    """
    identity = np.arange(len(labels))
    outputs = [name for name in stated if name in labels] or list(labels.names)
    found: dict[tuple[int, ...], KnownOrder] = {}
    for what, base in (("the model's outputs are", outputs), ("the labels count", list(labels.names))):
        taken_for = labels.labels_of(base)
        for story, order, shift in _orders_of(base):
            meant = labels.labels_of(order)
            columns = identity.copy()
            if base is outputs:
                columns[meant] = (
                    taken_for  # a sample of the class that output k means is predicted as what k is taken for
                )
            else:
                columns[taken_for] = meant
            key = tuple(columns.tolist())
            if key not in found and not np.array_equal(columns, identity):
                found[key] = KnownOrder(columns, f"{what} {story}", shift, tuple(order))
    return list(found.values())


def _orders_of(base: list[str]) -> Iterator[tuple[str, list[str], bool]]:
    """(how it is called, the order in the words of `base`, whether it is a shift)."""
    yield "one place too low (0 where 1 is meant)", base[1:] + base[:1], True
    yield "one place too high (1 where 0 is meant)", base[-1:] + base[:-1], True
    alphabetical = "in alphabetical order, as torchvision's ImageFolder sorts folders"
    yield alphabetical, sorted(base, key=str.lower), False
    yield alphabetical, sorted(base, key=canonical_name), False
    yield "in reversed order", base[::-1], False
    words = {canonical_name(name): name for name in base}
    for order, owners in _orders_of_cards().items():
        if set(order) == set(words):
            yield f"in the order of {_listed(owners)}", [words[name] for name in order], False


@lru_cache(maxsize=1)
def _orders_of_cards() -> dict[tuple[str, ...], list[str]]:
    """Canonical class names in order -> whose order it is: datasets' own first, then those of repositories' files."""
    found: dict[tuple[str, ...], list[str]] = {}
    cards = [read_card(name) for name in card_names()]
    for card in cards:
        found.setdefault(tuple(map(canonical_name, card.labels.names)), []).append(card.name)
    for card in cards:
        for variant, order in card.orders.items():
            owners = found.setdefault(tuple(map(canonical_name, order.names)), [])
            if card.name not in owners:
                owners.append(f"{card.name} as {variant} has it")
    return found


def _listed(owners: Sequence[str], most: int = 3) -> str:
    return ", ".join(owners[:most]) + (f" and {len(owners) - most} more" if len(owners) > most else "")
