"""One value as the text of one CSV field, and back, without losing a bit.

An empty field is a missing value. What a field cannot hold so that reading gives the same again is a ValueError with the
rule: an empty text, white space at the ends, `nan`, a carriage return.
"""

from __future__ import annotations

import csv
import math
from typing import Any

import numpy as np
import pyarrow as pa

SCALARS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "bool": pa.bool_(),
    **{f"int{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
    "float32": pa.float32(),
    "float64": pa.float64(),
}
TYPES: dict[str, pa.DataType] = {
    **SCALARS,
    **{f"list<{name}>": pa.list_(kind) for name, kind in SCALARS.items() if name not in ("string", "bool")},
}
"""Name in the `# types:` comment -> the Arrow type of an extra column. Lists are numbers with semicolons between."""
BOOLEANS = {"true": True, "false": False}


def type_name(kind: pa.DataType) -> str | None:
    """The name of a type in `TYPES`; None for what a field cannot hold."""
    return next((name for name, known in TYPES.items() if known == kind), None)


def is_missing(text: str) -> bool:
    """Whether a field, without the white space around it, stands for nothing. pandas can be asked to write `nan`."""
    return not text or text.lower() == "nan"


def format_value(value: Any, kind: pa.DataType) -> str:
    """The field of a value of Arrow type `kind`; ValueError says what it cannot hold."""
    if value is None:
        return ""
    if pa.types.is_list(kind):
        if not value:
            raise ValueError("an empty list")
        if any(each is None for each in value):
            raise ValueError("a list with a missing number in it")
        return ";".join(format_value(each, kind.value_type) for each in value)
    if pa.types.is_floating(kind):
        if math.isnan(value):
            raise ValueError("NaN; make it null")
        # The shortest digits that read back as the same number of this width: 0.1, not 0.10000000149011612.
        return str(np.float32(value) if kind == pa.float32() else float(value)).removesuffix(".0")
    if pa.types.is_boolean(kind):
        return "true" if value else "false"
    text = str(value)
    if pa.types.is_string(kind):
        if is_missing(text) or text != text.strip():
            raise ValueError(f"the text {text!r}: a field loses white space at its ends, and empty or 'nan' is missing")
        if "\r" in text or "\0" in text:
            raise ValueError(f"a carriage return or NUL, as in {text!r}")
        if len(text) > csv.field_size_limit():
            raise ValueError(f"a text of {len(text):,} characters")
    return text


def parse_value(text: str, kind: pa.DataType) -> Any:
    """The value of a field; ValueError says what was expected."""
    text = text.strip()
    if is_missing(text):
        return None
    if pa.types.is_list(kind):
        return [parse_number(each, kind.value_type) for each in text.split(";")]
    if pa.types.is_boolean(kind):
        if text.lower() not in BOOLEANS:
            raise ValueError(f"must be true or false, got {text!r}")
        return BOOLEANS[text.lower()]
    return text if pa.types.is_string(kind) else parse_number(text, kind)


def parse_number(text: str, kind: pa.DataType) -> int | float:
    """A number of a whole or a floating type."""
    whole = pa.types.is_integer(kind)
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ValueError(f"must be a {'whole ' if whole else ''}number, got {text.strip()!r}") from None
