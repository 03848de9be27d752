"""KDEF: 4,900 pictures in a folder for each session of each person."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from trees import touch_all

CODES = ("AF", "AN", "DI", "HA", "NE", "SA", "SU")
ANGLES = ("FL", "HL", "S", "HR", "FR")


def fabricate(root: Path) -> None:
    """The whole copy below `root/KDEF_and_AKDEF`, with one averaged picture in AKDEF."""
    for session, gender, number in product("AB", "FM", range(1, 36)):
        person = f"{session}{gender}{number:02d}"
        suffix = "JPG" if number % 7 else "jpg"
        pictures = [f"{person}{code}{angle}.{suffix}" for code, angle in product(CODES, ANGLES)]
        touch_all(root / "KDEF_and_AKDEF/KDEF" / person, pictures)
    touch_all(root / "KDEF_and_AKDEF/AKDEF", ["AFFANHR.TIF"])
