"""What `pandas.read_csv` makes of a text field: published loaders read their lists with it, and some ids do not survive."""

from __future__ import annotations

MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip
"""Texts that read_csv takes for a missing value, whatever the column's type."""


def taken_for_another_value(text: str, *, numbers: bool = True) -> str | None:
    """What pandas reads in place of `text`, in words, or None; `numbers=False` for a column that is read as text."""
    if text in MISSING:
        return "a missing value"
    if numbers:
        try:
            return f"the number {float(text):g}"
        except ValueError:
            pass
        if text.lower() in ("true", "false"):
            return "a truth value"
    return None
