"""`--option key=value` for the function that makes a network: which there are, and their types."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ferbench.errors import UsageError


def read_options(
    build: Callable[..., Any], given: Mapping[str, str], *, where: str, meanings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Values for `build(num_classes, **options)`, each of the type of its default in the signature.

    `meanings` is a built-in's `OPTIONS`: where it is given it says which options there are. Raises UsageError for an
    unknown one, with the list of those known, and for a value of another type.
    """
    parameters = inspect.signature(build).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    usable = {
        name: each for name, each in parameters.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    known = list(meanings) if meanings else [name for name in usable if name != "num_classes"]
    values = {}
    for key, text in given.items():
        name = key.replace("-", "_")
        if name not in known and (meanings or not takes_any):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            told = "\n".join(f"  {each}  {(meanings or {}).get(each, '')}".rstrip() for each in known)
            raise UsageError(f"{where} has no option {key!r}{hint}; " + (f"known:\n{told}" if known else "it has none"))
        default = usable[name].default if name in usable else inspect.Parameter.empty
        values[name] = _typed(text, default, f"{where}: option {key!r}")
    return values


def _typed(text: str, default: Any, what: str) -> Any:
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise UsageError(f"{what} must be true or false, got {text!r}")
        return words[text.lower()]
    for kind, name in ((int, "a whole number"), (float, "a number")):
        if isinstance(default, kind):
            try:
                return kind(text)
            except ValueError:
                raise UsageError(f"{what} must be {name}, got {text!r}") from None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, tuple):
        wide = value if isinstance(value, (tuple, list)) else (value,)
        if default and any(not isinstance(each, (type(default[0]), int)) for each in wide):
            raise UsageError(f"{what} must be like {default}, got {text!r}")
        return tuple(wide)
    return value
