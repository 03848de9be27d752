"""The journal of an unfinished job: one line per outcome, appended; the last line of a sample counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ferbench.errors import DataError
from ferbench.jobs.align.outcome import Outcome
from ferbench.storage import storage_errors, write_atomically


class Journal:
    """A text file. Its first line is the recipe id, each further one an `Outcome`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}
        self._file: IO[bytes] | None = None

    def exists(self) -> bool:
        """Whether a job was begun and not finished."""
        return self.path.exists()

    def create(self, recipe_id: str, outcomes: Iterable[Outcome]) -> None:
        """Begin with what is already known."""

        def write(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.write(f"{recipe_id}\n")
                file.writelines(outcome.as_line() for outcome in outcomes)

        write_atomically(self.path, write)

    def read(self) -> tuple[str, dict[str, Outcome]]:
        """The recipe id and the outcomes without their rows. A line that a kill tore is not there."""
        outcomes: dict[str, Outcome] = {}
        self._offsets = {}
        recipe_id, position = "", 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if position == 0:
                    recipe_id = line.decode().strip()
                else:
                    outcome = Outcome.from_line(line.decode(), with_rows=False)
                    outcomes[outcome.sample_id] = outcome
                    self._offsets[outcome.sample_id] = position
                position += len(line)
        return recipe_id, outcomes

    def open(self) -> None:
        """Go on writing after the last whole line."""
        self.read()
        with storage_errors(self.path, "opening the journal"):
            whole = self._whole_bytes()
            self._file = self.path.open("r+b")
            self._file.truncate(whole)
            self._file.seek(whole)

    def _whole_bytes(self) -> int:
        with self.path.open("rb") as file:
            return sum(len(line) for line in file if line.endswith(b"\n"))

    def record(self, outcome: Outcome) -> None:
        """Add one outcome. It is with the operating system when this returns, so killing the process loses nothing."""
        assert self._file is not None
        with storage_errors(self.path, "recording a sample"):
            position = self._file.tell()
            self._file.write(outcome.as_line().encode())
            self._file.flush()
        self._offsets[outcome.sample_id] = position

    def outcomes(self, sample_ids: Iterable[str]) -> Iterator[Outcome]:
        """Whole outcomes in the order asked for, read one at a time."""
        with self.path.open("rb") as file:
            for sample_id in sample_ids:
                file.seek(self._offsets[sample_id])
                outcome = Outcome.from_line(file.readline().decode())
                if outcome.sample_id != sample_id:
                    raise DataError(f"{self.path}: damaged, it has {outcome.sample_id!r} in place of {sample_id!r}")
                yield outcome

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
