"""A card: a dataset's classes, layout, protocols, published counts, licence and citation, from `manifests/NAME/card.toml`.

The folder `manifests/` lies beside the package in a checkout and inside it when ferbench is installed from a wheel.
`manifests/README.md` documents every key of the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferbench.cards.counts import PublishedCount
from ferbench.cards.published import PublishedResult
from ferbench.errors import DataError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest
from ferbench.settings import read_toml

_PACKAGE = Path(__file__).parent.parent
KINDS = ("static", "dynamic")


@dataclass(frozen=True, slots=True)
class Card:
    """One dataset's card."""

    name: str
    folder: Path
    title: str
    labels: LabelSet
    """Classes in the official order."""
    kind: str = "dynamic"
    """`static`: stills; `dynamic`: clips."""
    reader: str = ""
    """Name of the reader in `ferbench.datasets`; empty for a set that comes with its own manifest."""
    label_base: int | None = None
    """First integer of the distributed label files; None where they hold names."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """Codes of file names and label files -> class name: `{"AN": "anger"}`."""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The reader's own options -> their values, the default first. An empty tuple takes any text."""
    layout: str = ""
    """The official folder tree."""
    grammar: tuple[str, ...] = ()
    """The label files' lines, in words and examples; and the re-packs that are read too."""
    counts: tuple[PublishedCount, ...] = ()
    published: tuple[PublishedResult, ...] = ()
    """What papers report, in the order of the card; references, never results of ours."""
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Named protocols -> `rule`, `title` and the rule's arguments; the first is the default."""
    orders: Mapping[str, LabelSet] = field(default_factory=dict)
    """Class order of a repository's files where it is not the official one; keyed by variant or dialect."""
    metrics: tuple[str, ...] = ()
    input: Mapping[str, Any] = field(default_factory=dict)
    """Usual crop, size in pixels and frames per clip, in words and numbers."""
    manifest: Path | None = None
    """The manifest that comes with ferbench, for the sets whose media do."""
    licence: str = ""
    access: str = ""
    bibtex: str = ""
    notes: tuple[str, ...] = ()
    """Sentences that every report on this dataset must carry."""
    traps: tuple[str, ...] = ()
    """What goes wrong with this dataset in practice."""
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings per stage (`align`, `make-splits`, `evaluate`), below the workspace file and above the general defaults."""

    def order_for(self, *names: str) -> LabelSet:
        """The class order of the first of `names` (a variant, then its dialect) that has its own, else the official one."""
        return next((self.orders[name] for name in names if name in self.orders), self.labels)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "name": self.name, "title": self.title, "kind": self.kind, "classes": list(self.labels.names),
            "label_base": self.label_base, "codes": dict(self.codes), "layout": self.layout, "grammar": list(self.grammar),
            "options": {name: list(values) for name, values in self.options.items()},
            "counts": [count.as_dict() for count in self.counts],
            "published": [result.as_dict() for result in self.published],
            "protocols": {name: dict(rule) for name, rule in self.protocols.items()},
            "orders": {name: list(order.names) for name, order in self.orders.items()},
            "metrics": list(self.metrics), "input": dict(self.input), "licence": self.licence, "access": self.access,
            "notes": list(self.notes), "traps": list(self.traps), "bibtex": self.bibtex,
        }  # fmt: skip


def cards_folder() -> Path:
    """Where the cards are on this machine."""
    inside, beside = _PACKAGE / "manifests", _PACKAGE.parent / "manifests"
    return inside if inside.is_dir() else beside


def card_names() -> list[str]:
    """Datasets that have a card."""
    return sorted(path.parent.name for path in cards_folder().glob("*/card.toml"))


def find_card(name: str) -> Card | None:
    """The card of a dataset, or None where there is none of that name."""
    return read_card(name) if name in card_names() else None


def card_of(manifest: Manifest) -> Card | None:
    """The card of the dataset that a manifest was indexed from, or None."""
    return find_card(str(manifest.provenance.get("dataset", "")))


def read_card(name: str) -> Card:
    """The card of a dataset; UsageError lists the known ones, DataError names what is wrong with a file."""
    if name not in card_names():
        near = difflib.get_close_matches(name.lower(), card_names(), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"no dataset card {name!r}{hint}; known: {', '.join(card_names())}")
    folder = cards_folder() / name
    path = folder / "card.toml"
    values = read_toml(path)
    try:
        return _card(name, folder, values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {error!r} cannot be read as a card; manifests/README.md lists the keys") from error


def _card(name: str, folder: Path, values: dict[str, Any]) -> Card:
    labels = LabelSet.of(values.pop("classes"))
    kind = values.pop("kind", "dynamic")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    codes = dict(values.pop("codes", {}))
    labels.labels_of(list(codes.values()))
    counts = tuple(PublishedCount.of(entry, len(labels)) for entry in values.pop("counts", ()))
    orders = {key: LabelSet.of(names) for key, names in values.pop("orders", {}).items()}
    for key, order in orders.items():
        if order.missing_from(labels) or labels.missing_from(order):
            raise ValueError(f"the order of {key!r} must hold the classes of the card")
    protocols = values.pop("protocols", {})
    published = tuple(
        PublishedResult.of(entry, num_classes=len(labels), protocols=tuple(protocols) or ("official",))
        for entry in values.pop("published", ())
    )
    card = Card(
        name=name,
        folder=folder,
        title=values.pop("title"),
        labels=labels,
        kind=kind,
        reader=values.pop("reader", ""),
        label_base=values.pop("label-base", None),
        codes=codes,
        options={key: tuple(choices) for key, choices in values.pop("options", {}).items()},
        layout=values.pop("layout", "").strip("\n"),
        grammar=tuple(values.pop("grammar", ())),
        counts=counts,
        published=published,
        protocols=protocols,
        orders=orders,
        metrics=tuple(values.pop("metrics", ())),
        input=values.pop("input", {}),
        manifest=folder / values.pop("manifest") if "manifest" in values else None,
        licence=values.pop("licence", ""),
        access=values.pop("access", ""),
        bibtex=values.pop("bibtex", "").strip(),
        notes=tuple(values.pop("notes", ())),
        traps=tuple(values.pop("traps", ())),
        defaults=values.pop("defaults", {}),
    )
    if values:
        raise ValueError(f"unknown key {next(iter(values))!r}")
    return card
