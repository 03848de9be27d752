"""torch.export's .pt2 archives, read without running anything but the network's own operations.

An archive is meant to hold a graph of tensor operations, but torch's reader also unpickles what is in it, loads shared
libraries, looks functions up by name and evaluates conditions as Python. So the archive is looked through first, and
refused when it asks for more than a network needs:

- pickles beside the weights: only those that torch's weights-only reader takes;
- shared libraries and pickled custom objects: none;
- operations: those of aten and its like (`torch.ops...`), `_operator` and `math`;
- names: letters, digits, dots; conditions on shapes: arithmetic and comparisons alone.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ferbench.errors import ModelError
from ferbench.models.files import UNSAFE, first_line

_TARGET = re.compile(
    r"torch\.ops\.(aten|prims?|higher_order|torchvision|quantized|quantized_decomposed)\.(?!triton)[A-Za-z_]\w*(\.\w+)?"
    r"|torch\.(_?sym_\w+|_check\w*)|math\.[a-z]\w*|[A-Za-z_]\w*"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|index|matmul)"
)
_NAME = re.compile(r"[\w.\-]*")
_NAMED = (
    "name",
    "parameter_name",
    "buffer_name",
    "tensor_constant_name",
    "forward_arg_names",
    "fqn",
    "user_input_name",
)
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_SYMBOLIC = {
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Eq", "Ne", "Gt", "Ge", "Lt", "Le", "And", "Or", "Not",
    "Max", "Min", "Mod", "FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv", "PythonMod", "ModularIndexing",
    "TruncToInt", "TruncToFloat", "FloorToInt", "CeilToInt", "RoundToInt", "RoundDecimal", "ToFloat", "PowByNatural",
    "Abs", "floor", "ceiling", "true", "false", "True", "False", "Piecewise", "StrictLessThan", "LessThan",
    "StrictGreaterThan", "GreaterThan", "Equality", "Unequality", "StrictEqual", "Where", "Half", "One", "Zero",
    "NegativeOne", "L", "math", "torch", "len",
}  # fmt: skip
_SYMBOL = re.compile(r"[a-z]{1,8}\d*")
_METHODS = re.compile(r"size|stride|storage_offset|shape|ndim|isnan|isinf|inf|is_integer|sym_[a-z]+")
_EXPRESSION = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Subscript,
    ast.Attribute, ast.keyword, ast.Tuple, ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A network out of an archive."""

    network: nn.Module
    fixed_batch: int | None
    """The one batch size it takes, where the export fixed it."""
    notices: tuple[str, ...]


def read_exported(path: Path, extra: dict[str, Any], *, trust: bool = False) -> Program:
    """The network; `extra` is filled with the archive's extra files.

    Raises ModelError when it cannot be read, with reason `unsafe-checkpoint` when it would run more than a network;
    `trust` leaves those checks out.
    """
    data = path.read_bytes()
    if not trust:
        check_archive(data, path)
    try:
        with warnings.catch_warnings(), _weights_only(not trust):
            warnings.simplefilter("ignore")  # of formats that are deprecated; people still have the files
            program = torch.export.load(io.BytesIO(data), extra_files=extra)
            return Program(program.module(), _fixed_batch(program), _train_mode(program, path))
    except pickle.UnpicklingError as error:
        raise _unsafe(path, "pickled objects that are no tensors") from error
    except Exception as error:  # torch.export raises bare exceptions of many kinds for a bad archive
        raise ModelError(
            f"{path}: not a loadable .pt2 file ({first_line(error)}); one written by another version of torch is exported "
            "again with this one"
        ) from error


def check_archive(data: bytes, path: Path) -> None:
    """ModelError with reason `unsafe-checkpoint` when an archive asks for more than a network's operations."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path}: not a loadable .pt2 file ({error}); it may have been cut off") from error
    if len(set(names)) != len(names):
        raise _unsafe(path, "two entries of one name")
    for name in names:
        if "data/aotinductor/" in name or name.endswith((".so", ".dll", ".dylib", ".cubin")):
            raise _unsafe(path, f"compiled machine code, {name}")
        if name.endswith(".json") and "/extra/" not in name and not name.startswith("extra"):
            try:
                content = json.loads(archive.read(name))
            except (ValueError, zipfile.BadZipFile) as error:
                raise ModelError(f"{path}: not a loadable .pt2 file ({name}: {first_line(error)})") from error
            for problem in _problems(content):
                raise _unsafe(path, problem)


def _problems(value: Any, key: str = "") -> Iterator[str]:
    """What in an archive's JSON would make torch run something else than operations on tensors."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _problems(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _problems(inner, key)
    elif isinstance(value, str):
        if key == "target" and not _TARGET.fullmatch(value):
            yield f"the function {value[:80]!r}"
        elif key == "path_name" and value.startswith(("custom_obj_", "opaque_obj_")):
            yield "a pickled custom object"
        elif key in _NAMED and not _NAME.fullmatch(value):
            yield f"the name {value[:80]!r}"
        elif key in ("expr_str", "guards_code") and not _is_arithmetic(value):
            yield f"the condition {value[:80]!r}"
        elif key in ("in_spec", "out_spec") and value:
            yield from (
                f"a container of type {kind!r}" for kind in _types(json.loads(value)) if kind not in _CONTAINERS
            )


def _types(spec: Any) -> Iterator[Any]:
    if isinstance(spec, dict):
        yield spec.get("type")
        yield from _types(spec.get("children_spec", []))
    elif isinstance(spec, list):
        for inner in spec:
            yield from _types(inner)


def _is_arithmetic(text: str) -> bool:
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _EXPRESSION):
            return False
        if isinstance(node, ast.Name) and node.id not in _SYMBOLIC and not _SYMBOL.fullmatch(node.id):
            return False
        if isinstance(node, ast.Attribute) and not _METHODS.fullmatch(node.attr):
            return False
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id not in _SYMBOLIC:
            return False
        if called is not None and not isinstance(called, (ast.Name, ast.Attribute)):
            return False
    return True


@contextmanager
def _weights_only(wanted: bool) -> Iterator[None]:
    """torch.export.load falls back to full unpickling; this is torch's own switch against it."""
    if not wanted:
        yield
        return
    switches = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
    before = {name: os.environ.get(name) for name in switches}
    os.environ.update(switches)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _fixed_batch(program: Any) -> int | None:
    """The first size of the input where the export fixed it, which it does unless told that it varies."""
    inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            shape: list[Any] = list(getattr(node.meta.get("val"), "shape", ()))
            return shape[0] if shape and isinstance(shape[0], int) else None
    return None


def _train_mode(program: Any, path: Path) -> tuple[str, ...]:
    """A notice when dropout or batch statistics of training are in the graph: a program cannot be put into eval mode."""
    switches = {torch.ops.aten.dropout.default: 2, torch.ops.aten.batch_norm.default: 5}
    for node in program.graph.nodes:
        place = switches.get(node.target)
        if place is not None and len(node.args) > place and node.args[place] is True:
            layer = node.target.__name__.partition(".")[0]
            return (
                f"{path.name} was exported in train mode: its {layer} behaves as in training, and scores depend on chance "
                "or on the batch. Export it again after model.eval().",
            )
    return ()


def _unsafe(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path}: not loaded, nothing in it was run: it asks for {what}, which a network does not need and which could run "
        "code from the file. If you trust whoever made the file as you would trust a program of theirs: --trust-pickle",
        reason=UNSAFE,
    )
