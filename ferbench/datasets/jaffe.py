"""JAFFE: ten women, pictures named `subject.expression+index.number`, mostly.

    YM.FE4.70.tiff   KA.HA4.32.tif   KM.NE1..17.tiff

Some copies have `.tif`, another format, or a stray dot; the name still says subject and expression. Source: the reader
read_jaffe.m by grgizem for the grammar.
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

NAME = re.compile(r"([A-Z]{2})[. _-]*([A-Z]{2})[. _-]*(\d+)(?:[. _-]+(\d+))?[. _-]*", re.IGNORECASE)
ORIGINAL = (".tiff", ".tif")


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the names of all pictures; DataError when none is a JAFFE name."""
    pictures = [folder / name for folder in walk(root) for name in files_in(folder, tuple(IMAGE_SUFFIXES))]
    # The distributed format first, so that a converted copy beside it is the duplicate.
    pictures.sort(key=lambda path: (path.suffix.lower() not in ORIGINAL, path))
    tally = Tally()
    rows: dict[str, tuple[Any, ...]] = {}
    for path in pictures:
        where = relative(path, root)
        match = NAME.fullmatch(os.path.splitext(path.name)[0])
        subject, code, index, number = (match[group] for group in (1, 2, 3, 4)) if match else ("", "", "", "")
        subject, code = subject.upper(), code.upper()
        if code not in card.codes:
            tally.skip("bad-name", f"{where}: expected a name like YM.FE4.70.tiff")
            continue
        sample_id = f"{subject}.{code}{index}" + (f".{number}" if number else "")
        if sample_id in rows:
            tally.skip("duplicate", f"{where}: {sample_id} is there already, as {rows[sample_id][1]}")
            continue
        rows[sample_id] = (sample_id, where, "image", card.labels.label_of(card.codes[code]), subject)
    if not rows:
        raise nothing_found(root, card.name, "pictures like YM.FE4.70.tiff")
    ordered = [rows[sample_id] for sample_id in sorted(rows)]
    folders = sorted({os.path.dirname(path) or "." for _, path, *_ in ordered})
    names = ("sample_id", "path", "media", "label", "subject")
    return Reading(
        columns=dict(zip(names, map(list, zip(*ordered, strict=True)), strict=True)),
        labels=card.labels,
        layout=f"pictures in {', '.join(folders[:3])}",
        rows_read=len(pictures),
        facts={"layout": "names"},
        skipped=tally.skips(),
        files_known=True,
    )
