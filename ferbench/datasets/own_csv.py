"""A user's own CSV, without a card: `ferbench index csv clips.csv`. The grammar is that of the `csv` dialect.

    # classes: neutral, happy
    path,label,subject
    clips/a.mp4,happy,anna

A mistake in it is an error with its line, since its owner can correct it; media that are not there become failed rows.
"""

from __future__ import annotations

from pathlib import Path

from ferbench.datasets.reading import Reading
from ferbench.dialects.csv_table import read_csv_manifest
from ferbench.errors import DataError


def read_uncarded(path: Path) -> Reading:
    """Read the CSV, or the only one in a folder. Its paths are relative to its own folder.

    Raises ManifestError with file and line for what does not fit, DataError for a folder without one CSV.
    """
    if path.is_dir():
        found = sorted(path.glob("*.csv"))
        if len(found) != 1:
            names = ", ".join(each.name for each in found[:5]) or "none"
            raise DataError(f"{path}: one CSV is needed here, found {names}; name the file", reason="layout")
        (path,) = found
    manifest = read_csv_manifest(path)
    columns = {name: manifest.column(name) for name in manifest.table.column_names}
    folder = path.absolute().parent.resolve()
    if manifest.root != folder:
        if not manifest.root.is_relative_to(folder):
            raise DataError(
                f"{path}: its `# root:` {manifest.root} is outside its folder; it is a manifest already, so use it as it "
                f"is, or make it parquet with `ferbench import {path.name} --dialect csv`",
                reason="layout",
            )
        inside = manifest.root.relative_to(folder).as_posix()
        columns["path"] = [f"{inside}/{each}" for each in columns["path"]]
    given = [name for name in manifest.table.column_names if manifest.has_values(name)]
    return Reading(
        columns={
            name: columns[name] for name in columns if name in given or name in ("sample_id", "path", "media", "label")
        },
        labels=manifest.labels,
        layout=f"own CSV {path.name}, columns {', '.join(given)}",
        rows_read=len(manifest),
        facts={"layout": "csv"},
    )
