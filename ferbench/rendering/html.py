"""Templates of this package to HTML; text from data is escaped, and its control characters made harmless."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferbench.rendering.wording import plain


def html_of(template: str, context: Mapping[str, Any]) -> str:
    """The template with `context`; a name that it lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=_finalized,
    )  # fmt: skip
    return environment.get_template(template).render(context)


def _finalized(value: Any) -> Any:
    """What jinja2 does with a value before it escapes it; the output of the template's own macros is left alone."""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
