"""Oulu-CASIA: 80 people, six posed expressions, filmed in visible and near-infrared light, under three lights.

    OriginalImg/VL/Strong/P001/Anger/000.jpeg …              whole pictures, 320x240
    PreProcess_Img/VL_Acropped/Strong/P001/Anger/000.jpeg …  cropped faces; also PreProcessImg, PreProcess

Every sequence begins neutral and ends at the peak. Source: the loaders oulu_casia_utils and others for the folders' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ferbench.cards import Card
from ferbench.datasets.reading import Reading, Tally
from ferbench.datasets.sequences import SequenceRows
from ferbench.datasets.tree import folders_in, nothing_found, relative, walk
from ferbench.errors import DataError
from ferbench.media import frame_files

SUBJECT = re.compile(r"P\d{3}", re.IGNORECASE)
KINDS = {
    "PreProcess": re.compile(r"pre_?process.*", re.IGNORECASE),
    "OriginalImg": re.compile(r"original.*", re.IGNORECASE),
}
"""Value of the option `images` -> name of the folder; the first is preferred by `auto`."""


def read(root: Path, card: Card, options: Mapping[str, str]) -> Reading:
    """Read the sequences of one spectrum and light; DataError when they are not there."""
    spectrum, light, frames = options["spectrum"], options["light"], options["frames"]
    images, place = _place(root, card, options)
    tally = Tally()
    rows = SequenceRows(frames)
    for subject in folders_in(place):
        if not SUBJECT.fullmatch(subject):
            rows.skip(tally, "bad-name", f"{relative(place / subject, root)}: expected a person like P001")
            continue
        for expression in folders_in(place / subject):
            folder = place / subject / expression
            where = relative(folder, root)
            names = [path.name for path in frame_files(folder)]
            if expression not in card.labels:
                rows.skip(tally, "unknown-class", f"{where}: {expression!r} is none of {', '.join(card.labels.names)}")
            elif not names:
                rows.skip(tally, "no-frames", f"{where}: no picture is in it")
            else:
                label = card.labels.label_of(expression)
                sequence = f"{spectrum}_{light}_{subject.upper()}_{card.labels.names[label]}"
                rows.add(
                    sequence, where, names, label=label, subject=subject.upper(), tally=tally,
                    spectrum=spectrum, light=light,
                )  # fmt: skip
    return Reading(
        columns=rows.columns,
        labels=card.labels,
        layout=f"sequences in {relative(place, root)}",
        rows_read=rows.read,
        facts={"layout": "official", "images": images},
        skipped=tally.skips(),
        files_known=True,
    )


def _place(root: Path, card: Card, options: Mapping[str, str]) -> tuple[str, Path]:
    """The kind of pictures, and the folder of people; DataError when it is not there or there are several."""
    wanted, light = options["images"], options["light"]
    spectrum = re.compile(rf"{re.escape(options['spectrum'])}([ _-]?Acropped)?", re.IGNORECASE)
    found: dict[str, list[Path]] = {}
    for folder in walk(root, depth=5):
        if folder.name.lower() != light.lower() or not spectrum.fullmatch(folder.parent.name):
            continue
        if any(SUBJECT.fullmatch(name) for name in folders_in(folder)):
            found.setdefault(_kind(folder.parent), []).append(folder)
    kinds = (*KINDS, "unknown") if wanted == "auto" else (wanted,)
    kind = next((kind for kind in kinds if kind in found), None)
    if kind is None:
        what = f"{'OriginalImg' if wanted == 'auto' else wanted}/{options['spectrum']}/{light}/P001/Anger"
        raise nothing_found(root, card.name, what)
    if len(found[kind]) > 1:
        names = ", ".join(relative(folder, root) for folder in found[kind])
        raise DataError(f"{root}: {len(found[kind])} copies of the same sequences ({names}); keep one", reason="layout")
    return kind, found[kind][0]


def _kind(folder: Path) -> str:
    """Which pictures lie below a folder, by its name (`VL_Acropped`) or that of the folder it is in."""
    if "acropped" in folder.name.lower():
        return "PreProcess"
    names = [folder.name, folder.parent.name, folder.parent.parent.name]
    return next((kind for kind, name in KINDS.items() if any(name.fullmatch(each) for each in names)), "unknown")
