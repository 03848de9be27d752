"""AffectNet: the older release with all its rows, and the newer one in any size.

The older release's folders of pictures are links to one folder, since only names are looked at: 1,442 folders of 288
pictures, as many as 414,799 rows need, hold 288 files.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trees import link_all, spread, write

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
TRAIN = (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750, 33088, 11645, 82415)
VALIDATION = (500,) * 11
PER_FOLDER = 288


def line(number: int, expression: int) -> str:
    """Row `number`: its picture, a face box, two landmarks, expression, valence and arousal."""
    value = "-2,-2" if expression > 7 else "0.785714,-0.055556"
    return f"{number // PER_FOLDER + 1}/{number % PER_FOLDER:04x}.JPG,13,14,89,90,1.5;2.5;3;4,{expression},{value}"


def csv_lines(train: Sequence[int] = TRAIN, validation: Sequence[int] = VALIDATION) -> tuple[list[str], list[str]]:
    """The rows of both lists, without header."""
    first = sum(train)
    return (
        [line(number, expression) for number, expression in enumerate(spread(train))],
        [line(first + number, expression) for number, expression in enumerate(spread(validation))],
    )


def fabricate(root: Path) -> None:
    """The older release; validation.csv has no header."""
    train, validation = csv_lines()
    write(root / "Manually_Annotated_file_lists/training.csv", "\n".join([HEADER, *train]) + "\n")
    write(root / "Manually_Annotated_file_lists/validation.csv", "\n".join(validation) + "\n")
    images = root / "Manually_Annotated/Manually_Annotated_Images"
    link_all(images / "1", [f"{number:04x}.JPG" for number in range(PER_FOLDER)])
    for number in range(2, (len(train) + len(validation)) // PER_FOLDER + 2):
        (images / str(number)).symlink_to("1")


def npy(value: object) -> bytes:
    """The bytes of np.save of one value: `"3"` as text, 3 as a number."""
    file = io.BytesIO()
    np.save(file, np.array(value))
    return file.getvalue()


def fabricate_set(folder: Path, expressions: Sequence[int], *, as_text: bool = True) -> None:
    """`train_set` or `val_set` of the newer release, in the order given; equal files are hard links."""
    kind = str if as_text else float
    images = [f"{number}.jpg" for number in range(len(expressions))]
    link_all(folder / "images", images)
    notes = folder / "annotations"
    # A folder per content, from which the links are made, would be in the way: the first file of each is linked.
    for suffix, contents in (
        ("exp", [npy(kind(expression)) for expression in range(11)]),
        ("val", [npy(kind(0.25))] * 11),
        ("aro", [npy(kind(-0.5))] * 11),
    ):
        names: dict[bytes, list[str]] = {}
        for number, expression in enumerate(expressions):
            names.setdefault(contents[expression], []).append(f"{number}_{suffix}.npy")
        for content, files in names.items():
            link_all(notes, files)
            for start in range(0, len(files), 50_000):
                write(notes / files[start], content)
    link_all(notes, [f"{number}_lnd.npy" for number in range(len(expressions))])
