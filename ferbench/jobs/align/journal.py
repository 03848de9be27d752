"""The journal of an unfinished job: one line per outcome, appended; the last line of a sample counts.

A run writes one file and reads all that lie beside it: those of the other shards, and of earlier runs that were divided
differently. Where a sample is in several, its latest attempt counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ferbench.errors import DataError
from ferbench.jobs.align.outcome import Outcome
from ferbench.storage import storage_errors, write_atomically

PATTERN = "journal*.jsonl"
"""Files of one folder that belong together."""
_MOST_OPEN = 256
"""Files read at once; systems give a process 1,024 or more."""


class Journal:
    """Text files. The first line of each is the recipe id, each further one an `Outcome`."""

    def __init__(self, path: Path) -> None:
        """`path` is the file that this run writes."""
        self.path = path
        self._places: dict[str, tuple[Path, int]] = {}
        """Where each sample's outcome begins."""
        self._file: IO[bytes] | None = None

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

    def read(self) -> tuple[set[str], dict[str, Outcome]]:
        """The recipe ids, one where all is well, and the outcomes without their rows, in the order of their first lines.

        A line that a kill tore is not there.
        """
        recipe_ids: set[str] = set()
        outcomes: dict[str, Outcome] = {}
        self._places = {}
        for path in self.files():
            recipe_id = ""
            for position, line in _whole_lines(path):
                if position == 0:
                    recipe_id = line.decode().strip()
                    continue
                outcome = Outcome.from_line(line.decode(), with_rows=False)
                earlier = outcomes.get(outcome.sample_id)
                is_own = earlier is None or self._places[outcome.sample_id][0] == path
                if earlier is not None and not is_own and _rank(outcome) < _rank(earlier):
                    continue
                outcomes[outcome.sample_id] = outcome
                self._places[outcome.sample_id] = path, position
            if recipe_id:
                recipe_ids.add(recipe_id)
        return recipe_ids, outcomes

    def open(self) -> None:
        """Go on writing after the last whole line."""
        self.read()
        with storage_errors(self.path, "opening the journal"):
            whole = sum(len(line) for _, line in _whole_lines(self.path))
            self._file = self.path.open("r+b")
            self._file.truncate(whole)
            self._file.seek(whole)

    def record(self, outcome: Outcome) -> None:
        """Add one outcome. It is with the operating system when this returns, so killing the process loses nothing."""
        assert self._file is not None
        with storage_errors(self.path, "recording a sample"):
            position = self._file.tell()
            self._file.write(outcome.as_line().encode())
            self._file.flush()
        self._places[outcome.sample_id] = self.path, position

    def outcomes(self, sample_ids: Iterable[str]) -> Iterator[Outcome]:
        """Whole outcomes in the order asked for, read one at a time; all must be in what was read or recorded."""
        files: dict[Path, IO[bytes]] = {}
        try:
            for sample_id in sample_ids:
                path, position = self._places[sample_id]
                if path not in files:
                    if len(files) == _MOST_OPEN:
                        files.pop(next(iter(files))).close()
                    files[path] = path.open("rb")
                files[path].seek(position)
                outcome = Outcome.from_line(files[path].readline().decode())
                if outcome.sample_id != sample_id:
                    raise DataError(f"{path}: damaged, it has {outcome.sample_id!r} in place of {sample_id!r}")
                yield outcome
        finally:
            for file in files.values():
                file.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _rank(outcome: Outcome) -> tuple[int, bool]:
    return outcome.attempt, outcome.succeeded


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(where it begins, line) of every line up to one that is torn."""
    position = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield position, line
            position += len(line)
