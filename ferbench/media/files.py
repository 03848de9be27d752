"""Opening a media file, or saying why it cannot be opened; and its name in messages."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ferbench import remote
from ferbench.errors import MediaError, StorageError
from ferbench.media.packs import find_place, picture_bytes


@contextmanager
def open_media(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file that is not empty, or a picture in a pack, for reading bytes.

    Raises MediaError: `missing-file`, `empty-file`, or `unreadable` for every other error of the operating system in
    the block, and for what is no file: opening a pipe would wait for somebody to write to it.
    """
    name = display_name(path)
    place = find_place(path)
    if place is not None:
        yield io.BytesIO(picture_bytes(place))
        return
    remote.ensure(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{name}: not a file", reason="unreadable")
        if status.st_size == 0:
            raise MediaError(f"{name}: the file is empty", reason="empty-file")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise MediaError(f"{name}: no such file", reason="missing-file") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror or error})", reason="unreadable") from error


def fetch(path: str, media: str) -> None:
    """Have what is about to be read on this machine, where it lies in a store; see `ferbench.remote`.

    Raises MediaError `denied` where the store refuses this one, StorageError where it cannot be reached.
    """
    try:
        if find_place(path) is not None:
            return
        if media == "frames":
            remote.ensure_folder(path)
        else:
            remote.ensure(path)
    except StorageError as error:
        if error.reason == "store-denied":
            raise MediaError(error.message, reason="denied") from None
        raise


@contextmanager
def native_path(path: str) -> Iterator[str]:
    """The path as a C library can open it: a name that is not valid UTF-8 through a file descriptor."""
    try:
        path.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield path


def display_name(path: str | Path) -> str:
    """A path's last part for messages: always valid UTF-8, never the folders, which differ between machines."""
    return Path(path).name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
