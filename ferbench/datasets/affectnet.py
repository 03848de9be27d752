"""AffectNet, manually annotated: the older release with its csv lists, and the newer one with a few npy files per picture.

    Manually_Annotated_file_lists/{training,validation}.csv     Manually_Annotated_Images/689/737db….jpg
    {train,val,valid}_set/images/0.jpg                          {train,val,valid}_set/annotations/0_{exp,val,aro,lnd}.npy

Expressions are 0 neutral to 7 contempt, 8 none, 9 uncertain and 10 no face; a card's classes are the first seven or eight.
The grammars are in `affectnet_csv` and `affectnet_npy`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.cards import Card
from ferbench.datasets import affectnet_csv
from ferbench.datasets.affectnet_npy import list_set, read_scalars
from ferbench.datasets.reading import MOST_SHOWN, Reading, Tally
from ferbench.datasets.tree import DEPTH, entries, nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding

CLASSES = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt", "none", "uncertain", "no-face",
)  # fmt: skip
"""All expressions of the annotation, by their numbers."""
NO_VALUE = -2.0
"""Valence and arousal where there is no face, or nothing certain."""
SETS = {"train_set": "train", "val_set": "validation", "valid_set": "validation"}
LISTS = {"training.csv": "train", "validation.csv": "validation"}

_PICTURES = re.compile(r"\d+|images|annotations|.*_Images", re.IGNORECASE)
"""Folders that hold hundreds of thousands of files and no list; they are not looked into."""


@dataclass
class Found:
    """What of AffectNet is below the root."""

    sets: dict[str, list[Path]] = field(default_factory=dict)
    """Split -> its folders in the newer layout."""
    lists: dict[str, list[Path]] = field(default_factory=dict)
    """Split -> its csv files in the older layout."""
    places: list[Path] = field(default_factory=list)
    """Folders that the paths of the lists may be relative to."""


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read either release; DataError when there is neither, or both and nobody says which."""
    found = _search(root)
    wanted = options.get("layout", "auto")
    for kind in (found.sets, found.lists):
        for paths in kind.values():
            if len(paths) > 1:
                names = ", ".join(relative(path, root) for path in paths)
                raise DataError(
                    f"{root}: {len(paths)} copies are here ({names}); name the folder of one", reason="layout"
                )
    if found.sets and found.lists and wanted == "auto":
        raise DataError(
            f"{root}: both releases are here; choose the older with -o layout=csv or the newer with -o layout=npy",
            reason="layout",
        )
    if found.sets and wanted != "csv":
        return _read_sets(root, {split: paths[0] for split, paths in found.sets.items()}, card)
    if found.lists and wanted != "npy":
        return _read_lists(root, {split: paths[0] for split, paths in found.lists.items()}, found.places, card)
    looked = {"csv": "training.csv", "npy": "train_set/annotations"}.get(
        wanted, "training.csv or train_set/annotations"
    )
    raise nothing_found(root, card.name, looked)


def _search(root: Path) -> Found:
    """Look for lists and sets, without looking into the folders of the pictures."""
    found = Found()
    level = [root]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            inside = entries(folder)
            folders = {entry.name for entry in inside if entry.is_dir()}
            split = SETS.get(folder.name.lower())
            if split and "annotations" in folders:
                found.sets.setdefault(split, []).append(folder)
                continue
            found.places.append(folder)
            for entry in inside:
                if entry.name in folders:
                    (found.places if _PICTURES.fullmatch(entry.name) else below).append(folder / entry.name)
                elif entry.name.lower() in LISTS:
                    found.lists.setdefault(LISTS[entry.name.lower()], []).append(folder / entry.name)
        level = below
    return found


# --- rows of either release ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """The samples of one split, as columns."""

    columns: Mapping[str, pa.Array]
    rows_read: int
    files_known: bool


def _skip(
    tally: Tally, mask: NDArray[np.bool_], reason: str, where: Callable[[int], str], *, severity: str = "error"
) -> None:
    """Put the rows of a mask into the tally; only the first few are put in words."""
    rows = np.flatnonzero(mask)
    for row in rows[:MOST_SHOWN]:
        tally.skip(reason, where(int(row)), severity=severity)
    if len(rows) > MOST_SHOWN:
        tally.skip(reason, "", severity=severity, count=len(rows) - MOST_SHOWN)


def _usable(
    tally: Tally, expression: NDArray[np.int64], usable: NDArray[np.bool_], classes: int, where: Callable[[int], str]
) -> NDArray[np.bool_]:
    """Rows whose expression is one of the card's classes; the others are in the tally, by the name of their class."""

    def said(row: int) -> str:
        number = expression[row]
        return f"{where(row)}: {CLASSES[number] if number < len(CLASSES) else f'expression {number} is not in 0..10'}"

    for number, name in enumerate(CLASSES[classes:], start=classes):
        _skip(tally, usable & (expression == number), name, said, severity="note")
    _skip(tally, usable & (expression >= len(CLASSES)), "label-range", said)
    return usable & (expression < classes)


def _value(numbers: NDArray[np.float64]) -> pa.Array:
    """Valence or arousal as a column; null where there is none."""
    return pa.array(numbers, pa.float32(), mask=np.isnan(numbers) | (numbers == NO_VALUE))


def _joined(prefix: str, texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(prefix), texts, "")


def _reading(root: Path, parts: Mapping[str, Part], card: Card, layout: str, kind: str, tally: Tally,
             findings: list[Finding]) -> Reading:  # fmt: skip
    names = list(dict.fromkeys(name for part in parts.values() for name in part.columns))
    columns = {name: pa.concat_arrays([part.columns[name] for part in parts.values()]) for name in names}
    lengths = [len(part.columns["path"]) for part in parts.values()]
    columns["media"] = pa.repeat("image", sum(lengths))
    columns["split"] = pa.concat_arrays(
        [pa.repeat(split, length) for split, length in zip(parts, lengths, strict=True)]
    )
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=layout,
        rows_read=sum(part.rows_read for part in parts.values()),
        base=0,
        facts={"layout": kind},
        skipped=tally.skips(),
        findings=tuple(findings),
        files_known=all(part.files_known for part in parts.values()),
    )


# --- the newer release --------------------------------------------------------------------------------------------------


def _read_sets(root: Path, sets: Mapping[str, Path], card: Card) -> Reading:
    tally, findings = Tally(), []
    parts = {}
    for split, folder in sorted(sets.items()):
        parts[split], unread = _read_set(root, folder, split, len(card.labels), tally)
        if unread:
            message = f"{relative(folder, root)}: {unread:,} pictures have no _val.npy or _aro.npy"
            findings.append(
                Finding("warning", "no-valence", message, "their valence or arousal is empty", count=unread)
            )
    layout = f"newer release in {', '.join(relative(folder, root) for folder in sets.values())}"
    return _reading(root, parts, card, layout, "npy", tally, findings)


def _read_set(root: Path, folder: Path, split: str, classes: int, tally: Tally) -> tuple[Part, int]:
    """One set; and how many of its pictures lack valence or arousal."""
    listing = list_set(folder)
    notes = folder / "annotations"
    ids = listing.ids
    alone = sorted(listing.pictures.keys() - set(ids))
    if alone:
        first = ", ".join(listing.pictures[each] for each in alone[:MOST_SHOWN])
        tally.skip("no-annotation", f"{folder}/images: {first}: no _exp.npy", count=len(alone))
    if listing.others:
        tally.skip(
            "not-a-picture", f"{folder}/images: {listing.others} other files", severity="note", count=listing.others
        )
    bad: dict[int, str] = {}
    values = {}
    unread = np.zeros(len(ids), dtype=bool)
    for kind in ("exp", "val", "aro"):
        files = [f"{each}_{kind}.npy" for each in ids]
        if listing.annotations.issuperset(files):
            there = np.arange(len(files))
        else:
            there = np.flatnonzero([name in listing.annotations for name in files])
        scalars = read_scalars(notes, [files[row] for row in there] if len(there) < len(files) else files)
        values[kind] = np.full(len(ids), np.nan)
        values[kind][there] = scalars.values
        unread |= ~np.isin(np.arange(len(ids)), there)
        for index, problem in scalars.problems.items():
            bad.setdefault(int(there[index]), f"{files[there[index]]}: {problem}")
    exp = values["exp"]
    for row in np.flatnonzero((exp != np.floor(exp)) | (exp < 0)):
        bad.setdefault(int(row), f"{ids[row]}_exp.npy: expression must be a whole number from 0, got {exp[row]:g}")
    usable = ~np.isin(np.arange(len(ids)), list(bad))
    _skip(tally, ~usable, "bad-npy", lambda row: f"{notes}/{bad[row]}")
    expression = np.where(usable, exp, -1).clip(-1, 2**31).astype(np.int64)
    kept = np.flatnonzero(_usable(tally, expression, usable, classes, lambda row: f"{notes}/{ids[row]}_exp.npy"))
    pictures = [listing.pictures.get(ids[row]) for row in kept]
    missing = None in pictures
    if missing:
        pictures = [name or f"{ids[row]}.jpg" for name, row in zip(pictures, kept, strict=True)]
    # Ids start again in the second set.
    prefix = "train_set/" if split == "train" else "val_set/"
    columns = {
        "sample_id": _joined(prefix, pa.array([ids[row] for row in kept], pa.string())),
        "path": _joined(f"{relative(folder, root)}/images/".removeprefix("./"), pa.array(pictures, pa.string())),
        "label": pa.array(expression[kept]),
        "valence": _value(values["val"][kept]),
        "arousal": _value(values["aro"][kept]),
    }
    part = Part(columns, len(ids) + len(alone) + listing.others, files_known=not missing)
    return part, int(unread[kept].sum())


# --- the older release --------------------------------------------------------------------------------------------------


def _read_lists(root: Path, lists: Mapping[str, Path], places: list[Path], card: Card) -> Reading:
    tally = Tally()
    parts: dict[str, Part] = {}
    seen: pa.Array = pa.array([], pa.string())
    home: Path | None = None
    for split, path in sorted(lists.items()):
        rows = affectnet_csv.read_rows(path)
        home = home or _home(root, path, rows.columns["subDirectory_filePath"], places)
        parts[split] = _read_list(root, path, rows, home, seen, len(card.labels), tally)
        seen = pa.concat_arrays([seen, parts[split].columns["sample_id"]])
    shown = ", ".join(relative(path, root) for path in lists.values())
    layout = f"older release, {shown}, pictures in {relative(home, root) if home else 'no folder'}"
    return _reading(root, parts, card, layout, "csv", tally, [])


def _read_list(
    root: Path, path: Path, rows: affectnet_csv.Rows, home: Path, seen: pa.Array, classes: int, tally: Tally
) -> Part:
    def where(row: int) -> str:
        return f"{path}:{rows.lines[row]}"

    for line in rows.broken:
        tally.skip("bad-row", f"{path}:{line}: expected {len(affectnet_csv.COLUMNS)} fields")
    columns = rows.columns
    usable = np.ones(len(rows.lines), dtype=bool)

    def refuse(mask: NDArray[np.bool_], name: str, rule: str) -> None:
        nonlocal usable
        column = columns[name]
        _skip(
            tally,
            usable & mask,
            "bad-row",
            lambda row: f"{where(row)}: {name} {rule}, got {column[row].as_py()[:40]!r}",
        )
        usable = usable & ~mask

    refuse(
        affectnet_csv.is_unsafe(columns["subDirectory_filePath"]),
        "subDirectory_filePath",
        "must be a path below its folder",
    )
    expression = affectnet_csv.whole_numbers(columns["expression"])
    refuse(expression < 0, "expression", "must be a whole number from 0")
    numbers = {}
    for name in ("valence", "arousal"):
        numbers[name] = affectnet_csv.floats(columns[name])
        refuse(np.isnan(numbers[name]) & ~affectnet_csv.is_blank(columns[name]), name, "must be a number")
    kept = _usable(tally, expression, usable, classes, where)
    ids = pc.replace_substring_regex(columns["subDirectory_filePath"], r"\.[^./]*$", "")
    kept &= ~_repeated(ids, kept, seen, tally, where)
    mask = pa.array(kept)
    prefix = relative(home, root)
    result = {
        "sample_id": ids.filter(mask),
        "path": _joined("" if prefix == "." else f"{prefix}/", columns["subDirectory_filePath"].filter(mask)),
        "label": pa.array(expression[kept]),
        "valence": _value(numbers["valence"][kept]),
        "arousal": _value(numbers["arousal"][kept]),
    }
    for name in affectnet_csv.BOX:
        box = affectnet_csv.floats(columns[name].filter(mask))
        known = (box >= 0) & (box < 2**31)
        result[name] = pa.array(np.where(known, box, 0).astype(np.int32), mask=~known)
    return Part(result, rows.count, files_known=False)


def _repeated(
    ids: pa.Array, kept: NDArray[np.bool_], seen: pa.Array, tally: Tally, where: Callable[[int], str]
) -> NDArray[np.bool_]:
    """Rows whose picture an earlier row has; they are in the tally."""
    rows = np.flatnonzero(kept)
    codes = ids.take(pa.array(rows)).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    again = np.ones(len(rows), dtype=bool)
    again[first] = False
    again |= pc.is_in(ids.take(pa.array(rows)), seen).to_numpy(zero_copy_only=False)
    mask = np.zeros(len(ids), dtype=bool)
    mask[rows[again]] = True
    _skip(tally, mask, "duplicate", lambda row: f"{where(row)}: {ids[row].as_py()!r} occurs a second time")
    return mask


def _home(root: Path, path: Path, names: pa.Array, places: list[Path]) -> Path:
    """The folder that a list's paths are relative to: the first that has one of the first pictures."""
    first = [name for name in names.slice(0, 20).to_pylist() if not affectnet_csv.is_unsafe(pa.array([name]))[0]]
    manual = [place for place in places if place.name.lower() == "manually_annotated_images"]
    for place in (*manual, *places):
        if any(os.path.exists(place / name) for name in first):
            return place
    beside = path.parent.parent if root in path.parent.parents else path.parent
    return manual[0] if manual else beside / "Manually_Annotated_Images"
