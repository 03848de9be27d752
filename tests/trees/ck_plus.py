"""CK+: 593 sequences of 123 subjects, 327 of them, of 118 subjects, labelled; Emotion-FAN's fold sizes and class counts."""

from __future__ import annotations

from pathlib import Path

from trees import spread, touch_all, write

CLASSES = (45, 18, 59, 25, 69, 28, 83)
"""Codes 1 to 7: anger, contempt, disgust, fear, happy, sadness, surprise."""
FOLDS = (33, 39, 40, 35, 30, 37, 29, 29, 33, 22)
FIRST_FOLD = (2, 1, 7, 4, 7, 4, 8)
SUBJECTS, LABELLED, SEQUENCES = 123, 118, 593


def sequences() -> list[tuple[str, str, int, int]]:
    """(subject, sequence, code or 0 for no label, frames). Subjects are S005, S010, …; every 25th has no label."""
    subjects = [f"S{5 * number:03d}" for number in range(1, SUBJECTS + 1)]
    bare = subjects[12::25]
    labelled = [subject for subject in subjects if subject not in bare]
    assert len(labelled) == LABELLED
    rest = [whole - first for whole, first in zip(CLASSES, FIRST_FOLD, strict=True)]
    codes = iter([*spread(FIRST_FOLD), *spread(rest)])
    counts = dict.fromkeys(subjects, 0)
    found = []
    for fold, size in enumerate(FOLDS):
        members = labelled[fold :: len(FOLDS)]
        for number in range(size):
            subject = members[number % len(members)]
            counts[subject] += 1
            found.append((subject, f"{counts[subject]:03d}", next(codes) + 1, 4 + number % 3))
    for number in range(SEQUENCES - len(found)):
        subject = subjects[number % SUBJECTS] if number >= len(bare) else bare[number]
        counts[subject] += 1
        found.append((subject, f"{counts[subject]:03d}", 0, 4))
    return sorted(found)


def fabricate(root: Path) -> None:
    """The four zips unpacked below `root`; Landmarks and FACS for one sequence only."""
    for subject, sequence, code, frames in sequences():
        stems = [f"{subject}_{sequence}_{number:08d}" for number in range(1, frames + 1)]
        touch_all(root / "cohn-kanade-images" / subject / sequence, [f"{stem}.png" for stem in stems])
        emotion = root / "Emotion" / subject / sequence
        emotion.mkdir(parents=True)
        if code:
            (emotion / f"{stems[-1]}_emotion.txt").write_text(f"   {code:.7e}\n")
    write(root / "Landmarks/S005/001/S005_001_00000004_landmarks.txt", "  2.0e+02   3.0e+02\n")
    write(root / "FACS/S005/001/S005_001_00000004_facs.txt", "   1.0000000e+00   2.0000000e+00\n")
    write(root / "cohn-kanade-images/.DS_Store")
