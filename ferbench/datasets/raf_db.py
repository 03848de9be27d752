"""RAF-DB, basic and compound: one list of names and numbers, pictures in `Image/aligned` or `Image/original`.

    train_00001.jpg 5
    test_0001.jpg 5

The prefix of the name is the split. Re-packs have a folder per part and class instead, and its numbers say the order:

    {train,test}/{1..7}/              RAF-DB's own numbers (Kaggle; POSTER++ calls the test part `valid`)
    {train,test}/{0..6}/              AffectNet's order (MA-Net, EfficientFace)
    {train,test}/happiness/, …        names

Sources: Erasing-Attention-Consistency, raf-basic/EmoLabel/list_patition_label.txt; MFER, datasets/raf_dataset.py
(`<stem>_aligned.jpg`); MA-Net and EfficientFace, README; POSTER_V2, main.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ferbench.cards import Card
from ferbench.datasets.part_folders import Part, Picture, find_parts, list_pictures
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import find, nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.textfiles import detect_base, numbered_lines, whole_number

SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
"""Prefix of a name, or name of a folder -> split. Some copies call the test part val."""
SETS = {"raf-db": "basic", "raf-db-compound": "compound"}
"""Card -> the folder of its half of the full download, in which both lists have the same name."""


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the list, or the folders of a re-pack; DataError when there is neither."""
    layout = options.get("layout", "auto")
    path = _list_path(root, card) if layout != "folders" else None
    if path is not None:
        return _read_list(root, path, card, options)
    if layout != "list":
        parts = find_parts(root, SPLITS, lambda name: _is_class(name, card.labels))
        if parts:
            return _read_folders(root, parts, card, options)
    raise nothing_found(
        root, card.name, f"EmoLabel/list_patition_label.txt, or train/ and test/ with folders 1..{len(card.labels)}"
    )


# --- the list -----------------------------------------------------------------------------------------------------------


def _list_path(root: Path, card: Card) -> Path | None:
    """The list of this card's half; DataError when only the other's is here, or when several are."""
    lists = find(root, r"list_pa(r)?tition_label\.txt")
    own = SETS.get(card.name, "")
    others = [path for path in lists if path.parent.parent.name.lower() in set(SETS.values()) - {own}]
    left = [path for path in lists if path not in others]
    if others and not left:
        name = next(name for name, half in SETS.items() if half == others[0].parent.parent.name.lower())
        raise DataError(f"{others[0]}: this is the list of {name}; index it as {name}", reason="layout")
    if len(left) > 1:
        left = [path for path in left if path.parent.parent.name.lower() == own] or left
    if len(left) > 1:
        names = ", ".join(relative(path, root) for path in left)
        raise DataError(f"{root}: {len(left)} label lists ({names}); name the folder of one of them", reason="layout")
    return left[0] if left else None


def _read_list(root: Path, path: Path, card: Card, options: Mapping[str, str]) -> Reading:
    tally = Tally()
    rows: list[tuple[str, str, int, str]] = []
    read_rows = 0
    for number, line in numbered_lines(path):
        read_rows += 1
        where = f"{path}:{number}"
        fields = line.split()
        label = whole_number(fields[1]) if len(fields) == 2 else None
        split = SPLITS.get(fields[0].split("_")[0].lower())
        if label is None:
            tally.skip("bad-row", f"{where}: expected 'name label', got {line.strip()!r}")
        elif split is None:
            tally.skip("bad-row", f"{where}: {fields[0]!r} begins neither with train_ nor with test_")
        elif "/" in fields[0] or "\\" in fields[0]:
            tally.skip("bad-row", f"{where}: {fields[0]!r} is a path; the list holds names of files")
        else:
            rows.append((fields[0], split, label, where))
    base, findings = detect_base(
        [label for *_, label, _ in rows], card.labels, expected=card.label_base or 0, where=str(path)
    )
    images = _images_folder(path, root, options["images"])
    columns: dict[str, list[object]] = {name: [] for name in ("sample_id", "path", "media", "label", "split")}
    seen: set[str] = set()
    for name, split, number, where in rows:
        stem = PurePosixPath(name).stem.removesuffix("_aligned")
        if not 0 <= number - base < len(card.labels):
            tally.skip("label-range", f"{where}: label {number} is not in {base}..{base + len(card.labels) - 1}")
        elif stem in seen:
            tally.skip("duplicate", f"{where}: {stem!r} occurs a second time")
        else:
            seen.add(stem)
            picture = f"{stem}_aligned.jpg" if images.name.lower() == "aligned" else f"{stem}.jpg"
            for column, value in zip(
                columns, (stem, relative(images / picture, root), "image", number - base, split), strict=True
            ):
                columns[column].append(value)
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=f"official list {relative(path, root)}, pictures in {relative(images, root)}",
        rows_read=read_rows,
        base=base,
        facts={"layout": "list", "images": images.name.lower()},
        skipped=tally.skips(),
        findings=tuple(findings),
    )


def _images_folder(list_path: Path, root: Path, wanted: str) -> Path:
    """`Image/aligned` or `Image/original` beside `EmoLabel`, in any nesting of the inner zips."""
    top = list_path.parent.parent
    if top != root and root not in top.parents:
        # The list lies in the root itself, without its EmoLabel.
        top = list_path.parent
    # In basic/basic/ the pictures may have been unpacked one level up.
    for place in (top, top.parent) if top != root else (top,):
        for name in ("aligned", "original") if wanted == "auto" else (wanted,):
            folders = [folder for folder in find(place, name) if folder.is_dir()]
            if folders:
                return folders[-1] if (folders[0] / name) in folders else folders[0]
    return top / "Image" / ("aligned" if wanted == "auto" else wanted)


# --- folders ------------------------------------------------------------------------------------------------------------


def _is_class(name: str, labels: LabelSet) -> bool:
    return name in labels or (name.isascii() and name.isdigit() and int(name) <= len(labels))


def _read_folders(root: Path, parts: list[Part], card: Card, options: Mapping[str, str]) -> Reading:
    tally = Tally()
    # A copy that has both `test` and `valid` made itself a validation part; where there is no `test`, `valid` is it.
    has_test = any(part.folder.name.lower() == "test" for part in parts)
    parts = [
        Part(part.folder, "validation", part.classes)
        if has_test and part.folder.name.lower() in ("val", "valid", "validation")
        else part
        for part in parts
    ]
    pictures, files = list_pictures(root, parts, tally, stem=lambda name: name.removesuffix("_aligned"))
    numbers = {int(name) for part in parts for name in part.classes if name.isdigit()}
    order, base, how, findings = _folder_order(numbers, card, options.get("order", "auto"))
    kept, labels = [], []
    for picture in pictures:
        if picture.class_folder.isdigit():
            label = int(picture.class_folder) - base
        else:
            label = order.label_of(picture.class_folder)
        if 0 <= label < len(order):
            kept.append(picture)
            labels.append(label)
        else:
            tally.skip(
                "label-range",
                f"{picture.path}: folder {picture.class_folder} is not in {base}..{base + len(order) - 1}",
            )
    top = relative(parts[0].folder.parent, root)
    return Reading(
        columns={
            "sample_id": [picture.sample_id for picture in kept],
            "path": [picture.path for picture in kept],
            "media": ["image"] * len(kept),
            "label": labels,
            "split": [picture.split for picture in kept],
        },
        labels=order,
        layout=f"re-pack with a folder per class in {top}, {how}",
        rows_read=files,
        base=base if numbers else None,
        facts={"layout": "folders"},
        skipped=tally.skips(),
        findings=(*findings, *_wrong_part(pictures)),
        files_known=True,
    )


def _folder_order(numbers: set[int], card: Card, wanted: str) -> tuple[LabelSet, int, str, list[Finding]]:
    """(class order, first number, the same in words, what to say about it) of folders that have numbers."""
    if not numbers:
        return card.labels, 0, "class names", []
    zero, top = 0 in numbers, len(card.labels) in numbers
    base = 0 if zero and not top else 1
    findings = []
    if zero == top:
        message = (
            f"folders {', '.join(map(str, sorted(numbers)))} do not tell whether they start at 0 or 1; taken as 1-based"
        )
        findings.append(Finding("warning", "label-base", message, "check that the classes are what they should be"))
    theirs = card.orders.get("ma-net")
    if wanted == "ma-net" or (wanted == "auto" and base == 0 and theirs is not None):
        order, whose = theirs or card.labels, "AffectNet's order, as MA-Net's"
    else:
        order, whose = card.labels, "RAF-DB's order"
    how = f"folders {base}..{base + len(order) - 1} in {whose}"
    if base == 0 or wanted != "auto":
        message = f"{how}: {base} {order.names[0]}, {base + 1} {order.names[1]}, {base + 2} {order.names[2]}, …"
        advice = "look at some pictures; -o order=raf-db or -o order=ma-net says it otherwise"
        findings.append(Finding("warning", "folder-order", message, advice if theirs else ""))
    return order, base, how, findings


def _wrong_part(pictures: list[Picture]) -> list[Finding]:
    """Pictures whose official name says another part than their folder."""
    wrong = [
        picture
        for picture in pictures
        if picture.sample_id.startswith(("train_", "test_")) and picture.sample_id.split("_")[0] != picture.split
    ]
    if not wrong:
        return []
    message = f"{len(wrong):,} pictures lie in another part than their name says, first {wrong[0].path}"
    advice = "the official split goes by the name; results on this copy are not comparable"
    return [Finding("warning", "other-split", message, advice, count=len(wrong))]
