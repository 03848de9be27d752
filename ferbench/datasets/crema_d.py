"""CREMA-D: actor, sentence, emotion and level are in the name of a file; the votes of the raters are in a table.

    1001_DFA_ANG_XX.flv          XX: no level asked for; LO, MD, HI for the sentence IEO

Sources: CheyneyComputerScience/CREMA-D, README.md, and its processedResults/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import frame_counts, kind_to_read, videos_and_folders
from ferbench.datasets.crema_d_votes import read_votes
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import nothing_found
from ferbench.findings import Finding

_NAME = re.compile(r"([0-9]{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX?)", re.IGNORECASE)
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}
_BROKEN = ("1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX")
"""Files that the distributors know to be damaged."""


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the names of all videos, and the votes where their table is there."""
    found = [clip for clip in videos_and_folders(root) if clip.kind == "video" or _NAME.fullmatch(clip.name)]
    kind = kind_to_read(found, options["media"])
    clips = [clip for clip in found if clip.kind == kind]
    if not any(_NAME.fullmatch(clip.name) for clip in clips):
        raise nothing_found(root, card.name, "VideoFlash/1001_DFA_ANG_XX.flv")
    tally = Tally()
    names = ("sample_id", "path", "media", "label", "subject", "sentence", "level")
    columns: dict[str, list[object]] = {name: [] for name in names}
    seen: dict[str, str] = {}
    for clip in clips:
        name = clip.name.upper()
        match = _NAME.fullmatch(name)
        emotion = card.codes.get(match[3]) if match else None
        if match is None:
            tally.skip("bad-name", f"{clip.path}: expected actor_sentence_emotion_level, as in 1001_DFA_ANG_XX")
        elif emotion is None:
            tally.skip("bad-name", f"{clip.path}: {match[3]} is not one of {', '.join(card.codes)}")
        elif name in seen:
            tally.skip("duplicate", f"{clip.path}: the same recording as {seen[name]}", severity="note")
        else:
            seen[name] = clip.path
            level = _LEVELS.get(match[4], "unspecified")
            row = (name, clip.path, kind, card.labels.label_of(emotion), match[1], match[2], level)
            for column, value in zip(names, row, strict=True):
                columns[column].append(value)
    findings = _broken(seen)
    table = None if options["votes"] == "none" else read_votes(root, card.labels, options["votes"])
    if table is not None:
        columns["votes"] = [table.votes.get(name) for name in seen]
        findings += table.findings
        findings += _without_votes([name for name in seen if name not in table.votes])
    if kind == "frames":
        counts, empty = frame_counts(root, list(seen.values()))
        columns["num_frames"] = list(counts)
        findings += empty
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=f"{len(clips):,} {'videos' if kind == 'video' else 'frame folders'}, "
        f"{f'votes from {table.path.name}' if table else 'no votes'}",
        rows_read=len(clips),
        facts={"media": kind, "votes": options["votes"] if table else "none"},
        skipped=tally.skips(),
        findings=tuple(findings),
        files_known=True,
    )


def _broken(seen: Mapping[str, str]) -> list[Finding]:
    known = [name for name in _BROKEN if name in seen]
    if not known:
        return []
    message = f"{len(known)} videos are known to be damaged: {', '.join(known)}"
    return [Finding("note", "known-broken", message, "they may fail when they are read", count=len(known))]


def _without_votes(names: list[str]) -> list[Finding]:
    if not names:
        return []
    message = f"{len(names):,} clips are not in the table of votes: {', '.join(names[:3])}"
    return [Finding("warning", "no-votes", message, "they have a label and no votes", count=len(names))]
