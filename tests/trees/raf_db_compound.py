"""RAF-DB compound: `compound/EmoLabel/list_patition_label.txt` and empty pictures in `compound/Image/aligned`."""

from __future__ import annotations

from pathlib import Path

from trees import touch_all, write

TRAIN, TEST = 3162, 792


def lines() -> list[str]:
    """The list; how many pictures a class has is not published, so they take turns."""
    train = [f"train_{number:05d}.jpg {number % 11 + 1}" for number in range(1, TRAIN + 1)]
    return train + [f"test_{number:04d}.jpg {number % 11 + 1}" for number in range(1, TEST + 1)]


def fabricate(root: Path) -> None:
    """The whole copy below `root/compound`."""
    write(root / "compound/EmoLabel/list_patition_label.txt", "\n".join(lines()) + "\n")
    touch_all(root / "compound/Image/aligned", [line.split(".")[0] + "_aligned.jpg" for line in lines()])
