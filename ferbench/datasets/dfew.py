"""DFEW: five pairs of CSV lists, or one table of labels; the clips as videos or as frame folders.

    video_name,label
    2,1

The lists have several names and homes: `EmoLabel_DataSplit/{train,test}(single-labeled)/set_{k}.csv` as distributed (its
README writes `single_labeled`), `label/single_{train,test}set_{k}.csv` in the authors' code, and
`{train,test}(single-labeled)/{train,test}_set_{k}.csv` in S2D, whose labels are 0-based. Sources: DFER-CLIP,
annotation/preprocess_annotation.py; jiangxingxun/DFEW, DataParallel/libs/DFEW_Dataset.py; S2D, data/DFEW.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import Media, find_clips, find_files, frame_counts
from ferbench.datasets.dfew_table import find_table, read_table
from ferbench.datasets.fold_lists import Row, join_folds
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.textfiles import csv_rows, detect_base, whole_number

FORMS = (
    Media("clip_224x224", "frames", r"clip_224x224|DFEW_Face|DFEW_Frame_Face", "Clip/clip_224x224"),
    Media("original", "video", r"original", "Clip/original", ".mp4"),
    Media("jpg_256", "frames", r"jpg_256", "Clip/jpg_256"),
    Media("clip_224x224_16f", "frames", r"clip_224x(224_)?16f", "Clip/clip_224x224_16f"),
)
"""Best first: the authors' aligned faces, the videos, whole frames, and the faces resampled to 16 frames."""
_CLIP = re.compile(r"0*([0-9]{1,5})")
_PART_FOLDER = re.compile(r"(train|test) ?\(?single[-_ ]?label+ed\)?", re.IGNORECASE)
_LIST = re.compile(r"(?:single_?)?(?P<part>train|test)?_?set_?(?P<fold>[1-9])\.csv", re.IGNORECASE)
Lists = dict[tuple[int, str], Path]


@dataclass(frozen=True, slots=True)
class _Labels:
    """What the lists or the table say."""

    rows: tuple[Row, ...]
    base: int
    findings: tuple[Finding, ...]
    home: Path
    """The folder that the labels were found in."""
    layout: str
    rows_read: int
    """Lines of the table, or of the lists where every clip's lines are one."""
    fold: tuple[int | None, ...] | None = None
    votes: tuple[tuple[float, ...] | None, ...] | None = None


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the fold lists, or the label table where there are none (or `labels=table` asks for it)."""
    tally = Tally()
    labels = _labels(root, card, options["labels"], tally)
    rows = labels.rows
    is_part = labels.home != root and labels.home.name.lower() in ("emolabel_datasplit", "annotation", "label")
    top = labels.home.parent if is_part else labels.home
    places = find_clips(root, FORMS, options["media"], top=top, is_clip=_CLIP, key=lambda name: clip_id(name) or name)
    paths = [places.path(row.clip) for row in rows]
    columns: dict[str, Sequence[object]] = {
        "sample_id": [row.clip for row in rows],
        "path": paths,
        "media": [places.media.kind] * len(rows),
        "label": [row.label - labels.base if row.label >= labels.base else None for row in rows],
    }
    findings = list(labels.findings)
    if labels.fold is not None:
        columns["fold"] = labels.fold
    if labels.votes is not None:
        columns["votes"] = labels.votes
    if places.media.kind == "frames" and places.folder:
        columns["num_frames"], empty = frame_counts(root, paths)
        findings += empty
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=f"{labels.layout}, clips in {places.folder or 'no folder'}",
        rows_read=labels.rows_read,
        base=labels.base,
        facts={"labels": "table" if labels.fold is None else "folds", "media": places.media.name},
        skipped=tally.skips(),
        findings=tuple(findings),
    )


def _labels(root: Path, card: Card, wanted: str, tally: Tally) -> _Labels:
    """From the fold lists or the table; DataError when neither is there."""
    home, lists = find_lists(root) if wanted != "table" else (root, {})
    if lists:
        return _folds(lists, home, card, tally, f"{len(lists)} fold lists in {relative(home, root)}")
    path = find_table(root) if wanted != "folds" else None
    if path is None:
        raise nothing_found(root, card.name, "EmoLabel_DataSplit/test(single-labeled)/set_1.csv, or a table of labels")
    table = read_table(path, card, tally, clip_id)
    votes = table.votes if any(table.votes) else None
    layout = f"label table {relative(path, root)}"
    return _Labels(table.rows, table.base, table.findings, path.parent, layout, table.rows_read, votes=votes)


def find_lists(root: Path) -> tuple[Path, Lists]:
    """The folder of the one set of lists below the root, and its lists; DataError for two sets, which may disagree."""
    sets: dict[Path, Lists] = {}
    for path in find_files(root, _LIST.pattern):
        match, folder = _LIST.fullmatch(path.name), _PART_FOLDER.fullmatch(path.parent.name)
        part = (match and match["part"]) or (folder and folder[1])
        if match and part:
            home = path.parent.parent if folder else path.parent
            earlier = sets.setdefault(home, {}).setdefault((int(match["fold"]), part.lower()), path)
            if earlier != path:
                raise DataError(
                    f"{path} and {earlier} are the same list twice; keep one of them apart", reason="layout"
                )
    if len(sets) > 1:
        homes = ", ".join(relative(home, root) for home in sets)
        raise DataError(f"{root}: {len(sets)} sets of fold lists ({homes}); name the folder of one", reason="layout")
    return next(iter(sets.items()), (root, {}))


def _folds(lists: Lists, home: Path, card: Card, tally: Tally, layout: str) -> _Labels:
    parsed: dict[tuple[int, str], list[Row]] = {}
    lines = 0
    for key, path in sorted(lists.items()):
        parsed[key], read_lines = _rows(path, tally)
        lines += read_lines
    numbers = [row.label for rows in parsed.values() for row in rows]
    base, findings = detect_base(numbers, card.labels, expected=card.label_base or 0, where=str(home))
    for key, rows in parsed.items():
        parsed[key] = [row for row in rows if _in_range(row, base, len(card.labels), tally)]
    folds = join_folds(parsed, tally)
    found = (*findings, *folds.findings)
    return _Labels(folds.rows, base, found, home, layout, lines - folds.repeats, fold=folds.fold)


def _rows(path: Path, tally: Tally) -> tuple[list[Row], int]:
    """The rows of a list, and how many lines it has besides its header."""
    rows: list[Row] = []
    lines = 0
    for index, (number, fields) in enumerate(csv_rows(path)):
        where = f"{path}:{number}"
        clip = clip_id(fields[0])
        label = whole_number(fields[1]) if len(fields) == 2 else None
        if index == 0 and clip is None and label is None:
            continue  # a header
        lines += 1
        if clip is None or label is None:
            tally.skip("bad-row", f"{where}: expected 'clip,label', got {','.join(fields)!r}")
        else:
            rows.append(Row(clip, label, where))
    return rows, lines


def _in_range(row: Row, base: int, classes: int, tally: Tally) -> bool:
    if base <= row.label < base + classes:
        return True
    tally.skip("label-range", f"{row.where}: label {row.label} is not in {base}..{base + classes - 1}")
    return False


def clip_id(text: str) -> str | None:
    """`2`, `00002`, `2.0` or `00002.mp4` as `00002`; None for anything else."""
    match = re.fullmatch(r"0*([0-9]{1,5})(\.0|\.mp4|\.avi)?", text.strip(), re.IGNORECASE)
    return match[1].zfill(5) if match else None
