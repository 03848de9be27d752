"""The ABAW submission of later editions, one file for all videos: more names in the first line than fields below it.

    image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other
    video1/00001.jpg,0
    video1/00002.jpg,7

The names after the first are the classes that the integer counts. -1 is no class.

Source: the submission instructions of the fourth to eighth ABAW competition, as their participants' code writes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ferbench.errors import DataError, PredictionsError
from ferbench.score_files.abaw_frames import NO_CLASS
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.peek import Peek
from ferbench.score_files.rows import ClassColumn, ScoreRows
from ferbench.textfiles import csv_rows, whole_number

TITLE = "ABAW submission in one file: image_location,CLASS,CLASS,… and an integer per frame"


def recognises(peek: Peek) -> bool:
    """A first line of three names or more, and two fields below it."""
    if peek.is_folder or len(peek.lines) < 2:
        return False
    return len(peek.lines[0].split(",")) > 2 and all(
        len(line.rstrip(", \t").split(",")) == 2 for line in peek.lines[1:]
    )


def read(path: Path, options: ScoreFileOptions) -> ScoreRows:
    """Read one file; PredictionsError with file and line for a line that is not `image,integer`."""
    names: list[str] = []
    numbers: list[int] = []
    lines: list[int] = []
    try:
        rows = csv_rows(path)
        _, header = next(rows, (1, []))
        for line, row in rows:
            fields = [field.strip() for field in row]
            while len(fields) > 2 and not fields[-1]:
                fields.pop()
            number = whole_number(fields[1]) if len(fields) == 2 else None
            if number is None or not fields[0]:
                raise PredictionsError(f"{path}:{line}: expected 'video/00001.jpg,0', got {','.join(row)[:80]!r}")
            names.append(fields[0])
            numbers.append(number)
            lines.append(line)
        return ScoreRows(
            place=str(path),
            count=len(names),
            where=lambda row: f"{path}:{lines[row]}",
            names=pa.array(names, pa.string()),
            classes=tuple(name.strip() for name in header[1:] if name.strip()),
            predicted=ClassColumn(numbers=np.array(numbers, np.int64)),
            ignored=frozenset({NO_CLASS}),
            facts={"format": "abaw-list"},
        )
    except PredictionsError:
        raise
    except DataError as error:
        raise PredictionsError(error.message, reason=error.reason) from error
    except UnicodeEncodeError as error:
        raise PredictionsError(f"{path}: a name is no valid text ({error})") from error
