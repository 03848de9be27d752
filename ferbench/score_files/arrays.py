"""`.npz`: arrays of one length, by the names they have in code: y_true, y_pred, logits, probs, paths, labels, classes.

    np.savez("fold1.npz", y_true=…, logits=…, paths=np.array(paths))

The DFEW baseline's `<model>_fold1_epo…_UAR…_WAR….npz` holds `pres_te` and `trues_te`, both (N, 1) and without paths: it can
be scored, but not joined to a manifest, because the order of samples is no identity.

Source: jiangxingxun/DFEW DataParallel/libs/Performer.py.
"""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from ferbench.errors import PredictionsError
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.peek import Peek
from ferbench.score_files.rows import ScoreRows
from ferbench.score_files.table import rows_of_table

TITLE = "NumPy .npz with one array per column"
CLASS_KEYS = ("classes", "class_names", "label_names")


def recognises(peek: Peek) -> bool:
    """By its suffix."""
    return peek.suffix == ".npz"


def read(path: Path, options: ScoreFileOptions) -> ScoreRows:
    """Read one file, never unpickling; PredictionsError names the array that does not fit."""
    arrays = _arrays(path)
    classes: tuple[str, ...] = ()
    for key in CLASS_KEYS:
        if key in arrays and arrays[key].ndim == 1 and arrays[key].dtype.kind == "U":
            classes = tuple(map(str, arrays.pop(key).tolist()))
    scalars = [name for name, array in arrays.items() if array.ndim == 0]
    columns = {name: _column(path, name, array) for name, array in arrays.items() if name not in scalars}
    if not columns:
        raise PredictionsError(f"{path}: no array of samples is in it; found {', '.join(arrays) or 'nothing'}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise PredictionsError(f"{path}: its arrays have different lengths: {said}; one row per sample is needed")
    rows = rows_of_table(
        pa.table(columns), options, place=str(path), where=lambda row: f"{path}, row {row}", kind="npz"
    )
    return dataclasses.replace(rows, classes=classes) if classes and not rows.classes else rows


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise PredictionsError(f"{path}: a single array; save several with np.savez, by their names")
            arrays: dict[str, np.ndarray] = {}
            for name in file.files:
                try:
                    arrays[name] = file[name]
                except ValueError as error:
                    if "allow_pickle" not in str(error):
                        raise
                    raise PredictionsError(
                        f"{path}: array {name!r} holds Python objects, which are not loaded because they can run code; "
                        f"save it as np.array({name}, dtype=str) or as numbers"
                    ) from error
            return arrays
    except PredictionsError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, MemoryError) as error:
        raise PredictionsError(
            f"{path}: not a readable .npz file ({str(error)[:200] or type(error).__name__})"
        ) from error


def _column(path: Path, name: str, array: np.ndarray) -> pa.Array:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "iufUb" or array.ndim > 2 or (array.ndim == 2 and array.dtype.kind == "U"):
        raise PredictionsError(
            f"{path}: array {name!r} of {array.dtype} and shape {array.shape}; numbers or text of shape (N,) or "
            "(N, classes) are needed"
        )
    if array.ndim == 1:
        return pa.array(array.tolist() if array.dtype.kind == "U" else np.ascontiguousarray(array))
    flat = pa.array(np.ascontiguousarray(array, np.float64).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, array.shape[1]) if array.shape[1] else pa.nulls(len(array))
