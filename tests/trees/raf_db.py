"""RAF-DB basic: `EmoLabel/list_patition_label.txt` and empty pictures in `Image/aligned`."""

from __future__ import annotations

from pathlib import Path

from trees import spread, touch_all, write

TRAIN = (1290, 281, 717, 4772, 1982, 705, 2524)
TEST = (329, 74, 160, 1185, 478, 162, 680)


def lines() -> list[str]:
    """The list: train ids have five digits, test ids four."""
    train = [f"train_{number:05d}.jpg {label + 1}" for number, label in enumerate(spread(TRAIN), start=1)]
    return train + [f"test_{number:04d}.jpg {label + 1}" for number, label in enumerate(spread(TEST), start=1)]


def fabricate(root: Path) -> None:
    """The whole copy below `root/basic`."""
    write(root / "basic/EmoLabel/list_patition_label.txt", "\n".join(lines()) + "\n")
    touch_all(root / "basic/Image/aligned", [line.split(".")[0] + "_aligned.jpg" for line in lines()])
