"""RAVDESS: everything is in the name of a file, wherever it lies.

    01-01-06-01-02-01-12.mp4     modality, channel, emotion, intensity, statement, repetition, actor

Modality 01 is picture and sound, 02 picture, 03 sound; every video zip holds 01 and 02 of the same recording. Sources:
zenodo.org/record/1188976; MAE-DFER, saved/data/ravdess, which takes 02.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.clip_tree import frame_counts, kind_to_read, videos_and_folders
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import nothing_found
from ferbench.findings import Finding

_NAME = re.compile(r"([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})")
_CHANNELS = {"01": "speech", "02": "song"}
_INTENSITIES = {"01": "normal", "02": "strong"}
_MODALITIES = ("01", "02", "03")
_ACTORS = 24


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the names of all files; those of another modality or channel than asked for are counted and left out."""
    found = [
        clip for clip in videos_and_folders(root) if clip.kind == "video" or _NAME.fullmatch(clip.name)
    ]  # a folder of another name is a folder
    kind = kind_to_read(found, options["media"])
    tally = Tally()
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            "sample_id", "path", "media", "label", "subject", "channel", "intensity", "statement", "repetition",
        )
    }  # fmt: skip
    clips = [clip for clip in found if clip.kind == kind]
    if not any(_NAME.fullmatch(clip.name) for clip in clips):
        raise nothing_found(root, card.name, "Actor_01/01-01-01-01-01-01-01.mp4")
    seen: dict[str, str] = {}
    for clip in clips:
        match = _NAME.fullmatch(clip.name)
        wrong = _wrong(match, card)
        if match is None or wrong:
            tally.skip("bad-name", f"{clip.path}: {wrong}")
            continue
        modality, channel, emotion, intensity, statement, repetition, actor = match.groups()
        if modality != options["modality"]:
            tally.skip(
                "other-modality", f"{clip.path}: modality {modality}, asked for {options['modality']}", severity="note"
            )
        elif options["channel"] not in ("both", _CHANNELS[channel]):
            tally.skip(
                "other-channel", f"{clip.path}: {_CHANNELS[channel]}, asked for {options['channel']}", severity="note"
            )
        elif clip.name in seen:
            tally.skip("duplicate", f"{clip.path}: the same recording as {seen[clip.name]}", severity="note")
        else:
            seen[clip.name] = clip.path
            label = card.labels.label_of(card.codes[emotion])
            row = (
                clip.name, clip.path, kind, label, actor, _CHANNELS[channel], _INTENSITIES[intensity], int(statement),
                int(repetition),
            )  # fmt: skip
            for column, value in zip(columns, row, strict=True):
                columns[column].append(value)
    findings: list[Finding] = []
    if kind == "frames":
        counts, findings = frame_counts(root, [str(path) for path in columns["path"]])
        columns["num_frames"] = list(counts)
    return Reading(
        columns=columns,
        labels=card.labels,
        layout=f"{len(clips):,} {'videos' if kind == 'video' else 'frame folders'} with seven fields in their names",
        rows_read=len(clips),
        facts={"media": kind},
        skipped=tally.skips(),
        findings=tuple(findings),
        files_known=True,
    )


def _wrong(match: re.Match[str] | None, card: Card) -> str:
    """What is wrong with a name; empty for nothing."""
    if match is None:
        return "expected seven two-digit fields, as in 01-01-06-01-02-01-12"
    modality, channel, emotion, intensity, _, _, actor = match.groups()
    for what, value, known in (
        ("modality", modality, _MODALITIES),
        ("channel", channel, tuple(_CHANNELS)),
        ("emotion", emotion, tuple(card.codes)),
        ("intensity", intensity, tuple(_INTENSITIES)),
    ):
        if value not in known:
            return f"{what} {value} is not one of {', '.join(known)}"
    return "" if 1 <= int(actor) <= _ACTORS else f"actor {actor} is not in 01..{_ACTORS}"
