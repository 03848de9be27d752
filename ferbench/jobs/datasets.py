"""`datasets`: what the cards and the dialects are, in short."""

from __future__ import annotations

from typing import Any

from ferbench.cards import Card
from ferbench.dialects import DIALECTS, dialect_module


def summary_of(card: Card) -> dict[str, Any]:
    """One card in a row. `samples` is the published number of the whole, or the sum of its split; None where unknown."""
    everything = [count.total for count in card.counts if not count.where]
    splits = {
        count.where["split"]: count.total for count in reversed(card.counts) if set(count.where) == {"split"}
    }  # fmt: skip
    return {
        "name": card.name,
        "title": card.title,
        "kind": card.kind,
        "classes": len(card.labels),
        "samples": everything[0] if everything else sum(splits.values()) or None,
        "protocol": next((str(rule.get("title", rule.get("rule"))) for rule in card.protocols.values()), ""),
        "metrics": list(card.metrics),
    }


def dialect_rows() -> list[dict[str, Any]]:
    """Every dialect with the first line of its documentation and its variants."""
    rows = []
    for name in DIALECTS:
        module = dialect_module(name)
        title = (module.__doc__ or "").strip().split("\n")[0].rstrip(".")
        rows.append({"name": name, "title": title, "variants": list(module.VARIANTS)})
    return rows
