"""Networks from a user's code: `pkg.module:factory`, or a Python file with `build_model(num_classes)`.

This is the one place where code that is not ferbench's runs, and only because the user named it. What goes wrong in it
is a ModelError that says where.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ferbench.errors import FerbenchError, ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.options import read_options

BUILD = "build_model"


def network_from(
    target: str, num_classes: int, *, options: Mapping[str, str] | None = None
) -> tuple[nn.Module, InputSpec | None, str]:
    """Call the factory `target` names: the network, its input spec if it states one, and where that is from.

    `options` are further arguments of the factory, of the types of their defaults; a `.py` file alone means its
    `build_model`. A spec is the network's `input_spec` or the module's `INPUT_SPEC`: an InputSpec, or a dict of its
    settings.
    """
    place, _, name = (target, "", BUILD) if target.endswith(".py") else target.rpartition(":")
    if not place:
        raise UsageError(f"{target!r} is not module:factory or file.py:factory")
    with _user_code(place):
        code = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    factory = getattr(code, name, None)
    if not callable(factory):
        raise ModelError(f"{place} has no function {name!r}; write `def {name}(num_classes): ...` there")
    chosen = read_options(factory, options or {}, where=target)
    arguments = _arguments(factory, num_classes, target, set(chosen)) | chosen
    with _user_code(place):
        network = factory(**arguments)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{target} returned {type(network).__name__}, not a torch.nn.Module")
    stated = getattr(network, "input_spec", getattr(code, "INPUT_SPEC", None))
    spec = InputSpec.from_dict(stated) if isinstance(stated, dict) else stated
    if spec is not None and not isinstance(spec, InputSpec):
        raise ModelError(f"the input spec in {place} is a {type(spec).__name__}, not a dict or InputSpec")
    return network, spec, f"code of {Path(place).name}"


def source_file(target: str) -> Path | None:
    """The file a factory's code is in; None where it cannot be told without running something."""
    place = target if target.endswith(".py") else target.rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place)
    try:
        spec = importlib.util.find_spec(place) if place else None
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None


def _arguments(factory: Any, num_classes: int, target: str, chosen: set[str]) -> dict[str, Any]:
    parameters = inspect.signature(factory).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = takes_any or any(parameter.name == "num_classes" for parameter in parameters)
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and parameter.name not in {"num_classes", *chosen}
    ]
    if needed:
        raise ModelError(
            f"{target} needs {', '.join(needed)}; a factory is called with num_classes and nothing else, but for what "
            f"--option says: --option {needed[0]}=…"
        )
    return {"num_classes": num_classes} if named else {}


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.exists():
        raise ModelError(f"{path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and TorchScript look a module up by its name
    # Files beside it can be imported, as when it is run as a script.
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.absolute()))
    return module


@contextmanager
def _user_code(place: str) -> Iterator[None]:
    """Exceptions of a user's code as a ModelError with its type, message and line."""
    try:
        yield
    except FerbenchError:
        raise
    except SyntaxError as error:
        raise ModelError(f"{place}:{error.lineno}: {error.msg}") from error
    except ModuleNotFoundError as error:
        raise ModelError(f"cannot import {place}: {error}") from error
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise ModelError(f"{place}: {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})") from error
