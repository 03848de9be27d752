"""A dataset card as a person wants to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ferbench.cards import Card
from ferbench.metrics import METRICS
from ferbench.rendering.terminal import summary_table

MARKS = {"counted": "", "stated": "", "believed": " ?"}
"""Behind a figure that nobody has checked stands a question mark."""


def cards_table(summaries: Sequence[Mapping[str, Any]]) -> RenderableType:
    """All cards, the name and the figures first."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="datasets", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for name in ("classes", "samples"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("title", overflow="fold")
    for row in summaries:
        samples = f"{row['samples']:,}" if row["samples"] else ""
        table.add_row(row["name"], row["kind"], str(row["classes"]), samples, Text(row["title"]))
    return table


def card_tables(card: Card) -> list[RenderableType]:
    """What it is, how it lies on disk, what is published about it, what goes wrong with it, how it is cited."""
    return list(_parts(card))


def _parts(card: Card) -> Iterator[RenderableType]:
    base = "by name" if card.label_base is None else f"integers from {card.label_base}"
    facts = {
        "classes": f"{', '.join(card.labels.names)} ({base})",
        "metrics": ", ".join(card.metrics),
        "input": ", ".join(f"{key} {value}" for key, value in card.input.items()),
        "options": "; ".join(f"{name}={'|'.join(values) or 'TEXT'}" for name, values in card.options.items()),
        "orders": "; ".join(f"{name}: {', '.join(order.names)}" for name, order in card.orders.items()),
        "licence": card.licence,
        "access": card.access,
    }
    yield summary_table(f"{card.name}: {card.title}", {name: text for name, text in facts.items() if text})
    if card.layout:
        yield _block("layout", card.layout)
    if card.grammar:
        yield _list("label files", card.grammar)
    if card.protocols:
        yield summary_table("protocols (make-splits --protocol)", dict(_protocols(card)))
    if card.counts:
        yield _counts_table(card)
    if card.published:
        yield _published_table(card)
    if card.traps:
        yield _list("beware", card.traps)
    if card.notes:
        yield _list("every report says", card.notes)
    if card.bibtex:
        yield _block("citation", card.bibtex)


def _protocols(card: Card) -> Iterator[tuple[str, str]]:
    for name, rule in card.protocols.items():
        note = f". {rule['note']}" if rule.get("note") else ""
        yield name, f"{rule.get('title', rule.get('rule'))}{note}"


def _counts_table(card: Card) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="published counts", title_justify="left")
    table.add_column("part", overflow="fold")
    table.add_column("total", justify="right", no_wrap=True)
    table.add_column("per class", overflow="fold")
    table.add_column("strength, source", overflow="fold")
    for count in card.counts:
        when = ", ".join(f"{key} {value}" for key, value in count.when.items())
        per_class = " ".join(str(number) for number in count.per_class or ())
        table.add_row(
            Text(count.part + (f" ({when})" if when else "")),
            f"{count.total:,}{MARKS[count.strength]}",
            per_class,
            Text(f"{count.strength}{f', {count.source}' if count.source else ''}"),
        )
    return table


def _published_table(card: Card) -> RenderableType:
    metrics = list(dict.fromkeys(metric for result in card.published for metric in result.metrics))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="published results; percent, as printed", title_justify="left")
    table.add_column("method", overflow="fold", ratio=2)
    for metric in metrics:
        table.add_column(METRICS[metric].title if metric in METRICS else metric, justify="right", no_wrap=True)
    table.add_column("how, source", overflow="fold", ratio=3)
    for result in card.published:
        unranked = f"not comparable: {result.unranked}" if result.unranked else ""
        told = [result.protocol_note, result.source, result.note, unranked]
        figures = [result.metrics.get(metric, "–") for metric in metrics]
        table.add_row(Text(result.label), *figures, Text(". ".join(part for part in told if part)))
    return table


def _list(title: str, sentences: Sequence[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.title, table.title_justify = title, "left"
    for sentence in sentences:
        table.add_row(" •", Text(sentence))
    return table


def _block(title: str, text: str) -> RenderableType:
    table = Table.grid()
    table.title, table.title_justify = title, "left"
    table.add_row(Padding(Text(text, overflow="fold"), (0, 1)))
    return table
