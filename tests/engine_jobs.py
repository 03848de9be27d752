"""A job for the tests of engines, in a module that worker processes can import."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ferbench.errors import MediaError, MissingExtraError


class Deeds:
    """Does what a task says, and notes in a folder that it did."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def handle(self, task: tuple[str, float]) -> float:
        kind, number = task
        with (self._folder / f"{kind}-{number}").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if kind == "fail":
            raise MediaError("minus one", reason="negative")
        if kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            ctypes.PyDLL(None).sleep(60)  # in C, with the interpreter's lock held: nothing in the process can end it
        if kind == "sleep":
            time.sleep(number)
        if kind == "late":  # the second try is quick
            time.sleep(60 if len((self._folder / f"{kind}-{number}").read_text().split()) == 1 else 0)
        return number * number

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class DeedsJob:
    folder: str

    def open(self) -> Deeds:
        return Deeds(self.folder)


@dataclass(frozen=True)
class HomelessJob:
    def open(self) -> Deeds:
        raise MissingExtraError("pip install 'ferbench[somewhere]'")


@dataclass(frozen=True)
class DeadOnArrivalJob:
    def open(self) -> Deeds:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError
