"""Checkpoint files: what kind a file is, and its content without running anything in it.

torch files are pickles, and a pickle can call any function. Here they are opened with torch's weights-only reader, which
knows tensors and containers, and with a few more types that hold values and no code, because training scripts put them
beside the weights: the parsed command line, paths, NumPy numbers, dates.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import pickle
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ferbench import remote
from ferbench.errors import ModelError, UsageError

UNSAFE = "unsafe-checkpoint"
"""Reason of the ModelError for a file that would have to run code to be loaded."""

FOREIGN = {
    ".h5": "Keras", ".hdf5": "Keras", ".keras": "Keras", ".pb": "TensorFlow", ".tflite": "TensorFlow Lite",
    ".caffemodel": "Caffe", ".prototxt": "Caffe", ".mat": "MatConvNet", ".params": "MXNet", ".pdparams": "Paddle",
    ".mlmodel": "Core ML", ".engine": "TensorRT", ".trt": "TensorRT", ".npz": "NumPy", ".npy": "NumPy",
}  # fmt: skip
"""Formats of other frameworks, to be named rather than guessed at."""


def _harmless() -> list[Any]:
    """Types that hold values and no code, with every name that files know them by."""
    np_types = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSU"]
    core: Any = getattr(np, "_core", None) or np.core  # NumPy 1 has it under the older name
    arrays = core.multiarray
    found: list[Any] = [
        argparse.Namespace, types.SimpleNamespace, (_plain_dict, "collections.defaultdict"),
        (_plain_list, "collections.deque"), datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
        datetime.timezone,
        list, dict, tuple, set, frozenset, int, float, bool, str, bytes, complex, slice, range,
        np.ndarray, np.dtype, *np_types,
        *[(np.dtype(code).type, f"numpy.{np.dtype(code).type.__name__}") for code in "?bBhHiIlLqQefdFD"],
    ]  # fmt: skip
    for place in ("numpy.core", "numpy._core"):
        found += [(arrays.scalar, f"{place}.multiarray.scalar")]
        found += [(arrays._reconstruct, f"{place}.multiarray._reconstruct")]
    for place in ("pathlib", "pathlib._local"):
        # A path is kept as text that reaches no file system; a Windows path cannot even be made elsewhere.
        found += [(pathlib.PurePosixPath, f"{place}.{name}") for name in ("Path", "PosixPath", "PurePosixPath")]
        found += [(pathlib.PureWindowsPath, f"{place}.{name}") for name in ("WindowsPath", "PureWindowsPath")]
    return found


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """For a defaultdict, which torch's reader makes and then does not fill."""
    return collections.OrderedDict()


def _plain_list(*_: Any) -> list[Any]:
    """For a deque, likewise."""
    return []


def check_file(path: Path) -> None:
    """Raise when `path` cannot be a model: nothing there, a folder, an empty file, another framework's format."""
    remote.ensure(path)
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.is_file())
        names = f"; in it are {', '.join(inside[:8])}" if inside else "; it is empty"
        raise UsageError(f"{path} is a folder; --model takes the file of the model{names}")
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ModelError(f"{path}: the file is empty; the download or the copy was cut off")
    if path.suffix.lower() in FOREIGN:
        raise ModelError(
            f"{path}: a {FOREIGN[path.suffix.lower()]} file, which ferbench does not read; convert it to ONNX, or to a "
            "torch state dict"
        )


def zip_names(path: Path) -> list[str]:
    """Names in a zip archive; empty for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return []


def is_torchscript(path: Path) -> bool:
    """TorchScript archives hold their code's constants in `constants.pkl`; torch.save never writes that."""
    return any(name.endswith("/constants.pkl") for name in zip_names(path))


def is_exported(path: Path) -> bool:
    """torch.export's archives, whatever their name ends in."""
    return any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in zip_names(path))


def read_torch_file(path: Path, *, trust_pickle: bool = False) -> Any:
    """What torch.save wrote, tensors on the CPU.

    Without `trust_pickle` nothing in the file is executed, and a file that asks for it is a ModelError with reason
    `unsafe-checkpoint`. With it, the file is an ordinary pickle: it runs whatever code it names.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols and old storages: nothing a user could act on
            if trust_pickle:
                return torch.load(path, map_location="cpu", weights_only=False)
            with torch.serialization.safe_globals(_harmless()):
                return torch.load(path, map_location="cpu", weights_only=True)
    except (ImportError, AttributeError) as error:
        if trust_pickle:
            raise ModelError(
                f"{path}: the classes of its pickle cannot be imported ({error}); start ferbench where the training code "
                "is importable, for example with PYTHONPATH=CODE_FOLDER"
            ) from error
        raise _damaged(path, error) from error
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    except Exception as error:  # a damaged file can make the readers raise anything
        raise _damaged(path, error) from error


def _refused(path: Path, error: Exception) -> ModelError:
    found = _named_global(str(error))
    if not found and not zip_names(path) and _start(path)[:1] != b"\x80":
        return _damaged(path, error)  # no pickle of any kind
    what = f"it asks for {found}" if found else "it holds pickled Python objects"
    return ModelError(
        f"{path}: not loaded, nothing in it was run: {what}, and to load that would run code from the file. Save the state "
        "dict alone, torch.save(model.state_dict(), path), and give the network with --arch; or, if you trust whoever made "
        "the file as you would trust a program of theirs, --trust-pickle",
        reason=UNSAFE,
    )


def _named_global(message: str) -> str:
    """`os.system` from torch's long message; empty when it does not say."""
    _, found, rest = message.partition("Unsupported global: GLOBAL ")
    if not found:
        _, found, rest = message.partition("unsupported GLOBAL ")
    return rest.split(maxsplit=1)[0] if found and rest else ""


def _damaged(path: Path, error: Exception) -> ModelError:
    start = _start(path)
    if start.startswith(b"version https://git-lfs"):
        return ModelError(f"{path}: a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return ModelError(f"{path}: an HTML page, not a checkpoint; the download link led to a web page")
    return ModelError(
        f"{path}: not a readable checkpoint ({first_line(error)}); it may have been cut off in the download"
    )


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
