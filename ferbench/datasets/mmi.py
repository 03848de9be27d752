"""MMI: sessions with a video and an XML file that may name the emotion. The layout is believed, no public reader was found.

    Sessions/1/S001-001.avi   Sessions/1/S001-001.xml or session.xml      <Metatag Name="Emotion" Value="4"/>

Codes: 1 anger, 2 disgust, 3 fear, 4 happiness, 5 sadness, 6 surprise. A session of an action unit has no emotion. Where a
copy looks otherwise, a CSV of one's own (`ferbench index csv`) is the sure way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import files_in, nothing_found, relative, walk
from ferbench.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from ferbench.textfiles import whole_number

SUBJECT = re.compile(r"(S\d{3})-\d+.*", re.IGNORECASE)
UNITS = re.compile(r"oao_.*", re.IGNORECASE)
"""`oao_aucs.xml`: onset, apex and offset of action units; names no emotion."""
TEXT = 40


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read every folder with a session's XML; DataError when there is none."""
    tally = Tally()
    columns: dict[str, list[Any]] = {name: [] for name in ("sample_id", "path", "media", "label", "subject", "group")}
    read_rows = 0
    for folder in walk(root):
        notes = [name for name in files_in(folder, (".xml",)) if not UNITS.fullmatch(name)]
        for name in notes:
            read_rows += 1
            where = relative(folder / name, root)
            media = _media_of(folder, name, alone=len(notes) == 1)
            codes = _codes(folder / name)
            if isinstance(codes, str):
                tally.skip("bad-row", f"{where}: {codes}")
            elif media is None:
                tally.skip("no-media", f"{where}: no one video or picture of this session is beside it")
            elif not codes:
                tally.skip("no-label", f"{where}: it names no emotion", severity="note")
            elif len(set(codes)) > 1 or card.codes.get(codes[0], codes[0]) not in card.labels:
                tally.skip(
                    "label-range", f"{where}: emotion {', '.join(codes)[:TEXT]!r} is none of 1..{len(card.codes)}"
                )
            else:
                subject = SUBJECT.fullmatch(Path(media).stem)
                path = relative(folder / media, root)
                values = (
                    Path(path).with_suffix("").as_posix(), path,
                    "video" if Path(media).suffix.lower() in VIDEO_SUFFIXES else "image",
                    card.labels.label_of(card.codes.get(codes[0], codes[0])), subject and subject[1].upper(), folder.name,
                )  # fmt: skip
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
    if not read_rows:
        raise nothing_found(
            root, card.name, "Sessions/1/ with S001-001.avi and an XML file; list another layout in a CSV of your own"
        )
    return Reading(
        columns=columns,
        labels=card.labels,
        layout="sessions with an XML file each",
        rows_read=read_rows,
        facts={"layout": "sessions"},
        skipped=tally.skips(),
        files_known=True,
    )


def _media_of(folder: Path, note: str, *, alone: bool) -> str | None:
    """The video or picture of a session: of the XML's name, or the only one beside the only XML."""
    for suffixes in (VIDEO_SUFFIXES, IMAGE_SUFFIXES):
        found = files_in(folder, tuple(suffixes))
        named = [name for name in found if Path(name).stem == Path(note).stem]
        chosen = named or (found if alone else [])
        if len(chosen) == 1:
            return chosen[0]
    return None


def _codes(path: Path) -> list[str] | str:
    """The emotions that an XML file names, as texts; or what is wrong with the file."""
    try:
        tree = ElementTree.parse(path)
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        return f"not readable as XML ({error})"
    found = []
    for value in _emotions(tree.getroot()):
        number = whole_number(value)
        if number != 0 and value.strip():
            found.append(str(number) if number is not None else value.strip().lower())
    return found


def _emotions(element: ElementTree.Element) -> Iterator[str]:
    """Values of `<Metatag Name="Emotion" Value="…">`, of an attribute `emotion`, or the text of an element of that name."""
    for each in element.iter():
        attributes = {name.lower(): value for name, value in each.attrib.items()}
        if attributes.get("name", "").lower() == "emotion":
            yield attributes.get("value", "")
        elif "emotion" in attributes:
            yield attributes["emotion"]
        elif isinstance(each.tag, str) and each.tag.lower() == "emotion":
            yield attributes.get("value", each.text or "")
