"""ExpW: `label/label.lst` with 91,793 faces, three to a picture, and empty pictures in `image/origin`."""

from __future__ import annotations

from pathlib import Path

from trees import link_all, spread, write

CLASSES = (3671, 3995, 1088, 30537, 10559, 7060, 34883)
FACES = 3


def lines() -> list[str]:
    """name, face, top, left, right, bottom, confidence, label."""
    return [
        f"happy_actor_{number // FACES}.jpg {number % FACES} 28 {113 + number % FACES} 226 141 {20 + number % 7}.92 {label}"
        for number, label in enumerate(spread(CLASSES))
    ]


def fabricate(root: Path) -> None:
    """The whole copy below `root`."""
    listed = lines()
    write(root / "label/label.lst", "\n".join(listed) + "\n")
    link_all(root / "image/origin", sorted({line.split()[0] for line in listed}))
