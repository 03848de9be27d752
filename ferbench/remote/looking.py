"""Whether something is there, how large and how old: of ordinary paths from the disk, of mirrored ones from the store.

Nothing is fetched for it. What a listing of this process covers is answered from that.
"""

from __future__ import annotations

import os
from pathlib import Path

from ferbench.remote import cache
from ferbench.remote.listings import listing_of
from ferbench.remote.places import Spot, spot_of
from ferbench.remote.stores import Facts, facts_of, objects_below, objects_in


def look(path: str | Path) -> Facts | None:
    """What is at a path; None when nothing is. Raises StorageError for a store that denies it."""
    spot = spot_of(path)
    if spot is None:
        return _on_disk(path)
    covering = listing_of(spot)
    if covering is not None:
        return covering[0].facts(covering[1])
    if spot.is_private or cache.is_known(spot):
        return _on_disk(path)
    return facts_of(spot)


def exists(path: str | Path) -> bool:
    """Whether a file or folder is there."""
    return look(path) is not None


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there."""
    found = look(path)
    return found is not None and found.is_folder


def files_in(folder: str | Path) -> dict[str, Facts]:
    """The files of a folder, not those in folders below it; {} when there is none."""
    spot = spot_of(folder)
    if spot is None:
        try:
            with os.scandir(folder) as entries:
                return {entry.name: _facts(entry.stat()) for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return {}
    covering = listing_of(spot)
    if covering is not None:
        listing, name = covering
        return {base: facts for base, facts in listing.children(name).items() if facts is not None}
    return objects_in(spot)


def names_in(folder: str | Path) -> set[str]:
    """Names of the files and folders in a folder; empty when there is none."""
    spot = spot_of(folder)
    if spot is None:
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()
    covering = listing_of(spot)
    if covering is not None:
        listing, name = covering
        return set(listing.children(name))
    return {name.partition("/")[0] for name in objects_below(spot)}


def modified(path: str | Path) -> float | None:
    """When a file or folder was changed last, in seconds since 1970; None when nothing is there.

    Of a folder in a store, when the newest file in it was.
    """
    found = look(path)
    if found is not None and found.is_folder and spot_of(path) is not None:
        return max((facts.modified for facts in files_in(path).values()), default=0.0)
    return found.modified if found else None


def folders_below(root: Spot) -> list[tuple[str, list[str]]]:
    """(name relative to the root, file names) of the root, "", and every folder below it, from its listing."""
    covering = listing_of(root)
    assert covering is not None, "list_folder comes first"
    listing, start = covering
    found: list[tuple[str, list[str]]] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        place = "/".join(filter(None, (start, folder)))
        children = listing.children(place)
        found.append((folder, [name for name, facts in children.items() if facts is not None]))
        inner = [name for name in children if listing.children(f"{place}/{name}" if place else name)]
        waiting += [f"{folder}/{name}" if folder else name for name in inner]
    return found


def _on_disk(path: str | Path) -> Facts | None:
    try:
        return _facts(os.stat(path), is_folder=os.path.isdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _facts(status: os.stat_result, *, is_folder: bool = False) -> Facts:
    return Facts(status.st_size, status.st_mtime, "", is_folder)
