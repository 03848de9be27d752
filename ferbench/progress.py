"""Progress on stderr: a bar in a terminal, nothing elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class Advance(Protocol):
    """Tells the bar that one step is done."""

    def __call__(self, note: str, *, failed: str = "", **amounts: int) -> None:
        """`note`: a few words about the step; `failed`: the reason it failed; `amounts`: what it got done, by name.

        `advance("clip_3", frames=16, faces=15)` makes the bar count frames and faces, and the first of them per second.
        """


@dataclass(slots=True)
class Tally:
    """What a job has done so far, as a line of words. Times in seconds are passed in, so that it needs no clock."""

    amounts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, failed: str, amounts: dict[str, int]) -> None:
        """Count one step."""
        self.amounts.update(amounts)
        if failed:
            self.failures[failed] += 1

    def text(self, seconds: float) -> str:
        """`1,600 frames (52/s), 1,580 faces, failed: 2 no-face, 1 unreadable`."""
        words = []
        for place, (name, amount) in enumerate(self.amounts.items()):
            rate = f" ({amount / seconds:,.0f}/s)" if place == 0 and seconds > 0 else ""
            words.append(f"{amount:,} {name}{rate}")
        if self.failures:
            words.append("failed: " + ", ".join(f"{count:,} {reason}" for reason, count in self.failures.most_common()))
        return ", ".join(words)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show a bar of `total` steps while the block runs; quiet when stderr is not a terminal or there is nothing to do."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal or not total:
        yield lambda note, *, failed="", **amounts: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        # Ids and reasons come from other people's files: plain text, no markup.
        TextColumn("{task.fields[note]}", markup=False),
    )
    tally, started = Tally(), time.monotonic()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(note: str, *, failed: str = "", **amounts: int) -> None:
            tally.add(failed, amounts)
            shown = tally.text(time.monotonic() - started)
            bar.update(task, advance=1, note=", ".join(filter(None, (shown, note))))

        yield advance
