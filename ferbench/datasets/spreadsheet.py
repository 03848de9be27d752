"""Rows of an .xlsx file as text, through openpyxl, which is an optional dependency."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path

from ferbench.errors import DataError, MissingExtraError


def xlsx_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells as text) of the first sheet, without blank rows; whole numbers without `.0`.

    MissingExtraError where openpyxl is not installed; DataError for a file that it cannot read.
    """
    if importlib.util.find_spec("openpyxl") is None:
        raise MissingExtraError(
            f"{path.name} needs openpyxl: pip install 'ferbench[excel]'; or save the sheet as CSV beside it"
        )
    openpyxl = importlib.import_module("openpyxl")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations that no label depends on
            sheet = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
            for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
                row = [cell_text(cell) for cell in cells]
                if any(row):
                    yield number, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", reason="unreadable") from error
    except Exception as error:  # openpyxl lets errors of zip, XML and its own parsing through
        raise DataError(f"{path}: cannot be read as a spreadsheet ({error!r})", reason="unreadable") from error


def cell_text(cell: object) -> str:
    """A cell as text: `2.0` is `2`, nothing is empty."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()
