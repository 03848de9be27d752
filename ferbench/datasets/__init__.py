"""Readers: the official layout of a dataset, and the re-packs people really have, as a Reading.

One file per dataset (or family of datasets that share a layout) with one function,

    read(root: Path, card: Card, options: Mapping[str, str]) -> Reading

`root` is the folder the user named, `options` are the card's reader options with their defaults. A reader says which layout
and label base it found, skips nothing in silence, and gives labels in the copy's own order with the names beside it. It
raises DataError, reason `layout`, when nothing of the dataset is below `root`, and says what it looked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Skip, Tally, resolve_options
from ferbench.errors import UsageError

Reader = Callable[[Path, Card, Mapping[str, str]], Reading]

READERS: dict[str, str] = {
    name: f"ferbench.datasets.{name}"
    for name in (
        "aff_wild2",
        "affectnet",
        "afew",
        "ck_plus",
        "class_folders",
        "crema_d",
        "dfew",
        "enterface",
        "expw",
        "fer2013",
        "ferplus",
        "ferv39k",
        "jaffe",
        "kdef",
        "mafw",
        "mmi",
        "oulu_casia",
        "raf_db",
        "ravdess",
    )
}
"""Name, as cards give it in `reader`, -> module with `read`."""

UNCARDED: dict[str, str] = {
    "folders": "ferbench.datasets.class_folders",
    "csv": "ferbench.datasets.own_csv",
}
"""Layouts that need no card: a folder per class, and a user's own CSV -> module with `read_uncarded(root) -> Reading`."""

__all__ = ["READERS", "UNCARDED", "Reader", "Reading", "Skip", "Tally", "find_reader", "resolve_options"]


def find_reader(card: Card) -> Reader:
    """The reader of a card; UsageError for a card without one."""
    if card.reader not in READERS:
        raise UsageError(f"{card.name} has no reader: its media come with ferbench, use bundled:{card.name}")
    reader: Reader = importlib.import_module(READERS[card.reader]).read
    return reader
