"""eNTERFACE'05: 44 subjects, with spaces in names, file numbers that are not the subjects', and what is known to lack."""

from __future__ import annotations

from pathlib import Path

from trees import write

CODES = {"anger": "an", "disgust": "di", "fear": "fe", "happiness": "ha", "sadness": "sa", "surprise": "su"}


def paths() -> list[str]:
    """Videos below `subject N`: all sentences in one for subject 6; subject 23 lacks three of happiness."""
    found = []
    for subject in range(1, 45):
        in_names = subject + 1 if subject >= 11 else subject
        for emotion, code in CODES.items():
            if subject == 6:
                found.append(f"subject 6/{emotion}/s6_{code}.avi")
                continue
            for sentence in range(1, 6):
                if (subject, emotion) != (23, "happiness") or sentence > 3:
                    found.append(f"subject {subject}/{emotion}/sentence {sentence}/s{in_names}_{code}_{sentence}.avi")
    return found


def fabricate(root: Path) -> None:
    """The whole copy below `root/enterface database`."""
    for path in paths():
        write(root / "enterface database" / path)
