"""KDEF: 70 people, two sessions, seven expressions, five angles; the name of a picture says them all.

    KDEF_and_AKDEF/KDEF/AF01/AF01ANS.JPG      session (A, B), gender (F, M), id (01..35), expression, angle

Angles are FL, HL, S (straight), HR, FR. A person is gender and id, in both sessions together. AKDEF holds averaged
pictures and is not read. Source: the database's own description.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.tree import files_in, nothing_found, relative, walk
from ferbench.media import IMAGE_SUFFIXES

NAME = re.compile(r"([AB])([FM])(\d{2})([A-Z]{2})(FL|HL|S|HR|FR)", re.IGNORECASE)
PEOPLE = 35
"""Of each gender."""
COLUMNS = ("sample_id", "path", "media", "label", "subject", "session", "angle")


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the names of all pictures outside AKDEF; DataError when none is a KDEF name."""
    frontal = options["angles"] == "frontal"
    tally = Tally()
    rows: dict[str, tuple[Any, ...]] = {}
    read_rows = angled = 0
    for folder in walk(root):
        if "akdef" in relative(folder, root).lower().split("/"):
            continue
        for name in files_in(folder, tuple(IMAGE_SUFFIXES)):
            read_rows += 1
            where = relative(folder / name, root)
            stem = os.path.splitext(name)[0].upper()
            match = NAME.fullmatch(stem)
            if not match or match[4] not in card.codes or not 1 <= int(match[3]) <= PEOPLE:
                tally.skip(
                    "bad-name", f"{where}: expected session, gender, id, expression and angle, as in AF01ANS.JPG"
                )
            elif stem in rows:
                tally.skip("duplicate", f"{where}: {stem} is there already, as {rows[stem][1]}")
            elif frontal and match[5] != "S":
                angled += 1
            else:
                label = card.labels.label_of(card.codes[match[4]])
                rows[stem] = (stem, where, "image", label, match[2] + match[3], match[1], match[5])
    if not rows:
        raise nothing_found(root, card.name, "KDEF/AF01/AF01ANS.JPG")
    if angled:
        tally.skip("other-angle", "pictures from the side, by -o angles=frontal", severity="note", count=angled)
    ordered = [rows[stem] for stem in sorted(rows)]
    return Reading(
        columns=dict(zip(COLUMNS, map(list, zip(*ordered, strict=True)), strict=True)),
        labels=card.labels,
        layout=f"names of pictures, {options['angles']} angles",
        rows_read=read_rows,
        facts={"layout": "names"},
        skipped=tally.skips(),
        files_known=True,
    )
