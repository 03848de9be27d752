"""MAFW, eleven single classes or the 43 of the compound benchmark: five pairs of text lists, or one table of labels.

    00025.mp4 anger                                 no_caption: a space; a compound label is joined by `_`
    00025.mp4<TAB>anger<TAB>…<TAB>…                 with_caption: the captions in Chinese and English, GBK

Lines end in CRLF or LF, the last one perhaps in nothing. Sources: MAE-DFER, preprocess/mafw.py; S2D, data/MAFW/anno, which
keeps the originals and writes `set_{k}/{train,test}.csv` (`00025,0`, alphabetical order) beside them; EmoCLIP,
DataLoaders/MAFW.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import Media, find_clips, find_files, frame_counts
from ferbench.datasets.fold_lists import Row, join_folds
from ferbench.datasets.mafw_labels import ClassNames, clip_id, find_table, read_table
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.textfiles import numbered_lines, whole_number

FORMS = (
    Media("clips", "video", r"clips?", "clips", ".mp4"),
    Media("frames", "frames", r"frames", "frames"),
    Media("faces", "frames", r"faces|frames_crop_align_[0-9]+|face_aligned", "faces"),
)
"""The official forms first; face crops are everybody's own."""
_CLIP = re.compile(r"[0-9]{1,5}")
_SET = re.compile(r"set_?([1-9])", re.IGNORECASE)
_LIST = re.compile(r"(train|test)\.(txt|csv)", re.IGNORECASE)
Lists = dict[tuple[int, str], Path]


@dataclass(frozen=True, slots=True)
class _Labels:
    """What the lists or the table say."""

    rows: tuple[Row, ...]
    order: LabelSet
    layout: str
    home: Path
    rows_read: int
    """Lines of the table, or of the lists where every clip's lines are one."""
    captions: bool = False
    base: int | None = None
    fold: tuple[int | None, ...] | None = None
    findings: tuple[Finding, ...] = ()


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the fold lists, or the label table where there are none (or `labels=table` asks for it)."""
    tally = Tally()
    labels = _labels(root, card, options, tally)
    rows = labels.rows
    top = root if labels.home == root else _top(labels.home, root)
    places = find_clips(root, FORMS, options["media"], top=top, is_clip=_CLIP, key=lambda name: clip_id(name) or name)
    paths = [places.path(row.clip) for row in rows]
    columns: dict[str, Sequence[object]] = {
        "sample_id": [row.clip for row in rows],
        "path": paths,
        "media": [places.media.kind] * len(rows),
        "label": [row.label for row in rows],
    }
    findings = list(labels.findings)
    if labels.fold is not None:
        columns["fold"] = labels.fold
    if labels.captions:
        columns["caption_zh"] = [row.extra[0] if row.extra else None for row in rows]
        columns["caption_en"] = [row.extra[1] if row.extra else None for row in rows]
    if places.media.kind == "frames" and places.folder:
        columns["num_frames"], empty = frame_counts(root, paths)
        findings += empty
    return Reading(
        columns=columns,
        labels=labels.order,
        layout=f"{labels.layout}, clips in {places.folder or 'no folder'}",
        rows_read=labels.rows_read,
        base=labels.base,
        facts={
            "labels": "table" if labels.fold is None else "folds",
            "captions": "with" if labels.captions else "no",
            "media": places.media.name,
        },
        skipped=tally.skips(),
        findings=tuple(findings),
    )


def _top(home: Path, root: Path) -> Path:
    """The dataset's own folder above its labels."""
    inner = re.compile(
        r"(no|with)_captions?.*|single|compound|train.{1,3}test.{0,2}set|labels?|anno|split", re.IGNORECASE
    )
    while home != root and inner.fullmatch(home.name):
        home = home.parent
    return home


def _labels(root: Path, card: Card, options: Mapping[str, str], tally: Tally) -> _Labels:
    """From the fold lists or the table; DataError when neither is there."""
    compound = "compound" in card.name
    names = ClassNames(card.labels)
    if options["labels"] != "table":
        home, lists = find_lists(root, compound=compound, captions=options["captions"])
        if lists:
            return _folds(lists, home, root, card, names, tally)
    path = find_table(root, compound=compound) if options["labels"] != "folds" else None
    if path is None:
        kind = "compound" if compound else "single"
        raise nothing_found(root, card.name, f"Train & Test Set/{kind}/no_caption/set_1/test.txt, or a table of labels")
    rows, rows_read = read_table(path, names, tally)
    return _Labels(rows, card.labels, f"label table {relative(path, root)}", path.parent, rows_read)


def find_lists(root: Path, *, compound: bool, captions: str) -> tuple[Path, Lists]:
    """The folder of the lists asked for, and (fold, part) -> list; `auto` takes those without captions, which are complete.

    Lists in folders that say neither `single` nor `compound` are taken for what is asked. DataError for two such folders.
    """
    homes: dict[Path, dict[str, Lists]] = {}
    for path in find_files(root, _LIST.pattern):
        fold, name = _SET.fullmatch(path.parent.name), _LIST.fullmatch(path.name)
        parts = [part.lower() for part in path.parent.parent.relative_to(root).parts] if path.parent != root else []
        other = any(("single" if compound else "compound") in part for part in parts)
        if fold and name and not other:
            kinds = homes.setdefault(path.parent.parent, {})
            kinds.setdefault(name[2].lower(), {})[int(fold[1]), name[1].lower()] = path
    wanted = ("no", "with") if captions == "auto" else (captions,)
    for each in wanted:
        found = [home for home in homes if ("with" in home.name.lower()) == (each == "with")]
        if len(found) > 1:
            folders = ", ".join(relative(home, root) for home in found)
            raise DataError(f"{root}: {len(found)} sets of lists ({folders}); name the folder of one", reason="layout")
        if found:
            kinds = homes[found[0]]
            return found[0], kinds.get("txt") or kinds["csv"]
    return root, {}


def _folds(lists: Lists, home: Path, root: Path, card: Card, names: ClassNames, tally: Tally) -> _Labels:
    captions = "with" in home.name.lower()
    layout = f"{len(lists)} fold lists in {relative(home, root)}"
    if next(iter(lists.values())).suffix.lower() == ".csv":
        order = card.order_for("s2d")
        parse: Callable[[str], tuple[str, ...] | None] = _fields_of_csv
        label_of: Callable[[str], int | None] = lambda text: _integer(text, len(order))  # noqa: E731
        base = 0
    else:
        order, parse, label_of, base = card.labels, _fields_of_text, names.label_of, None
    parsed: dict[tuple[int, str], list[Row]] = {}
    lines = 0
    for key, path in sorted(lists.items()):
        parsed[key], read_lines = _rows(path, parse, label_of, tally, header=base is not None)
        lines += read_lines
    folds = join_folds(parsed, tally)
    return _Labels(folds.rows, order, layout, home, lines - folds.repeats, captions, base, folds.fold, folds.findings)


def _rows(
    path: Path,
    parse: Callable[[str], tuple[str, ...] | None],
    label_of: Callable[[str], int | None],
    tally: Tally,
    *,
    header: bool,
) -> tuple[list[Row], int]:
    """The rows of a list, and how many lines it has besides its header."""
    rows: list[Row] = []
    lines = 0
    for index, (number, line) in enumerate(numbered_lines(path)):
        where = f"{path}:{number}"
        fields = parse(line)
        clip = clip_id(fields[0]) if fields else None
        if header and index == 0 and fields and clip is None and label_of(fields[1]) is None:
            continue
        lines += 1
        if fields is None or clip is None:
            tally.skip("bad-row", f"{where}: expected a clip and a label, got {line.strip()[:60]!r}")
            continue
        label = label_of(fields[1])
        if label is None:
            tally.skip("label-range", f"{where}: {fields[1]!r} is no class")
        else:
            rows.append(Row(clip, label, where, fields[2:]))
    return rows, lines


def _fields_of_text(line: str) -> tuple[str, ...] | None:
    """(clip, label) or (clip, label, Chinese, English); None for what is neither."""
    if "\t" in line:
        clip, label, *captions = (field.strip() for field in line.split("\t"))
        chinese, english = [*captions, "", ""][:2]
        return clip, label, chinese, " ".join([english, *captions[2:]]).strip()
    fields = tuple(line.split())
    return fields if len(fields) == 2 else None


def _fields_of_csv(line: str) -> tuple[str, ...] | None:
    fields = tuple(field.strip() for field in line.split(","))
    return fields if len(fields) == 2 else None


def _integer(text: str, classes: int) -> int | None:
    number = whole_number(text)
    return number if number is not None and 0 <= number < classes else None
