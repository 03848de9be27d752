"""The manifest formats of the papers' code. One file per dialect; a new one is a file and a row in `DIALECTS`.

A dialect module has

    VARIANTS    names of repositories whose files differ in name, order or line ends; the first is the default
    FILES       a pattern of the relative names it may write, so that an older export is replaced and nothing else
    format_files(manifest, options: ExportOptions) -> Mapping[str, Content]
    read_files(place: Path, options: ImportOptions) -> Manifest

It knows its label base, order, path convention and separators, and raises ManifestError, naming the sample, for what its
grammar cannot hold. Reading is as strict: a line that does not fit is a ManifestError with file and line, never left out.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from ferbench import remote
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import Manifest, read_manifest
from ferbench.storage import remove, write_atomically, write_bytes, write_text

DIALECTS: dict[str, str] = {
    "former": "ferbench.dialects.former",
    "mae-dfer": "ferbench.dialects.mae_dfer",
    "s2d": "ferbench.dialects.s2d",
    "dfew-official": "ferbench.dialects.dfew_official",
    "ferv39k-official": "ferbench.dialects.ferv39k_official",
    "mafw": "ferbench.dialects.mafw",
    "ck-list": "ferbench.dialects.ck_list",
    "raf-list": "ferbench.dialects.raf_list",
    "imagefolder": "ferbench.dialects.imagefolder",
    "abaw-csv": "ferbench.dialects.abaw_csv",
    "abaw-sequences": "ferbench.dialects.abaw_sequences",
    "fer2013-csv": "ferbench.dialects.fer2013_csv",
    "ferplus-csv": "ferbench.dialects.ferplus_csv",
    "mmaction": "ferbench.dialects.mmaction",
    "hf": "ferbench.dialects.hf",
    "webdataset": "ferbench.dialects.webdataset",
    "csv": "ferbench.dialects.csv_table",
}
"""Name -> module."""

__all__ = [
    "DIALECTS",
    "Content",
    "ExportOptions",
    "ImportOptions",
    "check_variant",
    "dialect_module",
    "read_any_manifest",
    "write_files",
]


def dialect_module(dialect: str) -> ModuleType:
    """The module of a dialect; UsageError lists the known ones."""
    if dialect not in DIALECTS:
        raise UsageError(f"unknown dialect {dialect!r}; known: {', '.join(DIALECTS)}")
    return importlib.import_module(DIALECTS[dialect])


def check_variant(dialect: str, variant: str) -> None:
    """UsageError for a variant that the dialect does not have."""
    known = dialect_module(dialect).VARIANTS
    if variant and variant not in known:
        raise UsageError(f"dialect {dialect} has no variant {variant!r}; its variants: {', '.join(known)}")


def write_files(
    folder: Path, files: Mapping[str, Content], pattern: re.Pattern[str], *, media: str = "link"
) -> list[Path]:
    """Write a dialect's files, and remove those of an earlier export that this one does not have: two would mix.

    `media` says how a Path in `files` is put in place: `link` (symbolic), `hardlink` or `copy`.
    """
    from ferbench.dialects.placing import place

    if folder.is_dir():
        for path in sorted(folder.rglob("*"), reverse=True):
            name = path.relative_to(folder).as_posix()
            if (path.is_symlink() or path.is_file()) and pattern.fullmatch(name) and name not in files:
                remove(path)
    for name, content in files.items():
        target = folder / name
        if isinstance(content, str):
            write_text(target, content)
        elif isinstance(content, bytes):
            write_bytes(target, content)
        elif isinstance(content, Path):
            place(content, target, how=media)
        else:
            write_atomically(target, content)
    return [folder / name for name in files]


def read_any_manifest(path: Path, *, root: Path | None = None) -> Manifest:
    """Read a manifest by its suffix: `.parquet`, or a `.csv` with class names."""
    remote.ensure(path)
    if path.suffix == ".parquet":
        return read_manifest(path, root=root)
    if path.suffix == ".csv":
        from ferbench.dialects.csv_table import read_csv_manifest

        return read_csv_manifest(path, root=root)
    raise ManifestError(f"{path}: a manifest is a .parquet or .csv file")
