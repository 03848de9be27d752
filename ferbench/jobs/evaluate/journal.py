"""The journal of an unfinished evaluation: one line per block of samples that went through a model together.

A block is the unit because the last bits of a model's outputs may depend on what else is in the batch: a continued job
runs the same blocks as one that was never stopped, so it ends in the same bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ferbench import remote
from ferbench.storage import remove, storage_errors, write_text

NAME = ".ferbench-evaluate.jsonl"


@dataclass(slots=True)
class Outputs:
    """What came of each sample in one run, by sample_id."""

    logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """(K,) in the order of the model."""
    errors: dict[str, str] = field(default_factory=dict)
    """`reason: message`."""

    def update(self, other: Outputs) -> None:
        """Add another block's."""
        self.logits.update(other.logits)
        self.errors.update(other.errors)


@dataclass(frozen=True, slots=True)
class BlockKey:
    """Names a block: the same samples with the same media in the same run."""

    run: int
    block: int
    media: str
    """Hash of the samples and of the sizes of their files."""


class Journal:
    """A text file: the job's name, then a line per block. Without a path nothing is kept.

    `beside` are journals that other runs write: what they have of this job is known here too.
    """

    def __init__(self, path: Path | None, job: str, beside: Sequence[Path] = ()) -> None:
        self._path, self._job, self._beside = path, job, tuple(beside)
        self._known: dict[BlockKey, Outputs] = {}
        self._whole = 0
        self._file: IO[bytes] | None = None
        self._appended = remote.Appended(path) if path is not None else None

    def open(self) -> None:
        """Read what earlier runs of this job left, and other runs so far."""
        for path in self._beside:
            self._read(path)
        if self._path is not None:
            self._whole = self._read(self._path)

    def _start(self, path: Path) -> IO[bytes]:
        """Go on writing after the last whole line; with the first line where there is no journal of this job."""
        if not self._whole:
            write_text(path, json.dumps({"job": self._job}) + "\n")
            self._whole = path.stat().st_size
        file = path.open("r+b")
        file.truncate(self._whole)
        file.seek(self._whole)
        if self._appended is not None:
            self._appended.begin()
        return file

    def _read(self, path: Path) -> int:
        """Bytes of whole lines; 0 where there is no journal of this very job."""
        if not path.exists():
            return 0
        whole = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # torn by a kill
                try:
                    entry = json.loads(line)
                    if whole == 0:
                        if entry != {"job": self._job}:
                            return 0
                    else:
                        self._known[BlockKey(*entry["key"])] = _outputs(entry)
                except (ValueError, TypeError, KeyError):
                    break  # what follows a damaged line is done again
                whole += len(line)
        return whole

    def known(self, key: BlockKey) -> Outputs | None:
        """A block's outputs, where an earlier run did it and nothing in it failed that could succeed now."""
        return self._known.get(key)

    def record(self, key: BlockKey, outputs: Outputs) -> None:
        """Add a block. It is with the operating system when this returns, so killing the process loses nothing."""
        if self._path is None:
            return
        logits = {
            sample_id: base64.b64encode(row.astype("<f4").tobytes()).decode()
            for sample_id, row in outputs.logits.items()
        }
        entry = {"key": [key.run, key.block, key.media], "logits": logits, "errors": outputs.errors}
        with storage_errors(self._path, "recording results"):
            # Not before there is something to keep: a job that cannot start leaves nothing behind.
            self._file = self._file or self._start(self._path)
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
        if self._appended is not None:
            self._appended.grown()

    def close(self, *, finished: bool) -> None:
        """Close the file, and remove it when the job is finished."""
        if self._file is not None:
            self._file.close()
            self._file = None
            if self._appended is not None:
                self._appended.close()
        if finished and self._path is not None:
            remove(self._path)


def _outputs(entry: dict[str, Any]) -> Outputs:
    logits = {
        str(sample_id): np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
        for sample_id, text in entry["logits"].items()
    }
    return Outputs(logits, {str(name): str(error) for name, error in entry["errors"].items()})


def may_be_kept(outputs: Outputs, failed_before: Collection[str]) -> bool:
    """Whether a block need not be done again: nothing failed in it but what had failed before the evaluation."""
    return all(name in failed_before for name in outputs.errors)
