"""The journal of an unfinished job: one line per outcome, appended; the last line of a sample counts.

A run writes one file and reads all that lie beside it: those of the other shards, and of earlier runs that were divided
differently. Where a sample is in several, its latest attempt counts. What is kept in memory is where each sample's line
begins; the lines themselves are read when they are asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from ferbench import remote
from ferbench.errors import DataError
from ferbench.jobs.align.outcome import Outcome
from ferbench.storage import storage_errors, write_atomically

PATTERN = "journal*.jsonl"
"""Files of one folder that belong together."""
_MOST_OPEN = 256
"""Files read at once; systems give a process 1,024 or more."""
_MOST_FILES = 1 << 20
_SAMPLE_ID = re.compile(rb'\{"sample_id":("(?:[^"\\]|\\.)*")')
"""How every line after the first begins."""


class Journal:
    """Text files. The first line of each is the recipe id, each further one an `Outcome`."""

    def __init__(self, path: Path) -> None:
        """`path` is the file that this run writes."""
        self.path = path
        self._files: list[Path] = []
        self._places: dict[str, int] = {}
        """Where each sample's line begins: the byte times `_MOST_FILES`, plus the number of the file."""
        self._sizes: dict[Path, int] = {}
        """Whole lines of each file, in bytes, when it was read."""
        self._readers: dict[int, IO[bytes]] = {}
        self._file: IO[bytes] | None = None
        self._appended = remote.Appended(path)

    def files(self) -> list[Path]:
        """Every journal of the folder, this run's last."""
        others = sorted(path for path in self.path.parent.glob(PATTERN) if path != self.path)
        return [*others, *([self.path] if self.path.exists() else [])]

    def exists(self) -> bool:
        """Whether a job was begun and not finished."""
        return bool(self.files())

    def create(self, recipe_id: str, outcomes: Iterable[Outcome]) -> None:
        """Begin with what is already known."""

        def write(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.write(f"{recipe_id}\n")
                file.writelines(outcome.as_line() for outcome in outcomes)

        write_atomically(self.path, write)

    def read(self) -> tuple[set[str], Mapping[str, Outcome]]:
        """The recipe ids, one where all is well, and the outcomes without their rows.

        A line that a kill tore is not there. DataError for a file that is no journal.
        """
        self.close_readers()
        self._files, self._places, self._sizes = self.files(), {}, {}
        recipe_ids: set[str] = set()
        for number, path in enumerate(self._files):
            self._sizes[path] = 0
            for position, line in _whole_lines(path):
                self._sizes[path] = position + len(line)
                if position == 0:
                    recipe_ids.add(line.decode().strip())
                else:
                    self._note(_sample_id(path, line), position * _MOST_FILES + number)
        return recipe_ids, _Heads(self)

    def _note(self, sample_id: str, place: int) -> None:
        earlier = self._places.get(sample_id)
        # In one file the later line is the later attempt.
        is_elsewhere = earlier is not None and earlier % _MOST_FILES != place % _MOST_FILES
        if earlier is None or not is_elsewhere or self._rank(place) >= self._rank(earlier):
            self._places[sample_id] = place

    def _rank(self, place: int) -> tuple[int, bool]:
        outcome = Outcome.from_line(self._line(place), with_rows=False)
        return outcome.attempt, outcome.succeeded

    def open(self) -> None:
        """Go on writing after the last whole line."""
        if [(path, path.stat().st_size) for path in self.files()] != list(self._sizes.items()):
            self.read()
        with storage_errors(self.path, "opening the journal"):
            whole = self._sizes[self.path]
            self._file = self.path.open("r+b")
            self._file.truncate(whole)
            self._file.seek(whole)
        self._appended.begin()

    def record(self, outcome: Outcome) -> None:
        """Add one outcome. It is with the operating system when this returns, so killing the process loses nothing."""
        assert self._file is not None
        with storage_errors(self.path, "recording a sample"):
            position = self._file.tell()
            self._file.write(outcome.as_line().encode())
            self._file.flush()
        self._appended.grown()
        self._places[outcome.sample_id] = position * _MOST_FILES + self._files.index(self.path)

    def __contains__(self, sample_id: str) -> bool:
        return sample_id in self._places

    def sample_ids(self) -> Iterator[str]:
        """Of everything that was read or recorded."""
        return iter(self._places)

    def lines(self, sample_ids: Iterable[str]) -> Iterator[str]:
        """The lines of samples that were read or recorded, in the order asked for, one at a time."""
        for sample_id in sample_ids:
            line = self._line(self._places[sample_id])
            if _sample_id(self.path, line.encode()) != sample_id:
                raise DataError(f"{self.path.parent}: damaged, {sample_id!r} is not where it was written")
            yield line

    def outcome(self, sample_id: str) -> Outcome:
        """One outcome without its rows. KeyError for a sample that is not there."""
        return Outcome.from_line(self._line(self._places[sample_id]), with_rows=False)

    def _line(self, place: int) -> str:
        position, number = divmod(place, _MOST_FILES)
        reader = self._readers.get(number)
        if reader is None:
            if len(self._readers) == _MOST_OPEN:
                self._readers.pop(next(iter(self._readers))).close()
            reader = self._readers[number] = self._files[number].open("rb")
        reader.seek(position)
        return reader.readline().decode()

    def close_readers(self) -> None:
        """Close what lines are read from; it is opened again when it is needed."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def close(self) -> None:
        """Close the files."""
        self.close_readers()
        if self._file is not None:
            self._file.close()
            self._file = None
            self._appended.close()


class _Heads(Mapping[str, Outcome]):
    """What a journal knows of each sample, read when it is asked for."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __getitem__(self, sample_id: str) -> Outcome:
        return self._journal.outcome(sample_id)

    def __contains__(self, sample_id: object) -> bool:
        return isinstance(sample_id, str) and sample_id in self._journal

    def __iter__(self) -> Iterator[str]:
        return self._journal.sample_ids()

    def __len__(self) -> int:
        return sum(1 for _ in self._journal.sample_ids())


def _sample_id(path: Path, line: bytes) -> str:
    match = _SAMPLE_ID.match(line)
    if match is None:
        raise DataError(f"{path}: damaged, a line of it is no outcome: {line[:60]!r}")
    quoted = match[1]
    return str(json.loads(quoted)) if b"\\" in quoted else quoted[1:-1].decode()


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(where it begins, line) of every line up to one that is torn."""
    position = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield position, line
            position += len(line)
