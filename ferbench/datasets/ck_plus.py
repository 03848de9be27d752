"""CK+: posed sequences from neutral to the peak, and one number for those whose expression could be named.

    cohn-kanade-images/S005/001/S005_001_00000011.png
    Emotion/S005/001/S005_001_00000011_emotion.txt      `   3.0000000e+00`

Of 593 sequences 327 have an emotion file; the other folders are empty, and that is normal. Codes: 0 neutral, 1 anger,
2 contempt, 3 disgust, 4 fear, 5 happy, 6 sadness, 7 surprise. Sources: the ReadMe of the distribution; Emotion-FAN's
ten-fold list for the counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.sequences import SequenceRows
from ferbench.datasets.tree import files_in, folders_in, nothing_found, relative, walk
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.media import frame_files
from ferbench.textfiles import detect_base, read_text, whole_number

EXPRESSIONS = LabelSet.of(["anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"])
"""Codes 1 to 7. Nothing is labelled 0: neutral is the first frame of every sequence."""
SUBJECT = re.compile(r"S\d{3}", re.IGNORECASE)
LABELS = re.compile(r"emotion", re.IGNORECASE)
OTHER = re.compile(r"landmarks|facs", re.IGNORECASE)
MOST_SHOWN = 3


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the tree; DataError when it has no images or no Emotion folder."""
    images, emotions = _tops(root, card)
    tally = Tally()
    frames = options["frames"]
    neutral = card.labels.label_of("neutral") if frames == "last-3-neutral" else None
    rows = SequenceRows(frames, neutral)
    found: list[tuple[str, str, list[str], int, Path]] = []
    other_peaks: list[str] = []
    for subject, sequence in sorted(_sequences(images) | _sequences(emotions)):
        place, labels = images / subject / sequence, emotions / subject / sequence
        names = [path.name for path in frame_files(place)] if place.is_dir() else []
        files = files_in(labels, (".txt",))
        if not names:
            if files or place.is_dir():
                what = f"{labels / files[0]}: labelled" if files else str(place)
                rows.skip(tally, "no-frames", f"{what}, but no picture is in {relative(place, root)}")
        elif not files:
            rows.skip(tally, "no-label", relative(place, root), severity="note")
        elif len(files) > 1:
            rows.skip(tally, "bad-row", f"{labels}: expected one emotion file, found {', '.join(files)}")
        else:
            path = labels / files[0]
            code = _code(path, tally, rows)
            if code is not None:
                found.append((subject, sequence, names, code, path))
                peak = files[0].lower().removesuffix(".txt").removesuffix("_emotion")
                if Path(names[-1]).stem.lower() != peak:
                    other_peaks.append(f"{relative(place, root)} ends with {names[-1]}, {files[0]} labels {peak}")
    base, findings = detect_base([code for *_, code, _ in found], EXPRESSIONS, expected=1, where=str(emotions))
    for subject, sequence, names, code, path in found:
        if not 0 <= code - base < len(EXPRESSIONS):
            what = f"{path}:1: label {code} is not in {base}..{base + len(EXPRESSIONS) - 1}"
            rows.skip(tally, "label-range", what)
            continue
        label = card.labels.label_of(EXPRESSIONS.names[code - base])
        folder = relative(images / subject / sequence, root)
        rows.add(f"{subject}_{sequence}", folder, names, label=label, subject=subject, tally=tally)
    if other_peaks:
        findings.append(
            Finding(
                "warning",
                "peak-frame",
                f"{len(other_peaks)} labelled sequences do not end with the frame that is labelled: "
                + "; ".join(other_peaks[:MOST_SHOWN]),
                "pictures are missing at the end or were renamed; the last frames are then not the peak",
                count=len(other_peaks),
            )
        )
    return Reading(
        columns=rows.columns,
        labels=card.labels,
        layout=f"pictures in {relative(images, root)}, labels in {relative(emotions, root)}",
        rows_read=rows.read,
        # The files say 1 to 7 whatever the card; one with neutral counts its classes from the unused code 0.
        base=base + (card.label_base or 0) - 1,
        facts={"layout": "official", "frames": frames},
        skipped=tally.skips(),
        findings=tuple(findings),
        files_known=True,
    )


def _tops(root: Path, card: Card) -> tuple[Path, Path]:
    """The folders of subjects with pictures and with labels, in any nesting of the zips."""
    tops = [folder for folder in walk(root) if any(SUBJECT.fullmatch(name) for name in folders_in(folder))]
    named = {folder: relative(folder, root) for folder in tops}
    labels = [folder for folder in tops if LABELS.search(named[folder])]
    images = [
        folder for folder in tops if not LABELS.search(named[folder]) and not OTHER.search(named[folder])
    ]  # fmt: skip
    for what, folders in (("cohn-kanade-images/S005/001/…", images), ("Emotion/S005/001/…_emotion.txt", labels)):
        if not folders:
            raise nothing_found(root, card.name, what)
        if len(folders) > 1:
            names = ", ".join(relative(folder, root) for folder in folders)
            raise DataError(f"{root}: {len(folders)} folders may be {what} ({names}); keep one", reason="layout")
    return images[0], labels[0]


def _sequences(top: Path) -> set[tuple[str, str]]:
    """(subject, sequence) of every folder two levels below."""
    subjects = [name for name in folders_in(top) if SUBJECT.fullmatch(name)]
    return {(subject, sequence) for subject in subjects for sequence in folders_in(top / subject)}


def _code(path: Path, tally: Tally, rows: SequenceRows) -> int | None:
    """The number in an emotion file, None after a note of what is wrong with it."""
    try:
        text = read_text(path).strip()
    except DataError as error:
        rows.skip(tally, "bad-row", error.message)
        return None
    code = whole_number(text)
    if code is None:
        rows.skip(tally, "bad-row", f"{path}:1: expected one number, got {text[:40]!r}")
    return code
