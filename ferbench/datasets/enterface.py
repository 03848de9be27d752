"""eNTERFACE'05: a folder per subject, emotion and sentence, with one video in it.

    subject 1/anger/sentence 1/s1_an_1.avi

The number in a file's name is not the subject's (folder `subject 11` holds `s12_an_1.avi`), and some names are misspelt
(`s_3_ha_1`, `s16_su_3avi`), so the folders say everything. Subject 6 has one video per emotion with all sentences in it.
Sources: albanie/mcnDatasets, enterface/README.md; MAE-DFER, saved/data/enterface.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import Found, frame_counts, kind_to_read, videos_and_folders
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import nothing_found
from ferbench.findings import Finding

_SUBJECT = re.compile(r"subject[ _-]?0*([0-9]+)", re.IGNORECASE)
_SENTENCE = re.compile(r"sentence[ _-]?0*([0-9]+)", re.IGNORECASE)
_CODE = re.compile(r"s_?[0-9]+_([a-z]{2})(_.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Place:
    """What the folders above a video, and for the class its name too, say."""

    subject: str | None
    label: int | None
    sentence: str | None
    """None for a video of all sentences."""
    code: int | None
    """The class in the file's name."""


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the folders of all videos; a video of all sentences is left out and noted, unless `unsegmented=keep`."""
    placed = [(clip, _place(clip, card)) for clip in videos_and_folders(root)]
    placed = [(clip, place) for clip, place in placed if clip.kind == "video" or _is_clip_folder(clip, place)]
    kind = kind_to_read([clip for clip, _ in placed], options["media"])
    placed = [(clip, place) for clip, place in placed if clip.kind == kind]
    if not any(place.subject and place.label is not None for _, place in placed):
        raise nothing_found(root, card.name, "subject 1/anger/sentence 1/s1_an_1.avi")
    tally = Tally()
    names = ("sample_id", "path", "media", "label", "subject", "sentence")
    columns: dict[str, list[object]] = {name: [] for name in names}
    seen: dict[str, str] = {}
    differing: list[str] = []
    for clip, place in placed:
        if place.subject is None or place.label is None:
            tally.skip("bad-name", f"{clip.path}: no 'subject 1' and class among its folders")
            continue
        sample = f"subject_{place.subject}/{card.labels.names[place.label]}/sentence_{place.sentence or 'all'}"
        if place.sentence is None and options["unsegmented"] == "skip":
            tally.skip("unsegmented", f"{clip.path}: a video of all sentences", severity="note")
        elif sample in seen:
            tally.skip("duplicate", f"{clip.path}: the same sentence as {seen[sample]}")
        else:
            seen[sample] = clip.path
            row = (sample, clip.path, kind, place.label, place.subject, place.sentence)
            for column, value in zip(names, row, strict=True):
                columns[column].append(value)
            if place.code not in (None, place.label):
                differing.append(clip.path)
    findings = _differing(differing)
    if kind == "frames":
        counts, empty = frame_counts(root, list(seen.values()))
        columns["num_frames"] = list(counts)
        findings += empty
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=f"{len(placed):,} {'videos' if kind == 'video' else 'frame folders'} in folders of subjects",
        rows_read=len(placed),
        facts={"media": kind},
        skipped=tally.skips(),
        findings=tuple(findings),
        files_known=True,
    )


def _place(clip: Found, card: Card) -> _Place:
    """Read the path from the inside out: the nearest folder that says a thing is believed."""
    *folders, _ = clip.path.split("/")
    subject = next((match[1] for part in reversed(folders) if (match := _SUBJECT.fullmatch(part.strip()))), None)
    sentence = next((match[1] for part in reversed(folders) if (match := _SENTENCE.fullmatch(part.strip()))), None)
    emotion = next((part for part in (*reversed(folders), clip.name) if part in card.labels), None)
    match = _CODE.fullmatch(clip.name)
    code = card.codes.get(match[1].lower()) if match else None
    label = card.labels.label_of(emotion) if emotion else None
    coded = card.labels.label_of(code) if code else None
    return _Place(subject, coded if label is None else label, sentence, coded)


def _is_clip_folder(clip: Found, place: _Place) -> bool:
    """True for a folder of frames: one in the folder of a sentence, named like a video."""
    return bool(_CODE.fullmatch(clip.name)) and place.subject is not None and place.sentence is not None


def _differing(paths: list[str]) -> list[Finding]:
    if not paths:
        return []
    message = f"{len(paths):,} files are named after another class than their folder: {', '.join(paths[:3])}"
    return [Finding("warning", "label-conflict", message, "the class of the folder is taken", count=len(paths))]
