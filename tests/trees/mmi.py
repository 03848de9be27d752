"""MMI, as it is believed to be: a folder per session with a video and an XML file, which may name an emotion."""

from __future__ import annotations

from pathlib import Path

from trees import write

XML = '<?xml version="1.0" encoding="UTF-8"?>\n<session>\n<Metatag Name="Emotion" Value="{code}"/>\n</session>\n'
LABELLED, UNITS = 205, 20


def fabricate(root: Path) -> None:
    """205 sessions with an emotion and 20 of action units, of 30 people, below `root/Sessions`."""
    for number in range(1, LABELLED + UNITS + 1):
        name = f"S{number % 30 + 1:03d}-{number:03d}"
        code = number % 6 + 1 if number <= LABELLED else 0
        write(root / f"Sessions/{number}/{name}.avi")
        write(root / f"Sessions/{number}/{'session' if number % 2 else name}.xml", XML.format(code=code))
        write(root / f"Sessions/{number}/oao_aucs.xml", "<ActionUnits/>")
