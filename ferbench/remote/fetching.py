"""Making the mirror say what the store says: of one file, of a folder of frames, of what a run left in its folder."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ferbench.errors import StorageError, UsageError
from ferbench.remote import cache
from ferbench.remote.cache import About
from ferbench.remote.listings import forget_listings, listing_of, remember
from ferbench.remote.places import Spot, spot_of
from ferbench.remote.stores import Facts, download, facts_of, objects_below, objects_in, read_bytes

PARTS = ".parts"
"""What is appended to `journal.jsonl` lies in `journal.jsonl.parts/` until the file is published as a whole."""
_TRIES = 3
_is_believed = False


def believe_mirror() -> None:
    """In a process whose parent fetches what it is to read: nothing is asked of a store here."""
    global _is_believed
    _is_believed = True


def ensure(path: str | Path) -> None:
    """Have a mirrored file in the cache as the store has it; nothing is done for an ordinary path.

    What the store does not have is not there afterwards either, so that opening it says so. The store is asked once per
    process and object. Raises StorageError for a store that denies it, or cannot be reached.
    """
    spot = spot_of(path)
    if spot is None or spot.is_private or _is_believed or cache.is_known(spot):
        return
    for _ in range(_TRIES):
        with cache.fetching(spot):
            if cache.is_known(spot) or cache.is_appended_to(spot) or _is_brought(spot, facts_of(spot)):
                return
    raise _too_small(spot)


def has_file(path: str | Path) -> bool:
    """Whether a file is there; of a store, it then is in the cache."""
    ensure(path)
    return os.path.isfile(path)


def ensure_folder(path: str | Path) -> None:
    """The same of the files of a folder, such as a clip's frames, which are kept and removed together: one listing of that
    folder, and a request for each file that is not there yet."""
    spot = spot_of(path)
    if spot is None or spot.is_private or _is_believed or cache.is_known(spot):
        return
    for _ in range(_TRIES):
        with cache.fetching(spot):
            if cache.is_known(spot) or _is_folder_brought(spot, objects_in(spot)):
                return
    raise _too_small(spot)


def pull(folder: str | Path, wanted: Callable[[str], bool]) -> None:
    """Have in the cache what earlier runs, on whatever machine, left in an output folder: one listing of it.

    `wanted` says of a name below it whether it is fetched; the others are remembered, so that it is known whether they are
    there. The store is right where the two differ, except about what a process of this machine is writing just now.
    Wanted files of which the store knows nothing go from the mirror.
    """
    spot = spot_of(folder)
    if spot is None:
        return
    found = objects_below(spot)
    remember(spot, found)
    parts: dict[str, list[str]] = {}
    for name in sorted(found):
        whole, mark, _ = name.rpartition(f"{PARTS}/")
        if mark:
            parts.setdefault(whole, []).append(name)
    files = {name: facts for name, facts in found.items() if wanted(name) and f"{PARTS}/" not in name}
    for below, _, names in os.walk(spot.path):
        for name in names:
            relative = os.path.relpath(os.path.join(below, name), spot.path).replace(os.sep, "/")
            inner = spot.below(relative)
            if wanted(relative) and relative not in found and not inner.is_private and not cache.is_appended_to(inner):
                _drop(inner)
    for name in sorted({*files, *(whole for whole in parts if wanted(whole))}):
        inner = spot.below(name)
        with cache.fetching(inner):
            if cache.is_appended_to(inner) or inner.is_private:
                continue
            _is_brought(inner, files.get(name))
            if name in parts:
                _join(inner, [spot.below(part) for part in parts[name]])


def pull_tree(folder: str | Path) -> None:
    """Have a whole folder in the cache. Raises UsageError for one that is larger than the cache may be."""
    spot = spot_of(folder)
    if spot is None:
        return
    size, limit = sum(facts.size for facts in objects_below(spot).values()), cache.size_limit()
    if size > limit:
        raise UsageError(
            f"{spot.url}: read as a whole, and its {size:,} bytes are more than the {limit:,} that the cache may hold; "
            "set FERBENCH_CACHE_SIZE higher, or copy it to this machine"
        )
    pull(folder, lambda _: True)
    forget_listings()


def list_folder(folder: str | Path) -> None:
    """Remember what lies below a mirrored folder: one listing, after which nobody asks about each file."""
    spot = spot_of(folder)
    if spot is not None and listing_of(spot) is None:
        remember(spot, objects_below(spot))


def list_samples(root: Path, paths: Sequence[str]) -> None:
    """The same of the folder that all these paths below a root have in common, where they are many."""
    if spot_of(root) is None or len(paths) < 2:
        return
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    list_folder(root / common)


def _is_brought(spot: Spot, facts: Facts | None) -> bool:
    """Fetch one object unless the mirror has this version; False when it was removed again at once."""
    if facts is None:
        _drop(spot)
        return True
    if facts.is_folder:
        return True
    about = cache.read(spot)
    path = Path(spot.path)
    if about is None or not _is_same(path, about.version, facts):
        cache.forget(spot)
        _fetch(spot, [(spot, facts)])
    return cache.write(spot, About(spot.path, facts.size, facts.version))


def _is_folder_brought(spot: Spot, found: dict[str, Facts]) -> bool:
    if not found:
        _drop(spot)
        return True
    about = cache.read(spot)
    known = about.names if about is not None and about.names is not None else {}
    folder = Path(spot.path)
    missing = [
        (spot.below(name), facts)
        for name, facts in found.items()
        if not _is_same(folder / name, known.get(name), facts)
    ]
    _fetch(spot, missing)
    for name in known.keys() - found.keys():
        (folder / name).unlink(missing_ok=True)
    # Files that nobody fetched: of another writer's folder, which the store has replaced.
    for entry in list(os.scandir(folder)):
        if entry.is_file() and entry.name not in found and not spot.below(entry.name).is_private:
            os.unlink(entry.path)
    size = sum(facts.size for facts in found.values())
    return cache.write(spot, About(spot.path, size, names={name: facts.version for name, facts in found.items()}))


def _is_same(path: Path, version: str | None, facts: Facts) -> bool:
    """Whether a file of the mirror, recorded as `version`, is what the store has. What was written here has no version: it
    is compared by its MD5, which is what S3 calls an object that was put in one piece."""
    if version is None or not path.is_file() or path.stat().st_size != facts.size:
        return False
    if version:
        return version == facts.version
    name = facts.version.strip('"')
    return len(name) == 32 and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == name


def _fetch(spot: Spot, wanted: Sequence[tuple[Spot, Facts]]) -> None:
    """Download beside their places, then rename: a file in the mirror is always whole."""
    pairs = [(each, f"{os.path.dirname(each.path)}/.ferbench-tmp-{secrets.token_hex(8)}") for each, _ in wanted]
    try:
        for folder in {os.path.dirname(path) for _, path in pairs}:
            os.makedirs(folder, exist_ok=True)
        with suppress(FileNotFoundError):  # gone since it was listed
            download(pairs)
        for (each, facts), (_, temporary) in zip(wanted, pairs, strict=True):
            if os.path.exists(temporary):
                os.utime(temporary, (facts.modified, facts.modified))
                os.replace(temporary, each.path)
    except OSError as error:
        raise StorageError(
            f"{spot.url}: it cannot be kept in the cache, {spot.cache} ({error.strerror or error}); "
            "set FERBENCH_CACHE to a folder with room"
        ) from error
    finally:
        for _, temporary in pairs:
            with suppress(OSError):
                os.unlink(temporary)


def _join(spot: Spot, parts: Sequence[Spot]) -> None:
    """Append the parts that go on where the file ends; each is named after its place."""
    path = Path(spot.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for part in sorted(parts, key=lambda each: each.key):
            offset = part.key.rpartition("/")[2]
            if offset.isdecimal() and int(offset) == file.tell():
                file.write(read_bytes(part))
    cache.forget(spot)  # it is no object of the store any more, so it is neither compared nor removed


def _drop(spot: Spot) -> None:
    """What the store does not have goes from the mirror."""
    cache.forget(spot)
    path = Path(spot.path)
    with suppress(OSError):
        if path.is_file():
            path.unlink()


def _too_small(spot: Spot) -> StorageError:
    return StorageError(
        f"{spot.url}: it is removed from the cache as soon as it is fetched; set FERBENCH_CACHE_SIZE higher"
    )
