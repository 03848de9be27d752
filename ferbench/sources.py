"""SOURCE on the command line, whatever it is, as a Manifest: a manifest file, a folder, one video, one image.

`bundled:NAME` is the manifest of a dataset whose media come with ferbench.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ferbench.cards import read_card
from ferbench.dialects import read_any_manifest
from ferbench.errors import DataError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.media import FoundMedia, find_media, looks_like_frames, media_of

BUNDLED = "bundled:"
MANIFEST_SUFFIXES = (".parquet", ".csv")
LABELS_FROM = ("none", "folder")


def open_source(
    source: str, *, root: Path | None = None, labels_from: str = "none", exclude: Sequence[Path] = ()
) -> Manifest:
    """The samples of a source, in a stable order.

    `labels_from="folder"` takes the first folder below the source as the class name of a sample. `exclude` are folders
    below the source that are not looked into: where outputs go.
    Raises DataError with reason `no-media` for a folder without media, UsageError for a path that does not exist.
    """
    if labels_from not in LABELS_FROM:
        raise UsageError(f"labels can come from {' or '.join(LABELS_FROM)}, not {labels_from!r}")
    if source.startswith(BUNDLED):
        return _bundled(source.removeprefix(BUNDLED))
    path = Path(source)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_file() and path.suffix in MANIFEST_SUFFIXES:
        return read_any_manifest(path, root=root)
    if path.is_file() or looks_like_frames(path):
        media = media_of(path)
        if media is None:
            raise DataError(f"{path}: neither a video, an image, a folder nor a manifest", reason="no-media")
        found = [FoundMedia(path.name, media)]
        base = path.absolute().parent
    else:
        base = path.absolute()
        if base in [folder.absolute() for folder in exclude]:
            raise UsageError(f"{path}: the output folder is the source's own; choose another")
        found = _outside(find_media(base), base, exclude)
        if not found:
            raise DataError(f"{path}: no video, image or frame folder below it", reason="no-media")
    return _manifest_of_found(found, base, labels_from)


def _bundled(name: str) -> Manifest:
    card = read_card(name)
    if card.manifest is None:
        raise UsageError(f"the media of {name!r} do not come with ferbench; give the folder of your copy")
    return read_any_manifest(card.manifest).replace(name=name)


def _outside(found: list[FoundMedia], base: Path, exclude: Sequence[Path]) -> list[FoundMedia]:
    folders = [path.absolute().relative_to(base).as_posix() for path in exclude if path.absolute().is_relative_to(base)]
    return [item for item in found if not any(PurePosixPath(item.path).is_relative_to(folder) for folder in folders)]


def _manifest_of_found(found: list[FoundMedia], base: Path, labels_from: str) -> Manifest:
    names: list[str | None] = [None] * len(found)
    if labels_from == "folder":
        for index, item in enumerate(found):
            parts = PurePosixPath(item.path).parts
            if len(parts) < 2:
                raise DataError(f"{base / item.path}: it is in no class folder, and labels were to come from folders")
            names[index] = parts[0]
    labels = LabelSet.of(sorted({name for name in names if name is not None}))
    return manifest_of(
        {
            "sample_id": sample_ids([item.path for item in found]),
            "path": [item.path for item in found],
            "media": [item.media for item in found],
            "label": [None if name is None else labels.label_of(name) for name in names],
            "status": ["failed" if item.error else None for item in found],
            "error": [item.error for item in found],
        },
        labels=labels,
        name=base.name or "source",
        root=base,
    )


def sample_ids(paths: list[str]) -> list[str]:
    """An id for each relative path: the path without its suffix, or with it where that would not be unique.

    `a.mp4` becomes `a`; `a.mp4` beside `a.webm`, or beside a folder `a` with media in it, stays `a.mp4`.
    """
    stems = [PurePosixPath(path).with_suffix("").as_posix() for path in paths]
    count = Counter(stems)
    folders = {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents}
    taken = set(paths)
    return [
        stem if count[stem] == 1 and stem not in folders and (stem == path or stem not in taken) else path
        for path, stem in zip(paths, stems, strict=True)
    ]
