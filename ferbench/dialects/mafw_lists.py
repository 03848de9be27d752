"""MAFW's list files as they lie: which they are, their lines, and the captions put to the clips they belong to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ferbench.dialects.lists import Part
from ferbench.errors import ManifestError

_FILE = re.compile(
    r"(?:(?:^|/)(?P<kind>single|compound))?(?:(?:^|/)(?:no|with)_caption(?:_new)?)?"
    r"(?:^|/)set_(?P<fold>\d+)/(?P<part>train|test)\.txt$"
)


class MafwRow(NamedTuple):
    """One line."""

    fold: int | None
    part: str
    where: str
    """`file:line`."""
    clip: str
    """The name without `.mp4`."""
    name: str
    """Class name as it stands."""
    captions: tuple[str, str] | None


Files = Sequence[tuple[Part, list[MafwRow]]]


def read_rows(place: Path, kind: str | None) -> Files:
    """((fold, part), rows) of every list at `place`; of `kind` (`single`, `compound`) where it is given.

    ManifestError where there is none, or where single and compound lists lie together.
    """
    if place.is_file():
        match = _FILE.search(place.absolute().as_posix())
        part: Part = (int(match["fold"]), match["part"]) if match else (None, "test")
        return [(part, _rows(place, part))]
    matches = [(path, _FILE.search(path.absolute().as_posix())) for path in sorted(place.rglob("*.txt"))]
    found = [(path, match) for path, match in matches if match and kind in (None, match["kind"] or kind)]
    if not found:
        raise ManifestError(
            f"{place}: no list file of the mafw dialect is here; they are …/set_1/train.txt, …/set_1/test.txt"
        )
    kinds = {match["kind"] for _, match in found}
    if len(kinds) > 1:
        raise ManifestError(f"{place}: single and compound lists lie together; say --dataset mafw or mafw-compound")
    parts = [(path, (int(match["fold"]), match["part"])) for path, match in found]
    parts.sort(key=lambda each: (each[1][0], each[1][1] != "train", each[0]))
    return [(part, _rows(path, part)) for path, part in parts]


class Clips(NamedTuple):
    """What the lists of one kind hold together."""

    rows: list[MafwRow]
    """The rows that say which clips there are: those without captions, where there are such lists."""
    captions: Mapping[str, tuple[str, str]]
    """Clip -> its Chinese and English text."""
    notes: list[str]


def clips_with_captions(files: Files) -> Clips:
    """The lists with captions must hold, of their part, the clips that have captions anywhere, with the same class.

    Where lists give a clip other captions, those that most of them give are taken, and noted: in the published files one
    clip (07213) has a word less in set_1/train.txt.
    """
    captions, notes = _captions(files)
    plain = [(part, rows) for part, rows in files if not _has_captions(rows)]
    described = [(part, rows) for part, rows in files if _has_captions(rows)]
    _once(plain)
    _once(described)
    if not any(rows for _, rows in plain):
        return Clips([row for _, rows in described for row in rows], captions, notes)
    base = {part: {row.clip: row for row in rows} for part, rows in plain}
    for part, rows in described:
        for row in rows:
            same = base.get(part, {}).get(row.clip)
            if same is None or same.name != row.name:
                what = "is not in that part" if same is None else f"is {same.name!r}"
                raise ManifestError(f"{row.where}: {row.clip!r} {what} of the lists without captions")
        listed = {row.clip for row in rows}
        for clip, row in base.get(part, {}).items():
            if clip in captions and clip not in listed:
                raise ManifestError(f"{row.where}: {clip!r} has captions in other lists, and not in this part")
    return Clips([row for _, rows in plain for row in rows], captions, notes)


def _captions(files: Files) -> tuple[dict[str, tuple[str, str]], list[str]]:
    given: dict[str, Counter[tuple[str, str]]] = {}
    for _, rows in files:
        for row in rows:
            if row.captions:
                given.setdefault(row.clip, Counter())[row.captions] += 1
    captions = {clip: texts.most_common(1)[0][0] for clip, texts in given.items()}
    notes = [
        f"{row.where}: {row.clip!r} has other captions here than in most lists; those of most lists are taken"
        for _, rows in files
        for row in rows
        if row.captions and row.captions != captions[row.clip]
    ]
    return captions, notes


def _has_captions(rows: Sequence[MafwRow]) -> bool:
    return bool(rows) and rows[0].captions is not None


def _once(files: Files) -> None:
    seen: dict[Part, MafwRow] = {}
    for part, rows in files:
        if rows and seen.setdefault(part, rows[0]) is not rows[0]:
            raise ManifestError(f"{rows[0].where}: the same part as {seen[part].where}; name one folder")


def _rows(path: Path, part: Part) -> list[MafwRow]:
    rows: list[MafwRow] = []
    for number, line in enumerate(_text(path).replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        fields = line.split("\t") if "\t" in line else line.strip().split(" ")
        if len(fields) not in (2, 4):
            raise ManifestError(
                f"{where}: expected 'name.mp4 class', or name, class and two captions with tabs between, got {line!r}"
            )
        name, emotion = fields[0].strip(), fields[1].strip()
        clip = name.removesuffix(".mp4")
        if clip == name or not clip or "." in clip or any(each.isspace() for each in clip) or not emotion:
            raise ManifestError(f"{where}: expected a name like 00025.mp4 and a class, got {name!r} and {emotion!r}")
        captions = (fields[2], fields[3]) if len(fields) == 4 else None
        if rows and (rows[0].captions is None) != (captions is None):
            raise ManifestError(f"{where}: {len(fields)} fields, unlike the first line; captions are in all or in none")
        rows.append(MafwRow(*part, where, clip, emotion, captions))
    return rows


def _text(path: Path) -> str:
    """GBK, as the official files are; UTF-8 where it is not GBK, or begins with a byte order mark.

    GBK first: two Chinese characters in GBK can be valid UTF-8, and Chinese in UTF-8 is hardly ever valid GBK.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})", reason="unreadable") from error
    for encoding in ("utf-8-sig",) if data.startswith(b"\xef\xbb\xbf") else ("gbk", "gb18030", "utf-8"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ManifestError(f"{path}: not a text file in GBK or UTF-8", reason="unreadable")
