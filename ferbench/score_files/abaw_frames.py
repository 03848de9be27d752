"""The ABAW submission, one `<video>.txt` per video: a line of class names, then an integer per frame.

    Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise
    0
    4

Line k after the names is frame k, from 1, so sample ids are `<video>/00001`, as those of the indexed dataset; the two
people of a video are `<video>_left` and `<video>_right`, names of their own. -1 is no class. The official annotations
are the same grammar, and are read by it as the truth.

Sources: Kollias et al., the ABAW competitions' pages and papers (CVPRW 2022 to 2024); xinqi-fan/ABAW2021
data/custom_dataset.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferbench.datasets.frame_labels import NOT_A_NUMBER, five_digits, read_frame_labels
from ferbench.errors import DataError, PredictionsError
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.peek import Peek
from ferbench.score_files.rows import ClassColumn, ScoreRows, joined_rows
from ferbench.textfiles import whole_number

TITLE = "ABAW submission or annotation: a text file per video, an integer per frame"
NO_CLASS = -1


def recognises(peek: Peek) -> bool:
    """Lines of one whole number, after a line of names or not."""
    if not peek.lines or (not peek.is_folder and peek.suffix != ".txt"):
        return False
    body = peek.lines if whole_number(peek.lines[0]) is not None else peek.lines[1:]
    return bool(body) and all(whole_number(line) is not None for line in body)


def read(path: Path, options: ScoreFileOptions) -> ScoreRows:
    """A file, or the files of a folder; PredictionsError with file and line for a line that is no whole number."""
    if not path.is_dir():
        return _read_video(path, options)
    files = sorted(file for file in path.glob("*.txt") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise PredictionsError(f"{path}: no text file is in it")
    return joined_rows([_read_video(file, options) for file in files], place=str(path), files_are_folds=False)


def _read_video(path: Path, options: ScoreFileOptions) -> ScoreRows:
    try:
        labels = read_frame_labels(path)
    except DataError as error:
        raise PredictionsError(error.message, reason=error.reason) from error
    if labels.odd:
        index, text = next(iter(labels.odd.items()))
        raise PredictionsError(
            f"{path}:{labels.line_of(index)}: expected one whole number per frame, -1 for no class; got {text[:80]!r}"
        )
    values = labels.values.astype(np.int64)
    if (values == NOT_A_NUMBER).any() or not len(values):
        raise PredictionsError(f"{path}: no line of a whole number is in it")
    digits = five_digits(np.arange(1, len(values) + 1, dtype=np.int32))
    header = tuple(labels.header) if labels.header and len(labels.header) > 1 else ()
    if header and len(set(header)) < len(header):
        raise PredictionsError(
            f"{path}:{labels.first_line - 1}: a class name occurs twice in {','.join(header)[:120]!r}"
        )
    return ScoreRows(
        place=str(path),
        count=len(values),
        where=lambda row: f"{path}:{labels.line_of(row)}",
        names=pc.binary_join_element_wise(pa.scalar(path.stem), digits, "/"),
        classes=header,
        predicted=ClassColumn(numbers=values),
        ignored=frozenset({NO_CLASS}),
        facts={"format": "abaw-frames"},
    )
