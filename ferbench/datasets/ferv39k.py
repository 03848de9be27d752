"""FERV39k: two lists of all scenes, and a folder of face crops for every clip.

    Action/Sad/0010 Sad

No header, a space, and the suffix `.csv`: one loader calls next(reader) and loses the first clip. Sources: MAE-DFER,
preprocess/ferv39k.py; S2D, data/FERV39K/Annotation, with the header `path,id` and integers in alphabetical order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import find_files, frame_counts, walk_sparsely
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import nothing_found, relative
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.labels import LabelSet, canonical_name
from ferbench.textfiles import numbered_lines, whole_number

_OFFICIAL = re.compile(r"(train|test)_All\.csv", re.IGNORECASE)
_OTHER = re.compile(r"(train|test)\.csv", re.IGNORECASE)
_OTHER_HOME = re.compile(r"annotation|all_scenes", re.IGNORECASE)
_LINE = re.compile(r"(?P<path>.*\S)\s*[,\s]\s*(?P<label>[^\s,]+)")
_FOLDERS = {"faces": r"2_ClipsforFaceCrop", "scenes": r"3_ClipsforScenImages"}


@dataclass(frozen=True, slots=True)
class _Row:
    scene: str
    emotion: str
    """Name of the folder."""
    clip: str
    """`Action/Sad/0010`."""
    split: str
    label: str
    where: str


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read both lists; DataError when there is none."""
    lists = find_lists(root)
    if not lists:
        raise nothing_found(root, card.name, "4_setups/All_scenes/train_All.csv and test_All.csv")
    tally = Tally()
    rows: list[_Row] = []
    rows_read = 0
    for split, path in sorted(lists.items(), reverse=True):
        found, lines = _rows(path, split, tally)
        rows += found
        rows_read += lines
    where = relative(next(iter(lists.values())).parent, root)
    order, base, findings = _order(rows, card, where)
    kept: dict[str, _Row] = {}
    labels: list[int] = []
    for row in rows:
        label = _label(row.label, order)
        if label is None:
            tally.skip("label-range", f"{row.where}: label {row.label!r} is neither a class nor in 0..{len(order) - 1}")
        elif row.clip in kept:
            tally.skip("duplicate", f"{row.where}: {row.clip!r} is already in {kept[row.clip].where}")
        else:
            kept[row.clip] = row
            labels.append(label)
    findings += _folder_finding(list(kept.values()), labels, order)
    folder = _clips_folder(root, options["media"], list(kept.values()))
    paths = [f"{folder}/{clip}" if folder != "." else clip for clip in kept]
    frames, empty = frame_counts(root, paths)
    return Reading(
        columns={
            "sample_id": list(kept),
            "path": paths,
            "media": ["frames"] * len(kept),
            "num_frames": frames,
            "label": labels,
            "split": [row.split for row in kept.values()],
            "scene": [row.scene for row in kept.values()],
        },
        labels=order,
        layout=f"lists {', '.join(path.name for path in lists.values())} in {where}, clips in {folder}",
        rows_read=rows_read,
        base=base,
        facts={"layout": "names" if base is None else "integers"},
        skipped=tally.skips(),
        findings=(*findings, *empty),
    )


def find_lists(root: Path) -> dict[str, Path]:
    """Split -> list: the official names first, else `train.csv`, `test.csv` in `Annotation` or `all_scenes`."""
    for name, home in ((_OFFICIAL, re.compile(".*")), (_OTHER, _OTHER_HOME)):
        found = [path for path in find_files(root, name.pattern) if home.fullmatch(path.parent.name)]
        folders = sorted({path.parent for path in found})
        if len(folders) > 1:
            names = ", ".join(relative(folder, root) for folder in folders)
            raise DataError(
                f"{root}: lists in {len(folders)} folders ({names}); name the folder of one", reason="layout"
            )
        if found:
            return {path.stem.split("_")[0].lower(): path for path in found}
    return {}


def _rows(path: Path, split: str, tally: Tally) -> tuple[list[_Row], int]:
    """The rows of a list, and how many lines it has besides its header."""
    rows: list[_Row] = []
    lines = 0
    for index, (number, line) in enumerate(numbered_lines(path)):
        where = f"{path}:{number}"
        match = _LINE.fullmatch(line.strip())
        parts = match["path"].replace("\\", "/").split("/")[-3:] if match else []
        if match and index == 0 and match["path"].lower() in ("path", "video", "video_name"):
            continue
        lines += 1
        if match is None or len(parts) < 3 or not all(parts) or ".." in parts:
            tally.skip("bad-row", f"{where}: expected 'Scene/Emotion/0000 Emotion', got {line.strip()!r}")
        else:
            rows.append(_Row(parts[0], parts[1], "/".join(parts), split, match["label"], where))
    return rows, lines


def _label(text: str, order: LabelSet) -> int | None:
    number = whole_number(text)
    if number is not None:
        return number if 0 <= number < len(order) else None
    return order.label_of(text) if text in order else None


def _order(rows: Sequence[_Row], card: Card, where: str) -> tuple[LabelSet, int | None, list[Finding]]:
    """The class order of integers: the one in which they say the same as the folders' names. Names need none."""
    numbers = [(row, number) for row in rows for number in (whole_number(row.label),) if number is not None]
    if not numbers:
        return card.labels, None, []
    orders = {"S2D's order": card.order_for("s2d"), "the official order": card.labels}

    def agreeing(name: str) -> int:
        names = [canonical_name(each) for each in orders[name].names]
        return sum(0 <= number < len(names) and names[number] == canonical_name(row.emotion) for row, number in numbers)

    best = max(orders, key=agreeing)
    said = f"as the folders of {agreeing(best):,} of {len(numbers):,} clips say"
    message = f"{where}: labels are integers, read 0-based in {best}, {said}"
    severity = "note" if agreeing(best) == len(numbers) else "error"
    return orders[best], 0, [Finding(severity, "label-base", message, "the official lists hold class names")]


def _folder_finding(rows: Sequence[_Row], labels: Sequence[int], order: LabelSet) -> list[Finding]:
    """A warning where a clip lies in the folder of another class than its label."""
    differing = [
        f"{row.clip} is {order.names[label]} ({row.where})"
        for row, label in zip(rows, labels, strict=True)
        if canonical_name(row.emotion) != canonical_name(order.names[label])
    ]
    if not differing:
        return []
    message = f"{len(differing):,} clips have another label than their folder says: {', '.join(differing[:3])}"
    return [Finding("warning", "label-conflict", message, "the label of the list is taken", count=len(differing))]


def _clips_folder(root: Path, wanted: str, rows: Sequence[_Row]) -> str:
    """The folder with a folder per scene, relative to the root; zips nest `2_ClipsforFaceCrop` in itself."""
    pattern = "|".join(_FOLDERS.values()) if wanted == "auto" else _FOLDERS[wanted]
    scenes = {row.scene for row in rows}
    named: list[Path] = []
    for folder, found in walk_sparsely(root):
        if not re.fullmatch(pattern, folder.name, re.IGNORECASE):
            continue
        if any(entry.name in scenes and entry.is_dir() for entry in found):
            named.append(folder)
            if wanted != "auto" or re.fullmatch(_FOLDERS["faces"], folder.name, re.IGNORECASE):
                return relative(folder, root)
    if named:
        return relative(named[0], root)
    if wanted == "auto" and any((root / row.scene / row.emotion).is_dir() for row in rows[:1]):
        return "."
    return "2_ClipsforFaceCrop" if wanted == "auto" else _FOLDERS[wanted]
