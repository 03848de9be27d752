"""Aff-Wild2 (ABAW): one integer per frame of a video in `<video>.txt`, crops in `cropped_aligned/<video>/00001.jpg`.

    Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise        image 00001.jpg is the first integer, -1 is left out
    0
    -1

One sample per labelled frame that has a crop. 2.6 million of them: labels and numbers are arrays per video, and the columns
are Arrow from the start. Sources: xinqi-fan/ABAW2021 data/custom_dataset.py; wtomin/Multitask-Emotion-Recognition-with-
Incomplete-Labels create_annotation_file/Aff-wild2/create_train_val_annotation_file.py, `frames_to_label`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferbench.cards import Card
from ferbench.datasets.aff_wild2_layout import choose_annotations, find_layout
from ferbench.datasets.frame_labels import (
    NOT_A_NUMBER,
    FrameLabels,
    NumberedPictures,
    five_digits,
    list_pictures,
    read_frame_labels,
)
from ferbench.datasets.reading import MOST_SHOWN, Reading, Tally
from ferbench.datasets.tree import relative
from ferbench.errors import DataError, LabelError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.textfiles import numbered_lines

DISCARDED = -1
_OUTSIDE, _UNKNOWN = -2, -3
KNOWN_BAD = ("10-60-1280x720_right",)
"""Two-person recordings whose expression annotation is known to be wrong."""
NO_CROP = "no-crop"

_ADVICE = {
    "class-order": "the labels were mapped by name; code that takes the integers as they stand has wrong classes",
    "class-names": "index this copy with the card of its edition: aff-wild2 has 7 classes, aff-wild2-8 has 8",
    "no-header": "code that skips line 1 without looking loses frame 1 and shifts every other label by one",
    "header": "line 1 was taken for the line of names, as published code does; look at it",
    "frame-count": "labels may belong to other frames than the crops; compare the video's frame count with both",
    "frame-base": "numbers begin at 1 in the official crops; renumber this copy, or its labels are one frame off",
    "known-bad": "several published pipelines leave it out of training",
    "unreadable": "get the file again",
    "test-video": "complete the copy, or leave the test videos out with test=no",
    "leak": "a test video must not be among the annotated ones; it was left out of the test part",
}


class _Remarks:
    """Findings by rule, with how many there are and where the first few were."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], list[tuple[str, int]]] = {}

    def add(self, severity: str, rule: str, what: str, *, count: int = 1) -> None:
        self._entries.setdefault((severity, rule), []).append((what, count))

    def findings(self) -> list[Finding]:
        found = []
        for (severity, rule), entries in self._entries.items():
            said = "; ".join(what for what, _ in entries[:MOST_SHOWN])
            more = f"; and {len(entries) - MOST_SHOWN} more" if len(entries) > MOST_SHOWN else ""
            count = sum(count for _, count in entries)
            found.append(Finding(severity, rule, said + more, _ADVICE.get(rule, ""), count=count))
        return found


def source_video(name: str) -> str:
    """The recording a video name belongs to: the two people of one are `<video>_left` and `<video>_right`."""
    return re.sub(r"_(left|right)$", "", name)


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read an edition's annotations; DataError when there are none, or no crops to go with them."""
    layout = find_layout(root, card.name)
    fitting = [folder for folder in layout.annotations if _has_classes_of(layout.files(folder), card.labels)]
    annotations = choose_annotations(layout, options["annotations"], fitting)
    kind = layout.kind_of_crops(options["images"])
    folders = layout.crop_folders(kind)
    if not folders and options["frames"] == "cropped":
        raise DataError(
            f"{root}: annotations are in {relative(annotations, root)}, but no folder cropped_aligned or cropped is below "
            "the root; put the crops there, or index the frames without them with frames=all",
            reason="layout",
        )
    default = relative(layout.crops[0], root) if layout.crops else "cropped_aligned"
    tally, remarks = Tally(), _Remarks()
    rows_read = 0
    rows: dict[str, _Rows] = {}
    parts: dict[str, int] = {"train": 0, "validation": 0}
    files = layout.files(annotations)
    for (part, path), (labels, pictures) in zip(files, _read_videos(files, root, folders), strict=True):
        video = path.stem
        if isinstance(labels, DataError):
            remarks.add("error", "unreadable", labels.message)
            continue
        rows_read += len(labels.values)
        parts[part] += 1
        if video in rows:
            tally.skip("duplicate", f"{path}: {video!r} is annotated a second time", count=len(labels.values))
            continue
        mapped = _map(labels, card.labels, path, remarks)
        _skip_what_is_wrong(mapped, labels, card.labels, path, tally)
        _remark(video, pictures, labels, remarks)
        folder = folders.get(video, f"{default}/{video}")
        frames, count = _join(mapped, pictures, keep_all=options["frames"] == "all")
        if count:
            # A frame without a crop is ordinary, a video without any is a copy that is not complete.
            severity, rule = ("note", NO_CROP) if len(pictures.numbers) else ("error", "no-crop-folder")
            said = f"{folder}: {count:,} labelled frames have no crop"
            if options["frames"] == "all":
                remarks.add(severity, rule, said, count=count)
            else:
                tally.skip(rule, said, severity=severity, count=count)
        rows[video] = _Rows(part, folder, frames + 1, mapped[frames], pictures)
    if options["test"] == "yes":
        for video, pictures in _test_videos(layout.test_lists, root, folders, rows, remarks).items():
            rows_read += len(pictures.numbers)
            unlabelled = np.full(len(pictures.numbers), DISCARDED, np.int16)
            rows[video] = _Rows("test", folders[video], pictures.numbers, unlabelled, pictures)
            parts["test"] = parts.get("test", 0) + 1
    return Reading(
        columns=_columns(rows),
        labels=card.labels,
        layout=f"annotations in {relative(annotations, root)}, {kind} crops in "
        f"{', '.join(relative(folder, root) for folder in layout.crops) or 'no folder'}",
        rows_read=rows_read,
        base=card.label_base,
        facts={"annotations": annotations.name, "crops": kind}
        | {f"{part} videos": str(count) for part, count in parts.items()},
        skipped=tally.skips(),
        findings=tuple(remarks.findings()),
        files_known=True,
    )


def _read_videos(
    files: Sequence[tuple[str, Path]], root: Path, folders: Mapping[str, str]
) -> Iterator[tuple[FrameLabels | DataError, NumberedPictures]]:
    """What is on the disk about each annotated video, in order. Waiting for the disk is most of the work of indexing."""

    def read_video(entry: tuple[str, Path]) -> tuple[FrameLabels | DataError, NumberedPictures]:
        path = entry[1]
        pictures = list_pictures(root / folders[path.stem]) if path.stem in folders else _NO_PICTURES
        try:
            return read_frame_labels(path), pictures
        except DataError as error:
            return error, pictures

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        yield from pool.map(read_video, files)


# --- labels -----------------------------------------------------------------------------------------------------------


def _has_classes_of(files: Sequence[tuple[str, Path]], labels: LabelSet) -> bool:
    """Whether the first readable annotation names the card's classes, in any order."""
    for _, path in files:
        try:
            header = _named(read_frame_labels(path).header)
        except DataError:
            continue
        return header is not None and not header.missing_from(labels) and not labels.missing_from(header)
    return False


def _named(header: Sequence[str] | None) -> LabelSet | None:
    """A line of names as a label set; None where it is none."""
    try:
        return LabelSet.of(header) if header is not None else None
    except LabelError:
        return None


def _map(labels: FrameLabels, card: LabelSet, path: Path, remarks: _Remarks) -> NDArray[np.int16]:
    """(frames,) labels in the card's order; `DISCARDED`, `_OUTSIDE` the names, or `_UNKNOWN` to the card."""
    order = card
    where = f"{path}:{max(1, labels.first_line - 1)}"
    named = _named(labels.header)
    if labels.header is None:
        remarks.add(
            "note", "no-header", f"{path}: no line of class names; the integers are taken in the official order"
        )
    elif named is None or len(named.missing_from(card)) == len(named):
        remarks.add("warning", "header", f"{where}: expected class names, got {','.join(labels.header)[:80]!r}")
    else:
        order = named
        if named.missing_from(card) or card.missing_from(named):
            more = named.missing_from(card)
            said = f"names {more[0]!r}, which the card lacks" if more else f"lacks {card.missing_from(named)[0]!r}"
            remarks.add("warning", "class-names", f"{where}: the line of class names {said}")
        elif named.mapping_to(card) != list(range(len(card))):
            remarks.add(
                "warning", "class-order", f"{where}: the classes are in another order: {', '.join(named.names)}"
            )
    table = np.array(
        [_OUTSIDE, DISCARDED, *(_UNKNOWN if label is None else label for label in order.mapping_to(card)), _OUTSIDE],
        np.int16,
    )
    mapped: NDArray[np.int16] = table[np.clip(labels.values, -2, len(order)) + 2]
    return mapped


def _skip_what_is_wrong(
    mapped: NDArray[np.int16], labels: FrameLabels, card: LabelSet, path: Path, tally: Tally
) -> None:
    discarded = int((mapped == DISCARDED).sum())
    if discarded:
        tally.skip("discarded", f"{path}: {discarded:,} frames are -1", severity="note", count=discarded)
    for index in np.flatnonzero(mapped < DISCARDED).tolist():
        where, value = f"{path}:{labels.line_of(index)}", int(labels.values[index])
        if value == NOT_A_NUMBER:
            tally.skip("bad-row", f"{where}: expected a whole number, got {labels.odd[index][:80]!r}")
        elif mapped[index] == _UNKNOWN:
            tally.skip("unknown-class", f"{where}: label {value} is a class that the card lacks")
        else:
            tally.skip("label-range", f"{where}: label {value} is not in -1..{len(card) - 1}")


# --- frames and crops -------------------------------------------------------------------------------------------------

_NO_PICTURES = NumberedPictures(np.empty(0, np.int32), None)


def _remark(video: str, pictures: NumberedPictures, labels: FrameLabels, remarks: _Remarks) -> None:
    if video in KNOWN_BAD:
        remarks.add("warning", "known-bad", f"{video}: its expression annotation is known to be bad")
    if not len(pictures.numbers):
        return
    first, last, lines = int(pictures.numbers[0]), int(pictures.numbers[-1]), len(labels.values)
    if first == 0:
        remarks.add("warning", "frame-base", f"{video}: there is a crop numbered 0")
    # The official files have a line more than frames, or one less; only crops far beyond the labels mean something.
    if last > lines + 1:
        beyond = int((pictures.numbers > lines).sum())
        remarks.add("warning", "frame-count", f"{video}: {beyond:,} crops lie beyond its {lines:,} labelled frames")


def _join(mapped: NDArray[np.int16], pictures: NumberedPictures, *, keep_all: bool) -> tuple[NDArray[np.int32], int]:
    """0-based frames that become samples, and how many labelled frames have no crop."""
    labelled = mapped >= 0
    cropped = np.zeros(len(mapped) + 1, dtype=bool)
    cropped[pictures.numbers[pictures.numbers <= len(mapped)]] = True
    seen = labelled & cropped[1:]
    return np.flatnonzero(labelled if keep_all else seen).astype(np.int32), int(labelled.sum() - seen.sum())


def _test_videos(
    lists: Sequence[Path], root: Path, folders: Mapping[str, str], annotated: Mapping[str, object], remarks: _Remarks
) -> dict[str, NumberedPictures]:
    """Crops of the videos that the test lists name."""
    found: dict[str, NumberedPictures] = {}
    if not lists:
        remarks.add("error", "test-video", f"{root}: no expression_test_set.txt is below it")
    for path in lists:
        for number, line in numbered_lines(path):
            video = re.sub(r"\.(mp4|avi|txt)$", "", line.strip(), flags=re.IGNORECASE)
            if video in annotated:
                remarks.add("error", "leak", f"{path}:{number}: {video!r} is a test video and is annotated")
            elif video not in found:
                pictures = list_pictures(root / folders[video]) if video in folders else _NO_PICTURES
                if len(pictures.numbers):
                    found[video] = pictures
                else:
                    remarks.add("error", "test-video", f"{path}:{number}: {video[:80]!r} has no crops")
    return found


# --- columns ----------------------------------------------------------------------------------------------------------


class _Rows:
    """The samples of one video."""

    def __init__(
        self, part: str, folder: str, numbers: NDArray[np.int32], labels: NDArray[np.int16], pictures: NumberedPictures
    ) -> None:
        self.part, self.numbers, self.labels = part, numbers, labels
        self.digits = five_digits(numbers)
        self.paths = pictures.paths_of(numbers, self.digits, folder)
        self.cropped = pictures.has(numbers)


def _columns(rows: Mapping[str, _Rows]) -> dict[str, pa.ChunkedArray]:
    """Manifest columns, videos in the order of their sample ids, which are ascending then."""
    ordered = [(video, rows[video]) for video in sorted(rows, key=lambda video: f"{video}/")]

    def text(values: Sequence[pa.Array]) -> pa.ChunkedArray:
        return pa.chunked_array(list(values), pa.string())

    numbers = np.concatenate([each.numbers for _, each in ordered] or [np.empty(0, np.int32)])
    labels = np.concatenate([each.labels for _, each in ordered] or [np.empty(0, np.int16)])
    columns = {
        "sample_id": text([pc.binary_join_element_wise(pa.scalar(video), each.digits, "/") for video, each in ordered]),
        "path": text([each.paths for _, each in ordered]),
        "media": text([pa.repeat("image", len(numbers))]),
        "label": pa.chunked_array([pa.array(labels, mask=labels < 0)]),
        "group": text([pa.repeat(source_video(video), len(each.numbers)) for video, each in ordered]),
        "split": text([pa.repeat(each.part, len(each.numbers)) for _, each in ordered]),
        "frame": pa.chunked_array([pa.array(numbers, pa.int32())]),
    }
    cropped = np.concatenate([each.cropped for _, each in ordered] or [np.empty(0, bool)])
    if not cropped.all():
        there, nothing = pa.array(cropped), pa.scalar(None, pa.string())
        columns["status"] = pa.chunked_array([pc.if_else(there, nothing, pa.scalar("failed"))])
        errors = pc.binary_join_element_wise(pa.scalar(f"{NO_CROP}:"), columns["path"].combine_chunks(), " ")
        columns["error"] = pa.chunked_array([pc.if_else(there, nothing, errors)])
    return columns
