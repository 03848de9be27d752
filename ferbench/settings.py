"""Where a stage's options come from: flags, then `-o key=value`, then ferbench.toml, then the dataset card, then defaults.

A stage has one frozen options record; `resolve` fills it. A workspace is a folder with a ferbench.toml, found from the
current folder upwards; in it each stage's default input is what the stage before it wrote.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ferbench import remote
from ferbench.errors import DataError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same parser under its older name
    import tomli as tomllib

FILE_NAME = "ferbench.toml"
STAGES = ("align", "make-splits", "train", "evaluate")
"""Tables of a workspace file."""
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with a ferbench.toml, and what the file says."""

    folder: Path
    values: Mapping[str, Any]

    def check(self) -> None:
        """UsageError for a key that nothing reads: a setting that is misspelt would otherwise be lost in silence."""
        unknown = sorted(set(self.values) - {"source", "dataset", *STAGES})
        if unknown:
            known = ", ".join(["source", "dataset", *(f"[{stage}]" for stage in STAGES)])
            raise UsageError(f"{self.folder / FILE_NAME}: unknown key {unknown[0]!r}; known: {known}")
        source = self.values.get("source", "")
        if not isinstance(source, str) and not (
            isinstance(source, list) and source and all(isinstance(item, str) for item in source)
        ):
            raise UsageError(f"{self.folder / FILE_NAME}: source must be a path or a list of paths, got {source!r}")

    def section(self, name: str) -> dict[str, Any]:
        """One stage's table; empty when the file has none."""
        section = self.values.get(name, {})
        if not isinstance(section, dict):
            raise DataError(f"{self.folder / FILE_NAME}: {name!r} must be a table, [{name}]")
        return dict(section)

    def path(self, value: str) -> Path:
        """A path of the file, relative to the workspace; or a URL, as the path that mirrors it."""
        return remote.meant(value, self.folder)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's values; DataError names the file and the place of a mistake."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid TOML: {error}") from error


def find_workspace(start: Path) -> Workspace | None:
    """The nearest workspace at or above `start`."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            workspace = Workspace(folder, read_toml(folder / FILE_NAME))
            workspace.check()
            return workspace
    return None


def parse_overrides(pairs: Iterable[str], *, where: str = "-o") -> dict[str, str]:
    """`["size=224", "template=margin"]` as a dict; UsageError for anything else, naming the option `where`."""
    values = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"{where} {pair!r} is not key=value")
        values[key.strip().replace("-", "_")] = value.strip()
    return values


def toml_value(text: str) -> Any:
    """Text as a TOML value where it is one, `0.01`, `true`, `["a", "b"]`, `{ name = "step" }`; else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def resolve(record: type[Record], *layers: Mapping[str, Any], where: str) -> Record:
    """Build `record` from layers of values, the first layer winning; None means "not given".

    Strings are read as the field's type. UsageError names an unknown key and lists the known ones.
    """
    (resolved,) = resolve_all([record], [(where, layer) for layer in layers])
    return resolved  # type: ignore[no-any-return]


def resolve_all(records: Sequence[type[Any]], layers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    """Build several records whose settings share their layers; each key belongs to the one record that has it.

    A layer is (where it comes from, for error messages; its values). The first one wins.
    """
    owners = {field.name: record for record in records for field in dataclasses.fields(record)}
    hints = {record: typing.get_type_hints(record) for record in records}
    merged: dict[type[Any], dict[str, Any]] = {record: {} for record in records}
    for where, layer in reversed(layers):
        for key, value in layer.items():
            name = key.replace("-", "_")
            if name not in owners:
                known = ", ".join(name.replace("_", "-") for name in owners)
                raise UsageError(f"{where}: unknown setting {key!r}; known: {known}")
            if value is not None:
                record = owners[name]
                merged[record][name] = _coerced(value, hints[record][name], name, where)
    return [record(**merged[record]) for record in records]


def _coerced(value: Any, hint: Any, name: str, where: str) -> Any:
    kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType] if _is_union(hint) else [hint]
    kind = kinds[0]
    try:
        if typing.get_origin(kind) is tuple:
            return _tuple(value, typing.get_args(kind))
        if kind is bool:
            return _bool(value)
        if kind is int:
            if isinstance(value, (float, bool)):
                raise ValueError
            return int(value)
        if kind is float:
            return float(value)
        if kind is str and isinstance(value, (str, int, float)):
            return str(value)
        if kind is Path:
            return Path(value)
        raise ValueError
    except (TypeError, ValueError):
        wanted = _wanted(kind)
        raise UsageError(f"{where}: setting {name.replace('_', '-')!r} must be {wanted}, got {value!r}") from None


def _wanted(kind: Any) -> str:
    """`int`, or for `tuple[float, ...]` the words for it."""
    items = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    name = getattr(items[0] if items else kind, "__name__", str(kind))
    return f"{name}s separated by commas" if items else name


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):
        items: list[Any] = [item.strip() for item in value.split(",")]
    else:
        items = [value] if isinstance(value, (int, float)) else list(value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(kinds[0](item) for item in items)
    if len(items) != len(kinds):
        raise ValueError
    return tuple(kind(item) for kind, item in zip(kinds, items, strict=True))


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]
