"""RAF-DB, basic and compound: one list of names and numbers, pictures in `Image/aligned` or `Image/original`.

    train_00001.jpg 5
    test_0001.jpg 5

The prefix of the name is the split. Sources: Erasing-Attention-Consistency, raf-basic/EmoLabel/list_patition_label.txt;
MFER, datasets/raf_dataset.py (`<stem>_aligned.jpg`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import find, nothing_found, relative
from ferbench.errors import DataError
from ferbench.textfiles import detect_base, numbered_lines, whole_number

SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test"}
"""Prefix of a name -> split. Some copies call the test part val."""


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the list; DataError when there is none."""
    lists = find(root, r"list_pa(r)?tition_label\.txt")
    if not lists:
        raise nothing_found(root, card.name, "EmoLabel/list_patition_label.txt")
    if len(lists) > 1:
        names = ", ".join(relative(path, root) for path in lists)
        raise DataError(f"{root}: {len(lists)} label lists ({names}); name the folder of one of them", reason="layout")
    (path,) = lists
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
        else:
            rows.append((fields[0], split, label, where))
    base, findings = detect_base(
        [label for *_, label, _ in rows], card.labels, expected=card.label_base or 0, where=str(path)
    )
    images = _images_folder(path, options["images"])
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
            picture = f"{stem}_aligned.jpg" if images.name == "aligned" else f"{stem}.jpg"
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
        facts={"layout": "list", "images": images.name},
        skipped=tally.skips(),
        findings=tuple(findings),
    )


def _images_folder(list_path: Path, wanted: str) -> Path:
    """`Image/aligned` or `Image/original` beside `EmoLabel`, in any nesting of the inner zips."""
    top = list_path.parent.parent
    for name in ("aligned", "original") if wanted == "auto" else (wanted,):
        folders = [folder for folder in find(top, name) if folder.is_dir()]
        if folders:
            return folders[-1] if (folders[0] / name) in folders else folders[0]
    return top / "Image" / ("aligned" if wanted == "auto" else wanted)
