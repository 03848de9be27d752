"""Reading several list files as one manifest: each sample once, in an order that all the files agree with."""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ferbench.errors import FerbenchError, ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of, unsafe_path_rule
from ferbench.protocol import VALIDATION_FOLDS

Part = tuple[int | None, str]
"""(fold or None, `train` | `validation` | `test`)."""


def manifest_of_parts(
    rows: Mapping[str, Sequence[Any]],
    parts: Sequence[Part],
    *,
    labels: LabelSet,
    order: LabelSet,
    root: Path,
    name: str,
    media: str,
    places: Sequence[str] | None = None,
    files: Collection[Part] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Manifest:
    """One manifest of rows that may occur in several parts: `rows["path"]`, `rows["label"]` (indices into `order`) and
    any other column, with `parts[i]` = (fold or None, part) of row i, read at `places[i]` (`file:line`).

    With fold numbers, a path's `fold` is where it is tested, and `validation_folds` where it selects. The lists must say
    what those columns say: a path that is listed twice in a part, tested twice, or both trained and tested in one fold, or
    that is missing from the train part of a fold in which it is not tested, is a ManifestError. Where the files are those
    of one fold of several, and hold a train part, they are a fixed split. Without fold numbers the part is the `split`.

    The same path must say the same everywhere. Rows come in an order that every file agrees with, if there is one, so
    that the files can be written again as they were. Sample ids are the paths without suffix. `files` names the parts
    that were read, empty ones too.
    """
    index = _Index(rows, parts, places)
    folds = index.folds([*files, *parts])
    picked = [index.first[path] for path in index.order()]
    paths = [rows["path"][row] for row in picked]
    for row in picked:
        rule = unsafe_path_rule(rows["path"][row])
        if rule:
            raise ManifestError(f"{index.place(row)}path {rows['path'][row]!r} {rule}", reason="unsafe-path")
    mapping = order.mapping_to(labels)
    columns: dict[str, Any] = {column: [rows[column][row] for row in picked] for column in rows if column != "path"}
    columns["label"] = [None if label is None else mapping[label] for label in columns["label"]]
    columns |= {
        "sample_id": sample_ids_of(paths, media),
        "path": paths,
        "media": [media] * len(paths),
        "fold": [folds.get(path) for path in paths],
        "split": [None if path in folds else index.part_of[path] for path in paths],
    }
    try:
        manifest = manifest_of(columns, labels=labels, name=name, root=root, provenance=provenance)
    except FerbenchError as error:
        raise ManifestError(f"{_file(places)}{error.message}", reason=error.reason) from error
    if folds and index.selects:
        lists = [sorted(index.selects.get(path, ())) for path in paths]
        manifest = manifest.with_columns(**{VALIDATION_FOLDS: pa.array(lists, pa.list_(pa.int32()))})
    return manifest


class _Index:
    """Where each path is listed; ManifestError for what no split of samples can say."""

    def __init__(self, rows: Mapping[str, Sequence[Any]], parts: Sequence[Part], places: Sequence[str] | None) -> None:
        self._rows, self._places = rows, places
        self.first: dict[str, int] = {}
        """Path -> its first row."""
        self.part_of: dict[str, str] = {}
        self.tested: dict[str, int] = {}
        self.selects: dict[str, set[int]] = {}
        self.members: dict[Part, list[str]] = {}
        seen: dict[tuple[str, int | None], tuple[str, int]] = {}
        names = [column for column in rows if column != "path"]
        for row, (path, (fold, part)) in enumerate(zip(rows["path"], parts, strict=True)):
            origin = self.first.setdefault(path, row)
            for column in names:
                if rows[column][origin] != rows[column][row]:
                    raise ManifestError(
                        f"{self.place(row)}{path!r} has {column} {rows[column][row]!r} here and "
                        f"{rows[column][origin]!r} in {self.place(origin).removesuffix(': ') or 'another file'}"
                    )
            earlier, at = seen.setdefault((path, fold), (part, row))
            of_fold = f" of fold {fold}" if fold else ""
            if earlier != part:
                raise ManifestError(f"{self.place(row)}{path!r} is in {earlier} and in {part}{of_fold}", reason="leak")
            if at != row:
                raise ManifestError(f"{self.place(row)}{path!r} is listed a second time in {part}{of_fold}")
            if fold is not None and part == "test" and self.tested.setdefault(path, fold) != fold:
                raise ManifestError(
                    f"{self.place(row)}{path!r} is tested in fold {self.tested[path]} and in fold {fold}"
                )
            if fold is not None and part == "validation":
                self.selects.setdefault(path, set()).add(fold)
            self.part_of[path] = part
            self.members.setdefault((fold, part), []).append(path)
        self.paths = list(self.first)

    def place(self, row: int) -> str:
        """`file:line: `, or nothing where nobody said."""
        return f"{self._places[row]}: " if self._places else ""

    def folds(self, files: Collection[Part]) -> dict[str, int]:
        """Path -> the fold it is tested in; empty where the files are a fixed split, or those of one fold."""
        numbers = sorted({fold for fold, _ in files if fold is not None})
        untested = next((path for path in self.paths if path not in self.tested), None)
        if not numbers or (len(numbers) == 1 and untested is not None):
            return {}
        if untested is not None:
            raise ManifestError(
                f"{self.place(self.first[untested])}{untested!r} is in no test part of the folds "
                f"{', '.join(map(str, numbers))}, so its fold is unknown; give the files of all folds, or of one"
            )
        for fold in numbers:
            if (fold, "train") in files:
                self._whole(fold)
        return self.tested

    def _whole(self, fold: int) -> None:
        """ManifestError when a fold does not train on, or select with, everything that it does not test."""
        listed = {path for part in ("train", "validation", "test") for path in self.members.get((fold, part), ())}
        if len(listed) == len(self.first):
            return
        path = next(path for path in self.paths if path not in listed)
        raise ManifestError(
            f"{self.place(self.first[path])}{path!r} is tested in fold {self.tested[path]}, and fold {fold} neither "
            "trains on it nor tests it; a manifest's folds train on everything they do not test"
        )

    def order(self) -> list[str]:
        """The paths in an order that agrees with every file; in the order of reading, where the files disagree."""
        after: dict[str, list[str]] = {path: [] for path in self.paths}
        waits = dict.fromkeys(self.paths, 0)
        for members in self.members.values():
            for before, path in itertools.pairwise(members):
                after[before].append(path)
                waits[path] += 1
        # Among those that may come next, the first that was read: the order is the same every time.
        ready = [self.first[path] for path in self.paths if not waits[path]]
        heapq.heapify(ready)
        ordered: list[str] = []
        while ready:
            path = self._rows["path"][heapq.heappop(ready)]
            ordered.append(path)
            for follower in after[path]:
                waits[follower] -= 1
                if not waits[follower]:
                    heapq.heappush(ready, self.first[follower])
        return ordered if len(ordered) == len(self.paths) else self.paths


def _file(places: Sequence[str] | None) -> str:
    return f"{places[0].rpartition(':')[0]}: " if places else ""


def sample_ids_of(paths: Sequence[str], media: str) -> list[str]:
    """Ids of imported samples: the path, without its suffix where it is a file and that stays unique."""
    if media == "frames":
        return list(paths)
    stems = [os.path.splitext(path)[0] for path in paths]
    return stems if len(set(stems)) == len(stems) else list(paths)
