"""FER2013: pixels in the rows of a csv, or pictures in class folders.

    emotion,pixels,Usage                        fer2013.csv; icml_face_data.csv has ` Usage` and ` pixels`
    0,70 80 82 … 106,Training                   Usage is Training, PublicTest or PrivateTest

    train/angry/Training_10118481.jpg           copies with class folders; their `test` holds both test parts,
    test/angry/PrivateTest_10131363.jpg         which only the names of the files tell apart

A sample of the csv is the picture `fer2013_00000.png` of its row, wherever below the root such pictures are. With the
option `images` they are written to that folder first, where it is not there or empty. Sources: microsoft/FERPlus,
src/generate_training_data.py; Facial-Expression-Recognition.Pytorch, preprocess_fer2013.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.fer2013_pixels import (
    FERPLUS_NAMES,
    ROW_NAMES,
    Pictures,
    csv_rows_of,
    extract_pixels,
    find_pictures,
    images_folder,
)
from ferbench.datasets.part_folders import Part, Picture, find_parts, list_pictures
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import find, nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.textfiles import detect_base, whole_number

USAGES = {b"training": "train", b"publictest": "validation", b"privatetest": "test"}
"""Usage, in lower case -> split."""
FOLDERS = {
    "train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation",
    "publictest": "validation", "test": "test", "privatetest": "test",
}  # fmt: skip
"""Name of a part's folder -> split."""
PREFIXES = {"Training_": "train", "PublicTest_": "validation", "PrivateTest_": "test"}
"""What the pictures of the best-known copy with class folders begin with -> the csv's Usage as split."""


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the csv, or class folders where there is none; DataError when there is neither."""
    path = _csv_path(root)
    if path is not None:
        return _read_csv(root, path, card, options)
    parts = find_parts(root, FOLDERS, lambda name: name in card.labels or name in map(str, range(len(card.labels))))
    if parts:
        return _read_folders(root, parts, card)
    raise nothing_found(root, card.name, "fer2013.csv, icml_face_data.csv, or train/ and test/ with class folders")


# --- the csv ------------------------------------------------------------------------------------------------------------


def _csv_path(root: Path) -> Path | None:
    """The csv; the competition's download has the rows a second time as icml_face_data.csv."""
    for name in (r"fer2013\.csv", r"icml_face_data\.csv"):
        found = [path for path in find(root, name) if path.is_file()]
        if len(found) > 1:
            names = ", ".join(relative(path, root) for path in found)
            raise DataError(f"{root}: {len(found)} csv files ({names}); name the folder of one", reason="layout")
        if found:
            return found[0]
    return None


def _read_csv(root: Path, path: Path, card: Card, options: Mapping[str, str]) -> Reading:
    tally = Tally()
    findings: list[Finding] = []
    folder = images_folder(root, options.get("images", ""), card.name)
    if folder is not None and (not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))):
        bad = extract_pixels(path, folder).findings
        if bad:
            first = "; ".join(finding.message for finding in bad[:3])
            advice = "their rows are in the manifest as failed; get a whole copy of the csv"
            findings.append(Finding("error", "bad-pixels", f"{len(bad):,} rows: {first}", advice, count=len(bad)))
    pictures = find_pictures(root, folder, ROW_NAMES)
    rows_read = 0
    names: list[str] = []
    numbers: list[int] = []
    splits: list[str] = []
    where: list[int] = []
    for row in csv_rows_of(path):
        rows_read += 1
        place = f"{path}:{row.line}"
        if row.fields is None:
            tally.skip("bad-row", f"{place}: expected three fields, emotion, pixels and Usage")
            continue
        emotion, _, usage = row.fields
        number = whole_number(emotion.decode("latin-1"))
        split = USAGES.get(usage.lower())
        if number is None:
            tally.skip("bad-row", f"{place}: emotion must be a whole number, got {emotion[:20].decode('latin-1')!r}")
        elif split is None:
            shown = usage[:20].decode("latin-1")
            tally.skip("bad-row", f"{place}: Usage must be Training, PublicTest or PrivateTest, got {shown!r}")
        else:
            names.append(row.name)
            numbers.append(number)
            splits.append(split)
            where.append(row.line)
    base, based = detect_base(numbers, card.labels, expected=card.label_base or 0, where=str(path))
    kept = [index for index, number in enumerate(numbers) if 0 <= number - base < len(card.labels)]
    for index in sorted(set(range(len(numbers))) - set(kept)):
        last = base + len(card.labels) - 1
        tally.skip("label-range", f"{path}:{where[index]}: emotion {numbers[index]} is not in {base}..{last}")
    home = _home(root, path, folder, pictures)
    return Reading(
        columns={
            "sample_id": [names[index] for index in kept],
            "path": [pictures.paths.get(names[index], f"{home}{names[index]}.png") for index in kept],
            "media": ["image"] * len(kept),
            "label": [numbers[index] - base for index in kept],
            "split": [splits[index] for index in kept],
        },
        labels=card.labels,
        layout=f"{relative(path, root)}, pictures in {', '.join(pictures.folders) or 'no folder'}",
        rows_read=rows_read,
        base=base,
        facts={"layout": "csv"},
        skipped=tally.skips(),
        findings=(*findings, *based, *pictures.finding(), *_without_pictures(root, path, pictures)),
    )


def _home(root: Path, csv: Path, folder: Path | None, pictures: Pictures) -> str:
    """Where a picture that is nowhere should be: with the others, in the folder of the option, else beside the csv."""
    place = pictures.folders[0] if pictures.folders else relative(folder or csv.parent / "images", root)
    return "" if place == "." else f"{place}/"


def _without_pictures(root: Path, csv: Path, pictures: Pictures) -> list[Finding]:
    if pictures.paths:
        return []
    theirs = len(find_pictures(root, None, FERPLUS_NAMES).paths)
    message = f"{relative(csv, root)} holds the pictures as numbers, and no folder has them as fer2013_00000.png, …"
    if theirs:
        message += f"; the {theirs:,} named as fer0000000.png are FER+'s, whose numbers are not the rows of the csv"
    advice = f"write them: `ferbench index fer2013 {root} -o images=images`"
    return [Finding("error", "no-pictures", message, advice)]


# --- class folders ------------------------------------------------------------------------------------------------------


def _read_folders(root: Path, parts: list[Part], card: Card) -> Reading:
    tally = Tally()
    pictures, files = list_pictures(root, parts, tally, stem=str)
    splits, layout, findings = _splits(pictures, parts)
    folders = {name for part in parts for name in part.classes}
    label_of = {name: int(name) if name.isdigit() else card.labels.label_of(name) for name in folders}
    numbered = any(name.isdigit() for name in folders)
    return Reading(
        columns={
            "sample_id": [picture.sample_id for picture in pictures],
            "path": [picture.path for picture in pictures],
            "media": ["image"] * len(pictures),
            "label": [label_of[picture.class_folder] for picture in pictures],
            "split": splits,
        },
        labels=card.labels,
        layout=f"class folders in {', '.join(relative(part.folder, root) for part in parts)}",
        rows_read=files,
        base=0 if numbered else None,
        facts={"layout": layout},
        skipped=tally.skips(),
        findings=findings,
        files_known=True,
    )


def _splits(pictures: list[Picture], parts: list[Part]) -> tuple[list[str], str, tuple[Finding, ...]]:
    """(split of every picture, what kind of copy it is, what to say about it).

    A copy with only train and test has both test parts in one folder, and no published number is on that.
    """
    names = [picture.path.rpartition("/")[2] for picture in pictures]
    prefixed = [next((split for prefix, split in PREFIXES.items() if name.startswith(prefix)), None) for name in names]
    three = {part.split for part in parts} == {"train", "validation", "test"}
    if all(prefixed):
        moved = sum(split != picture.split for split, picture in zip(prefixed, pictures, strict=True))
        message = (
            f"{moved:,} pictures are in another split than their folder says: the names of the files tell "
            "PublicTest (validation) from PrivateTest (test), which this copy has in one folder"
        )
        found = (Finding("note", "merged-test", message, count=moved),) if moved else ()
        return [str(split) for split in prefixed], "named-folders", found
    splits = [picture.split for picture in pictures]
    if three:
        return splits, "three-folders", ()
    message = (
        "this copy has no PublicTest and PrivateTest of their own: its test part is both of them (7,178 pictures), and "
        "published accuracies are on PrivateTest (3,589) alone"
    )
    advice = "results on this copy are not comparable with published ones; take fer2013.csv"
    return splits, "folders", (Finding("warning", "merged-test", message, advice),)
