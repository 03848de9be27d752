"""Which files of a manifest are there: folder by folder, in this process or as the tasks of an engine.

Each folder is listed once and compared as a whole: one question per file takes minutes where there are millions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.engines import TASK_DEADLINE, EngineOptions, check_engine, engine_of
from ferbench.errors import FerbenchError

FILES_PER_TASK = 4096
"""Small enough that a task travels as one message."""


@dataclass(frozen=True, slots=True)
class LookOptions:
    """How the files are looked for; nothing here changes what is found."""

    engine: str = "local"
    """`ray` lists folders from all nodes of a cluster at once, which a shared disk may need; `local` in this process."""
    address: str = ""
    task_deadline: float = TASK_DEADLINE

    def __post_init__(self) -> None:
        check_engine(self.engine, self.address, self.task_deadline)


HERE = LookOptions()
"""In this process."""


@dataclass(frozen=True, slots=True, eq=False)
class FilesTask:
    """Some folders, and the files wanted of each."""

    rows: tuple[NDArray[np.int64], ...]
    """Of the manifest, by folder."""
    folders: tuple[str, ...]
    paths: tuple[pa.Array, ...]
    """By folder."""


@dataclass(frozen=True, slots=True)
class FilesJob:
    """Picklable. The job is its own worker."""

    root: str

    def open(self) -> FilesJob:
        """Nothing has to be made."""
        return self

    def handle(self, task: FilesTask) -> NDArray[np.bool_]:
        """True for each path of the task, folder after folder, that is not there."""
        pairs = zip(task.folders, task.paths, strict=True)
        missing = [pc.invert(pc.is_in(paths, _listed(Path(self.root), folder))) for folder, paths in pairs]
        return np.concatenate([each.to_numpy(False) for each in missing])

    def close(self) -> None:
        """Nothing to let go of."""


def missing_files(root: Path, paths: Sequence[str], options: LookOptions) -> NDArray[np.bool_]:
    """(N,) True where a path below the root is not there."""
    column = paths if isinstance(paths, (pa.Array, pa.ChunkedArray)) else pa.array(paths, pa.string())
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    missing = np.zeros(len(column), dtype=bool)
    # One worker is this process: listing folders of a local disk is not worth starting others.
    engine = EngineOptions(
        1 if options.engine == "local" else 0, address=options.address, task_deadline=options.task_deadline,
        shared=(str(root),),
    )  # fmt: skip
    for task, found in engine_of(options.engine)(FilesJob(str(root)), _tasks(column), engine):
        if isinstance(found, FerbenchError):
            raise found
        missing[np.concatenate(task.rows)] = found
    return missing


def _tasks(column: pa.Array) -> Iterator[FilesTask]:
    folders = pc.replace_substring_regex(column, "[^/]*$", "").dictionary_encode()
    codes = folders.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(folders.dictionary)))
    groups = list(zip(folders.dictionary.to_pylist(), np.split(order, ends)[:-1], strict=True))
    while groups:
        count = files = 0
        while count < len(groups) and files < FILES_PER_TASK:
            files += len(groups[count][1])
            count += 1
        some, groups = groups[:count], groups[count:]
        yield FilesTask(
            tuple(rows for _, rows in some),
            tuple(folder for folder, _ in some),
            tuple(column.take(pa.array(rows)) for _, rows in some),
        )


def _listed(root: Path, folder: str) -> pa.Array:
    """What is in a folder below the root, as paths like those of a manifest; nothing where there is no such folder."""
    try:
        names = os.listdir(root / folder)
    except (OSError, ValueError):
        names = []
    try:
        return pc.binary_join_element_wise(pa.scalar(folder), pa.array(names, pa.string()), "")
    except UnicodeEncodeError:  # a name that is no UTF-8 is none of a manifest's
        names = [name for name in names if name.encode(errors="replace") == name.encode(errors="surrogateescape")]
        return pc.binary_join_element_wise(pa.scalar(folder), pa.array(names, pa.string()), "")
