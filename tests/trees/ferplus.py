"""FER+: votes that every published count holds for, in either file, and empty pictures in `data/FER2013*/`.

As in the real file, an image name is not the number of its row, and one name occurs in two rows.
"""

from __future__ import annotations

from pathlib import Path

from trees import link_all, spread, write

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
UNNAMED = {"Training": 148, "PublicTest": 10, "PrivateTest": 15}

NEW = {
    "Training": ((8740, 7287, 3149, 3014, 2100, 119, 532, 119), 27956, 28389, 28559, 28561),
    "PublicTest": ((1182, 865, 415, 351, 287, 24, 62, 13), 3505, 3553, 3579, 3579),
    "PrivateTest": ((1090, 893, 396, 384, 273, 18, 83, 16), 3505, 3546, 3573, 3574),
}
LABEL = {
    "Training": ((8733, 7284, 3136, 3022, 2098, 116, 536, 120), 27947, 28385, 28556, 28558),
    "PublicTest": ((1180, 862, 411, 348, 289, 25, 60, 16), 3508, 3555, 3579, 3579),
    "PrivateTest": ((1083, 892, 394, 382, 269, 16, 86, 15), 3507, 3545, 3573, 3573),
}
"""Usage -> per class by majority; then how many rows crossentropy, argmax, argmax-of-8 keep, and how many are named."""

TWO_CLASSES = "5,5,0,0,0,0,0,0,0,0"  # kept by crossentropy and argmax
SCATTERED = "4,0,0,0,0,0,0,0,3,3"  # by argmax alone
UNKNOWN = "1,0,0,0,0,0,0,0,9,0"  # by argmax-of-8 alone
NOT_A_FACE = "0,0,0,0,0,0,0,0,0,10"  # by no rule


def votes(usage: str, counts: dict) -> list[str]:
    """The ten votes of every named row of a part."""
    majority, crossentropy, argmax, of_8, named = counts[usage]
    kept = [",".join("10" if column == label else "0" for column in range(10)) for label in spread(majority)]
    for total, row in ((crossentropy, TWO_CLASSES), (argmax, SCATTERED), (of_8, UNKNOWN), (named, NOT_A_FACE)):
        kept += [row] * (total - len(kept))
    return kept


def new_lines() -> list[str]:
    """fer2013new.csv: header, then the rows without a name and the others, part by part."""
    lines = [HEADER]
    number = 0
    for usage in FOLDERS:
        lines += [f"{usage},,{NOT_A_FACE}"] * UNNAMED[usage]
        for row, text in enumerate(votes(usage, NEW)):
            # The tenth row of Training has the name of the ninth.
            number += usage != "Training" or row != 9
            lines.append(f"{usage},fer{number - 1:07d}.png,{text}")
    return lines


def label_lines(usage: str) -> list[str]:
    """One of the three label.csv."""
    first = sum(LABEL[each][4] for each in list(FOLDERS)[: list(FOLDERS).index(usage)])
    return [f'fer{first + row:07d}.png,"(0, 0, 48, 48)",{text}' for row, text in enumerate(votes(usage, LABEL))]


def fabricate_votes(root: Path, *, labels: bool = False) -> None:
    """fer2013new.csv, or the three label.csv, without pictures."""
    if not labels:
        write(root / "fer2013new.csv", "\n".join(new_lines()) + "\n")
        return
    for usage, folder in FOLDERS.items():
        write(root / "data" / folder / "label.csv", "\n".join(label_lines(usage)) + "\n")


def fabricate(root: Path) -> None:
    """fer2013new.csv and its pictures, as generate_training_data.py puts them."""
    fabricate_votes(root)
    for usage, folder in FOLDERS.items():
        names = {line.split(",")[1] for line in new_lines() if line.startswith(f"{usage},fer")}
        link_all(root / "data" / folder, sorted(names))
