"""A folder per class, in split folders or not: SFEW, CAER, CAER-S, CK+48, and any copy that has no card.

    [train|val|test/]happy/0001.png      a picture, or a video; the folder's name is the class
    [train|val|test/]happy/clip_17/00001.jpg   a folder of numbered pictures is one sample of frames

With a card the folders that are named after its classes are looked for in any nesting; without one every folder is a class.
Sources: the trees that CAER, CAERS-Annotation and the SFEW archives have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import DEPTH, files_in, folders_in, nothing_found, relative
from ferbench.errors import DataError, MediaError
from ferbench.findings import Finding
from ferbench.labels import ALIASES, LabelSet, canonical_name
from ferbench.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FoundMedia, find_media, frame_files
from ferbench.sources import sample_ids

NAMES: dict[str, re.Pattern[str]] = {
    "ck-plus-48": re.compile(r"(?P<group>(?P<subject>S\d{3})_\d{3})_\d{8}", re.IGNORECASE),
    "sfew": re.compile(r"(?P<group>.+)_\d+_\d+"),  # the movie, a time and a number
}
"""Card -> what the names of its files say: `subject`, and `group`, what else ties samples together."""
SPLIT = re.compile(
    r"(train|val|dev|test)(?:ing|id|idation)?(?:[ _-]?(?:set|data|images?|.*aligned.*|.*faces.*))?", re.IGNORECASE
)
"""`train`, `Training`, `val`, `valid`, `validation`, `test_set`, `Train_Aligned_Faces`, `Val_Aligned_Faces_new`."""
SPLITS = {"train": "train", "val": "validation", "dev": "validation", "test": "test"}
MEDIA_SUFFIXES = tuple(IMAGE_SUFFIXES | VIDEO_SUFFIXES)
MOST_SHOWN = 3


def split_of(name: str) -> str | None:
    """The split that a folder is named after, in any of the spellings people use."""
    match = SPLIT.fullmatch(name)
    return SPLITS[match[1].lower()] if match else None


@dataclass(frozen=True, slots=True)
class _Top:
    """A folder of class folders."""

    place: Path
    split: str | None
    classes: tuple[tuple[str, str], ...]
    """(folder name, class name)."""


@dataclass(slots=True)
class _Rows:
    """What was found so far."""

    root: Path
    tally: Tally = field(default_factory=Tally)
    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in ("path", "media", "class", "split", "error", "id_path")}
    )
    read: int = 0

    def add(self, top: _Top, folder: str, class_name: str, id_folder: str, found: Sequence[FoundMedia]) -> None:
        place = relative(top.place / folder, self.root)
        id_place = "/".join(part for part in (top.split, id_folder) if part)
        for each in found:
            inside = "" if each.path == "." else f"/{each.path}"
            values = (place + inside, each.media, class_name, top.split, each.error, id_place + inside)
            for column, value in zip(self.columns.values(), values, strict=True):
                column.append(value)
        self.read += len(found)

    def skip(self, reason: str, where: str, *, severity: str = "error", count: int = 1) -> None:
        self.read += count
        self.tally.skip(reason, where, severity=severity, count=count)

    def loose(self, folder: Path, split: str | None) -> None:
        """Media that lie in no class folder: the unlabelled test part, or a mistake."""
        count = len(files_in(folder, MEDIA_SUFFIXES))
        if count and split == "test":
            self.skip("no-label", f"{relative(folder, self.root)}: {count:,} files of an unlabelled test part",
                      severity="note", count=count)  # fmt: skip
        elif count:
            self.skip("no-class", f"{relative(folder, self.root)}: {count:,} files in no folder named after a class",
                      count=count)  # fmt: skip


# --- with a card ------------------------------------------------------------------------------------------------------


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the class folders of a dataset; DataError when there are none, or more than one for a split.

    The option `images` chooses between folders with `aligned` in a name and those without.
    """
    visited = list(_visit(root, card.labels))
    wanted = options.get("images")
    if wanted == "auto":
        wanted = "aligned" if any(top.classes and _is_aligned(top.place, root) for top in visited) else "original"
    if wanted:
        visited = [top for top in visited if _is_aligned(top.place, root) == (wanted == "aligned")]
    tops = [top for top in visited if top.classes]
    if not tops:
        if any(sum(name.isdigit() for name in folders_in(top.place)) > 1 for top in visited):
            raise _numbers(root)
        raise nothing_found(
            root, card.name, f"folders named {', '.join(card.labels.names)}{f' of {wanted} pictures' if wanted else ''}"
        )
    tops = _one_for_each_split(root, tops)
    rows = _Rows(root)
    for top in visited:
        if top in tops or not top.classes:
            rows.loose(top.place, top.split)
    for top in tops:
        _read_top(top, rows, stills=card.kind == "static")
    return _reading(rows, card.labels, tops, findings=(), names=NAMES.get(card.name), images=wanted)


def _visit(root: Path, labels: LabelSet) -> Iterator[_Top]:
    """Every folder down to `DEPTH` that is not below a class folder, with the class folders in it."""
    level: list[tuple[Path, str | None]] = [(root, None)]
    for _ in range(DEPTH + 1):
        below: list[tuple[Path, str | None]] = []
        for folder, split in level:
            classes = [(name, labels.names[labels.label_of(name)]) for name in folders_in(folder) if name in labels]
            yield _Top(folder, split, tuple(classes))
            named = {name for name, _ in classes}
            below += [(folder / name, split_of(name) or split) for name in folders_in(folder) if name not in named]
        level = below


def _is_aligned(folder: Path, root: Path) -> bool:
    return "aligned" in relative(folder, root).lower()


def _one_for_each_split(root: Path, tops: Sequence[_Top]) -> list[_Top]:
    """One folder for each split; where an archive was replaced by its authors, the newer one, `…_new`."""
    chosen = []
    for split in dict.fromkeys(top.split for top in tops):
        same = [top for top in tops if top.split == split]
        newer = [top for top in same if top.place.name.lower().endswith("_new")]
        same = newer if len(newer) == 1 else same
        if len(same) > 1:
            names = ", ".join(relative(top.place, root) for top in same)
            raise DataError(
                f"{root}: {len(same)} folders hold class folders of {split or 'no split'} ({names}); keep one",
                reason="layout",
            )
        chosen += same
    return chosen


# --- without a card ---------------------------------------------------------------------------------------------------


def read_uncarded(root: Path) -> Reading:
    """Every folder below `root`, or below its split folders, as a class; the classes in alphabetical order.

    Raises DataError for folders whose names are numbers, since a number is not a name.
    """
    names = folders_in(root)
    splits = {name: split for name in names if (split := split_of(name))}
    places: list[tuple[Path, str | None]] = [(root / name, split) for name, split in splits.items()]
    places = places or [(root, None)]
    rows = _Rows(root)
    if splits:
        rows.loose(root, None)
    for name in names if splits else ():
        count = len(find_media(root / name)) if name not in splits else 0
        if count:
            rows.skip("no-split", f"{name}: {count:,} media beside the split folders {', '.join(splits)}", count=count)
    findings: list[Finding] = []
    tops: list[_Top] = []
    for place, split in places:
        inside = folders_in(place)
        numbered = [name for name in inside if name.isdigit()]
        if numbered:
            raise _numbers(place)
        filled = [name for name in inside if _holds_media(place / name)]
        if len(filled) < len(inside):
            empty = [name for name in inside if name not in filled]
            findings.append(
                Finding(
                    "warning", "empty-folder", f"{place}: no media in {', '.join(empty[:MOST_SHOWN])}", count=len(empty)
                )
            )
        tops.append(_Top(place, split, tuple((name, name) for name in filled)))
        rows.loose(place, split)
    spelled: dict[str, str] = {}
    for name in sorted({name for top in tops for name, _ in top.classes}):
        spelled.setdefault(canonical_name(name), name)
    if not spelled:
        raise nothing_found(root, "a folder per class", "happy/0001.jpg or train/happy/0001.jpg")
    tops = [
        _Top(top.place, top.split, tuple((name, spelled[canonical_name(name)]) for name, _ in top.classes))
        for top in tops
    ]
    tops = _one_for_each_split(root, [top for top in tops if top.classes])
    for top in tops:
        _read_top(top, rows, stills=False)
    return _reading(rows, LabelSet.of(spelled.values()), tops, findings=[*findings, *_lacking(tops)], names=None)


def _holds_media(folder: Path) -> bool:
    try:
        return bool(find_media(folder))
    except MediaError:
        return True  # it cannot be listed; reading it says so


def _lacking(tops: Sequence[_Top]) -> list[Finding]:
    """A class that one split has and another lacks may be no class at all."""
    sets = {top.split: {name for _, name in top.classes} for top in tops}
    everything = sorted(set().union(*sets.values()))
    lacking = [f"{split} has no {name!r}" for split, has in sets.items() for name in everything if name not in has]
    if not lacking:
        return []
    return [
        Finding(
            "warning",
            "class-of-one-part",
            "; ".join(lacking[:MOST_SHOWN]),
            "check the folders' names",
            count=len(lacking),
        )
    ]


def _numbers(place: Path) -> DataError:
    return DataError(
        f"{place}: class folders named with numbers; a number is not a name, and the orders differ between repositories: "
        "rename the folders, or list the samples in a CSV with class names (`ferbench index csv my.csv`)",
        reason="layout",
    )


# --- both -------------------------------------------------------------------------------------------------------------


def _read_top(top: _Top, rows: _Rows, *, stills: bool) -> None:
    """The samples of every class folder. Ids are of the class's name, unless two folders are of one class."""
    count = Counter(class_name for _, class_name in top.classes)
    for folder, class_name in top.classes:
        place = top.place / folder
        try:
            folder.encode()
            found = list(_samples(place, stills=stills))
        except (MediaError, UnicodeEncodeError) as error:
            rows.skip("unreadable", f"{relative(place, rows.root)!a}: {error}")
            continue
        rows.add(top, folder, class_name, class_name if count[class_name] == 1 else folder, found)


def _samples(place: Path, *, stills: bool) -> Iterator[FoundMedia]:
    """What is in a class folder. Its own numbered pictures are stills; those of a folder in it are the frames of a clip."""
    for found in find_media(place):
        named_like_class = found.path == "." or canonical_name(PurePosixPath(found.path).name) in ALIASES
        if found.media == "frames" and not found.error and (stills or named_like_class):
            inside = "" if found.path == "." else f"{found.path}/"
            for file in frame_files(place / found.path):
                yield FoundMedia(inside + file.name, "image")
        else:
            yield found


def _reading(
    rows: _Rows, labels: LabelSet, tops: Sequence[_Top], *, findings: Sequence[Finding],
    names: re.Pattern[str] | None, images: str | None = None,
) -> Reading:  # fmt: skip
    found = rows.columns
    columns: dict[str, Any] = {
        "sample_id": sample_ids(found["id_path"], found["media"]),
        "path": found["path"],
        "media": found["media"],
        "label": labels.labels_of(found["class"]),
        "status": ["failed" if error else None for error in found["error"]],
        "error": found["error"],
    }
    findings = list(findings)
    if any(found["split"]):
        columns["split"] = found["split"]
    if names:
        matches = [names.fullmatch(PurePosixPath(path).stem) for path in found["path"]]
        for column in names.groupindex:
            columns[column] = [
                match[column].upper() if match and column == "subject" else match and match[column] for match in matches
            ]
        odd = [path for path, match in zip(found["path"], matches, strict=True) if not match]
        if odd:
            unknown, shown = " and ".join(names.groupindex), ", ".join(odd[:MOST_SHOWN])
            what = f"{len(odd):,} files are not named as usual, so that their {unknown} is unknown: {shown}"
            findings.append(Finding("warning", "bad-name", what, count=len(odd)))
    places = ", ".join(f"{relative(top.place, rows.root)}{f' ({top.split})' if top.split else ''}" for top in tops)
    return Reading(
        columns=columns,
        labels=labels,
        layout=f"a folder per class in {places}",
        rows_read=rows.read,
        facts={"layout": "class-folders", **({"images": images} if images else {})},
        skipped=rows.tally.skips(),
        findings=tuple(findings),
        files_known=True,
    )
