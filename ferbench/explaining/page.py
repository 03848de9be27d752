"""The page that shows an explanation: an index of the pictures beside it. It asks no host for anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.rendering.wording import counted, plain
from ferbench.storage import write_text

MOST_FAILURES = 200


@dataclass(frozen=True, slots=True)
class ExplainPage:
    """Everything on the page; text is taken as text, never as HTML. Pictures are paths relative to the page."""

    title: str
    notices: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    grids: tuple[str, ...]
    strips: tuple[tuple[str, str], ...]
    """(class name, picture)."""
    embedding: str
    """Empty where there is none."""
    separation: Mapping[str, Any] | None
    mistake_pages: tuple[str, ...]
    mistakes: tuple[Mapping[str, Any], ...]
    wrong: tuple[int, int] | None
    """(wrong, scored)."""
    failures: tuple[tuple[str, str], ...]
    """(sample_id, reason)."""
    num_samples: int


def write_explain_page(page: ExplainPage, path: Path) -> None:
    """Write it, atomically."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        finalize=lambda value: plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )  # fmt: skip
    source = Path(__file__).with_name("explain.html").read_text(encoding="utf-8")
    text = environment.from_string(source).render(
        page=page, counted=counted, failures=page.failures[:MOST_FAILURES], number=_number
    )
    write_text(path, text)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
