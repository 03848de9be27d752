"""SOURCE on the command line, whatever it is, as a Manifest: a manifest file, or folders, videos and images.

`bundled:NAME` is the manifest of a dataset whose media come with ferbench.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ferbench import remote
from ferbench.cards import read_card
from ferbench.dialects import read_any_manifest
from ferbench.errors import DataError, UsageError
from ferbench.labels import ALIASES, LabelSet, canonical_name
from ferbench.manifest import Manifest, manifest_of
from ferbench.media import FoundMedia, find_media, frame_files, media_of

BUNDLED = "bundled:"
MANIFEST_SUFFIXES = (".parquet", ".csv")
LABELS_FROM = ("none", "folder")
NUMBERED = ("auto", "frames", "stills")
"""What a folder of numbered images is: the frames of one clip, or stills. `auto` takes it for frames unless the folder is
named after an expression: `happy/0001.jpg` is a picture of a happy face, `clip_17/0001.jpg` a frame."""


def open_source(
    *sources: str,
    root: Path | None = None,
    labels_from: str = "none",
    numbered: str = "auto",
    exclude: Sequence[Path] = (),
) -> Manifest:
    """The samples of one manifest, or of any number of folders, videos and images, in a stable order; paths or URLs.

    `labels_from="folder"` takes the first folder below a source as the class name of a sample. `numbered` says what a
    folder of numbered images is (`NUMBERED`). `exclude` are folders that are not looked into: where outputs go. The root
    is the source's own folder, or what several sources have in common.
    Raises DataError with reason `no-media` for a source without media, UsageError for a path that does not exist.
    """
    for what, value, known in (
        ("labels come from", labels_from, LABELS_FROM),
        ("numbered images are", numbered, NUMBERED),
    ):
        if value not in known:
            raise UsageError(f"{what} {' or '.join(known)}, not {value!r}")
    sources = tuple(str(remote.path_of(source)) if remote.is_url(source) else source for source in sources)
    manifests = [source for source in sources if source.startswith(BUNDLED) or Path(source).suffix in MANIFEST_SUFFIXES]
    if manifests and len(sources) > 1:
        raise UsageError(f"{manifests[0]}: a manifest stands alone; it cannot be joined with other sources")
    if manifests:
        return _listed(manifests[0], root)
    shut = [Path(os.path.abspath(path)) for path in exclude]
    items = {item.place: item for source in sources for item in _look(Path(source), labels_from, numbered, shut)}
    return _manifest_of_items(sorted(items.values(), key=lambda item: item.place.parts), _base(sources, items))


def _listed(source: str, root: Path | None) -> Manifest:
    if not source.startswith(BUNDLED):
        if not remote.exists(source):
            raise UsageError(f"{source}: no such file or folder")
        return read_any_manifest(Path(source), root=root)
    name = source.removeprefix(BUNDLED)
    card = read_card(name)
    if card.manifest is None:
        raise UsageError(f"the media of {name!r} do not come with ferbench; give the folder of your copy")
    return read_any_manifest(card.manifest).replace(name=name)


@dataclass(frozen=True, slots=True)
class _Item:
    place: Path
    """Absolute."""
    media: str
    error: str | None
    class_name: str | None


def _look(source: Path, labels_from: str, numbered: str, exclude: Sequence[Path]) -> list[_Item]:
    """Everything at or below one source."""
    place = Path(os.path.abspath(source))  # without '..', so that paths below it can be compared
    found = remote.look(place)
    if found is None:
        raise UsageError(f"{source}: no such file or folder")
    if place in exclude:
        raise UsageError(f"{source}: the output folder is the source's own; choose another")
    if not found.is_folder:
        media = media_of(place)
        if media is None:
            raise DataError(f"{source}: neither a video, an image, a folder nor a manifest", reason="no-media")
        return [_Item(place, media, None, _class_name(PurePosixPath(place.name), labels_from))]
    items = [
        _Item(place / found.path, found.media, found.error, _class_name(PurePosixPath(found.path), labels_from))
        for found in _told_apart(find_media(place), place, numbered, labels_from)
        if not any((place / found.path).is_relative_to(folder) for folder in exclude)
    ]
    if not items:
        raise DataError(f"{source}: no video, image or frame folder below it", reason="no-media")
    return items


def _told_apart(found: Sequence[FoundMedia], place: Path, numbered: str, labels_from: str) -> list[FoundMedia]:
    """Frame folders that are folders of stills replaced by their images."""
    result = []
    for item in found:
        if item.media != "frames" or item.error or numbered == "frames":
            result.append(item)
        elif numbered == "stills" or _is_class_folder(item.path, place, labels_from):
            names = [file.relative_to(place).as_posix() for file in frame_files(place / item.path)]
            result += [FoundMedia(name, "image") for name in names]
        else:
            result.append(item)
    return result


def _is_class_folder(relative: str, place: Path, labels_from: str) -> bool:
    """By its name; or by its place, where the first folder is the class: a clip would lie one deeper."""
    is_class_level = labels_from == "folder" and len(PurePosixPath(relative).parts) == 1
    return is_class_level or canonical_name((place / relative).name) in ALIASES


def _class_name(relative: PurePosixPath, labels_from: str) -> str | None:
    if labels_from == "none":
        return None
    if len(relative.parts) < 2:
        raise DataError(f"{relative}: it is in no class folder, and labels were to come from folders")
    return relative.parts[0]


def _base(sources: Sequence[str], items: dict[Path, _Item]) -> Path:
    """The folder that paths and ids are relative to; every item lies below it."""
    places = [Path(os.path.abspath(source)) for source in sources]
    return Path(os.path.commonpath([place.parent if place in items else place for place in places]))


def _manifest_of_items(items: Sequence[_Item], base: Path) -> Manifest:
    labels = LabelSet.of(sorted({item.class_name for item in items if item.class_name is not None}))
    paths = [item.place.relative_to(base).as_posix() for item in items]
    return manifest_of(
        {
            "sample_id": sample_ids(paths, [item.media for item in items]),
            "path": paths,
            "media": [item.media for item in items],
            "label": [None if item.class_name is None else labels.label_of(item.class_name) for item in items],
            "status": ["failed" if item.error else None for item in items],
            "error": [item.error for item in items],
        },
        labels=labels,
        name=base.name or "source",
        root=base,
    )


def sample_ids(paths: Sequence[str], media: Sequence[str]) -> list[str]:
    """An id for each relative path: the path without its suffix, or with it where that would not be unique.

    `a.mp4` becomes `a`; `a.mp4` beside `a.webm`, or beside a folder `a` with media in it, stays `a.mp4`. A frame folder
    has no suffix, whatever dots its name has.
    """
    stems = [
        path if kind == "frames" else PurePosixPath(path).with_suffix("").as_posix()
        for path, kind in zip(paths, media, strict=True)
    ]
    count = Counter(stems)
    folders = {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents}
    return [stem if count[stem] == 1 and stem not in folders else path for path, stem in zip(paths, stems, strict=True)]
