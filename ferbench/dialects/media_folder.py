"""Folders of media that an export makes: file names from sample ids, and a record of what was put there.

Other exports own the names of their list files; pictures in `train/happy/` could be anybody's. So an export of media keeps
the names it placed in a hidden file, removes those and only those when it is repeated, and overwrites nothing else.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from ferbench.dialects.lists import parts_of
from ferbench.errors import ManifestError, StorageError
from ferbench.manifest import Manifest, Sample
from ferbench.storage import remove

RECORD = ".ferbench-media.json"
"""Names that an export placed in its folder. Hidden, so that no reader of media takes it for one."""

LONGEST_NAME = 255
"""Bytes of a file name on the usual file systems."""


def stems(manifest: Manifest, dialect: str) -> dict[str, str]:
    """Sample id -> file name without suffix: the id with `__` for every `/`.

    Ids and not the sources' own names: two sources may both be called `frame.jpg`. ManifestError for an id that no file can
    have as its name, and for two that become the same name, in capitals or not (some file systems do not tell them apart).
    """
    found: dict[str, str] = {}
    owners: dict[str, str] = {}
    for sample_id in manifest.column("sample_id"):
        stem = sample_id.replace("/", "__")
        rule = unusable_name(stem)
        if rule:
            raise ManifestError(f"sample {sample_id!r}: the {dialect} dialect names files by sample id, and it {rule}")
        owner = owners.setdefault(stem.casefold(), sample_id)
        if owner != sample_id:
            raise ManifestError(f"samples {owner!r} and {sample_id!r} would share the file name {stem!r}; rename one")
        found[sample_id] = stem
    return found


def unusable_name(name: str) -> str | None:
    """Why a text cannot be the name of a file or folder that every tool sees, or None."""
    if not name:
        return "is empty"
    if "/" in name or "\\" in name:
        return "has a slash or backslash"
    if name.startswith("."):
        return "begins with a dot, which hides the file"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "has a control character"
    if len(name.encode()) > LONGEST_NAME - 8:
        return "is too long for a file name"
    return None


def source_of(manifest: Manifest, sample: Sample) -> Path:
    """The sample's file, or folder of frames; ManifestError when it is not there, which a link would not tell."""
    path = manifest.path_of(sample)
    if not (path.is_dir() if sample.media == "frames" else path.is_file()):
        raise ManifestError(
            f"sample {sample.sample_id!r}: {path} is not there; `ferbench check` lists what is missing, --root says where "
            "the media are",
            reason="missing-file",
        )
    return path


def media_name(sample: Sample, stem: str) -> str:
    """The name a sample's media get: a folder for frames, else a file with the source's suffix."""
    return stem if sample.media == "frames" else stem + os.path.splitext(sample.path)[1]


def groups_of(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """(`fold_1`, `fold_2`, … or `train`, `validation`, `test`, its rows), every sample in one of them.

    A fold's rows are those tested in it; samples in no fold or no part are in none.
    """
    for fold, part, rows in parts_of(manifest):
        if fold is None:
            yield part, rows
        elif part == "test":
            yield f"fold_{fold}", rows


def record_of(names: Iterable[str], *, empty: Collection[str] = ()) -> Callable[[Path], None]:
    """Content of RECORD. It comes first in a dialect's mapping, so that it is done before anything is placed:

    names that an earlier export recorded and this one does not have are removed, with the folders that become empty; a
    name that exists and is not recorded is a StorageError. `empty` are folders to be made though nothing lies in them.
    """
    placed = list(names)

    def write(temporary: Path) -> None:
        folder = temporary.parent
        earlier = _recorded(folder / RECORD)
        for name in placed:
            if name not in earlier and os.path.lexists(folder / name):
                raise StorageError(
                    f"{folder / name}: is in the way and was put there by no export; choose another folder with -o",
                    reason="in-the-way",
                )
        for name in sorted(earlier.difference(placed)):
            remove(folder / name)
            _remove_empty(folder, name)
        for name in empty:
            (folder / name).mkdir(parents=True, exist_ok=True)
        temporary.write_text(
            json.dumps(sorted([*placed, *empty]), ensure_ascii=False, indent=0) + "\n", encoding="utf-8"
        )

    return write


def _recorded(path: Path) -> set[str]:
    try:
        names = json.loads(path.read_bytes())
    except FileNotFoundError:
        return set()
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) and _inside(name) for name in names):
        raise StorageError(
            f"{path}: is not the record of an export; choose another folder with -o", reason="in-the-way"
        )
    return set(names)


def _inside(name: str) -> bool:
    return bool(name) and not name.startswith("/") and not {"..", ".", ""} & set(name.split("/"))


def _remove_empty(folder: Path, name: str) -> None:
    for parent in (folder / name).parents:
        if parent == folder or not parent.is_dir() or any(parent.iterdir()):
            return
        parent.rmdir()
