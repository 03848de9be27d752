"""A parquet table that is not one of ferbench's: the same columns as a CSV, or lists of logits."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ferbench.errors import PredictionsError
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.peek import Peek
from ferbench.score_files.rows import ScoreRows
from ferbench.score_files.table import rows_of_table

TITLE = "parquet table with one sample a row"


def recognises(peek: Peek) -> bool:
    """By its suffix."""
    return peek.suffix == ".parquet"


def read(path: Path, options: ScoreFileOptions) -> ScoreRows:
    """Read one file; PredictionsError for what does not fit."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise PredictionsError(f"{path}: not a readable parquet file ({str(error).splitlines()[0][:200]})") from error
    return rows_of_table(table, options, place=str(path), where=lambda row: f"{path}, row {row + 1}", kind="parquet")
