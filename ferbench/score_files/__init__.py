"""Predictions of other tools. One file per format; a new one is a file and a row in `FORMATS`.

A format module has

    TITLE                              what it is, in a line
    recognises(peek: Peek) -> bool     whether a place looks like it; the first row of the table that says so reads it
    read(path, options) -> ScoreRows   or, where several files are one run, read_all(paths, options) -> ScoreRows

It turns one file into `ScoreRows`, names the line of what does not fit, and joins nothing: `assembling` does that by name,
never by order.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ferbench.errors import PredictionsError, UsageError
from ferbench.score_files.assembling import Expected, assemble, expected_of_manifest, expected_of_rows
from ferbench.score_files.options import ScoreFileOptions, parse_classes, parse_columns
from ferbench.score_files.peek import look_at
from ferbench.score_files.rows import ScoreRows, joined_rows

FORMATS: dict[str, str] = {
    "parquet": "ferbench.score_files.foreign_parquet",
    "npz": "ferbench.score_files.arrays",
    "mae-dfer": "ferbench.score_files.mae_dfer",
    "abaw-list": "ferbench.score_files.abaw_list",
    "abaw-frames": "ferbench.score_files.abaw_frames",
    "delimited": "ferbench.score_files.delimited",
}
"""Name -> module, in the order they are asked."""

__all__ = [
    "FORMATS",
    "Expected",
    "ScoreFileOptions",
    "ScoreRows",
    "assemble",
    "expected_of_manifest",
    "expected_of_rows",
    "format_of",
    "parse_classes",
    "parse_columns",
    "read_score_files",
]


def format_of(path: Path, options: ScoreFileOptions) -> str:
    """The format asked for, or the one it looks like; UsageError for an unknown name, PredictionsError for no format."""
    if options.format:
        if options.format not in FORMATS:
            raise UsageError(f"unknown format {options.format!r}; known: {', '.join(FORMATS)}")
        return options.format
    peek = look_at(path)
    for name in FORMATS:
        if _module(name).recognises(peek):
            return name
    what = "a folder without text files of one format" if peek.is_folder else "no text, .npz or parquet"
    raise PredictionsError(f"{path}: {what}; predictions are one of {', '.join(FORMATS)} (--format says which)")


def read_score_files(paths: Sequence[Path], options: ScoreFileOptions) -> ScoreRows:
    """All files as one table; PredictionsError names the file and line of what cannot be read."""
    formats = {format_of(path, options): path for path in reversed(paths)}
    if len(formats) > 1:
        (one, first), (other, second) = list(formats.items())[:2]
        raise PredictionsError(f"{first} is {one} and {second} is {other}; score them one by one")
    module = _module(next(iter(formats)))
    if hasattr(module, "read_all") and not options.files_are_folds:
        rows: ScoreRows = module.read_all(list(paths), options)
        return rows
    if hasattr(module, "read_all"):
        parts = [module.read_all([path], options) for path in paths]
    else:
        parts = [module.read(path, options) for path in paths]
    if len(parts) == 1 and not options.files_are_folds:
        return parts[0]  # type: ignore[no-any-return]
    place = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return joined_rows(parts, place=place, files_are_folds=options.files_are_folds)


def _module(name: str) -> ModuleType:
    return importlib.import_module(FORMATS[name])
