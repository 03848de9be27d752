"""Writing so that nothing is ever half there: temporary name, then rename. And the hashes that name contents.

A path that mirrors an object store (`ferbench.remote`) is published when it is whole, and read after it was fetched.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ferbench import remote
from ferbench.errors import StorageError

TEMPORARY_PREFIX = ".ferbench-tmp-"
"""Names with this prefix are unfinished work of a run that was stopped; writing the same file again replaces them."""
_MOST_RACES = 100
"""Times a folder is moved out of the way because others put one there in the meantime."""


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the path, what was being done and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{path}: the disk is full while {doing}; free some space and run the same command again, it continues",
                reason="disk-full",
            ) from error
        raise StorageError(f"{path}: {error.strerror or error} while {doing}") from error


def write_atomically(path: Path, write: Callable[[Path], Any], *, staging: Path | None = None) -> None:
    """Call `write(temporary)` and rename the result to `path`; on any error the temporary is removed.

    `write` may make a file or a folder. An existing folder at `path` is replaced. The temporary lies in `staging`, which
    must be on the same file system and is removed by whoever made it; by default beside `path`. With `staging` several
    processes, of several machines too, may write the same thing to the same path at once: the last one's stays.
    Raises StorageError when the disk is full or the place cannot be written.
    """
    # Named after the whole path: two files of the same name may be written at once, and any name fits.
    digest = hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    # In a staging folder nobody looks for it, so each writer has its own; beside `path` the next one replaces it.
    own = f"-{secrets.token_hex(8)}" if staging else ""
    temporary = (staging or path.parent) / f"{TEMPORARY_PREFIX}{digest}{own}"
    with storage_errors(path, "writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        _remove_here(temporary)
        try:
            write(temporary)
            remote.claim(path)
            if temporary.is_dir():
                _replace_folder(temporary, path)
            else:
                os.replace(temporary, path)
        except BaseException:
            _remove_here(temporary)
            raise
    remote.publish(path)


def _replace_folder(temporary: Path, path: Path) -> None:
    # rename() cannot replace a folder that has files in it, so the old one is moved out of the way; another process may
    # be doing the same, and then there may be one again, or none.
    aside = temporary.with_name(f"{temporary.name}-old")
    _remove_here(aside)
    for _ in range(_MOST_RACES):
        try:
            os.rename(temporary, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        with suppress(FileNotFoundError):
            os.rename(path, aside)
            _remove_here(aside)
    os.rename(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes, atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def remove(path: Path) -> None:
    """Remove a file or a whole folder, in the store too; nothing happens when there is none."""
    remote.unpublish(path)
    _remove_here(path)


def _remove_here(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    remote.ensure(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_value(value: Any) -> str:
    """Hex SHA-256 of a plain value's canonical JSON: keys sorted, no spaces."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
