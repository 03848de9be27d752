"""JAFFE: 213 pictures of ten women in one folder, some with the odd names that copies have."""

from __future__ import annotations

from pathlib import Path

from trees import touch_all

SUBJECTS = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
CLASSES = {"AN": 30, "DI": 29, "FE": 32, "HA": 31, "NE": 30, "SA": 31, "SU": 30}


def names() -> list[str]:
    """`KA.AN1.1.tiff`, …; every 50th with two dots, every 60th as .tif."""
    found = []
    for code, count in CLASSES.items():
        for index in range(count):
            number = len(found) + 1
            dots, suffix = ("." if number % 50 else ".."), ("tiff" if number % 60 else "tif")
            found.append(f"{SUBJECTS[index % 10]}.{code}{index // 10 + 1}{dots}{number}.{suffix}")
    return found


def fabricate(root: Path) -> None:
    """The whole copy below `root/jaffe`."""
    touch_all(root / "jaffe", [*names(), "README_FIRST.txt", "Thumbs.db"])
