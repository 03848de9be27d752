r"""The `mafw` dialect: MAFW's own fold lists, a video's name and its class by name.

    00025.mp4 anger\r\n                                   no_caption: one space, CRLF
    00025.mp4\tanger\t<Chinese>\t<English>\r\n            with_caption: tabs, GBK, CRLF

Classes are the eleven words of MAFW; a compound class joins its words with `_`, in the manifest's order: sadness_surprise.

Variants
    release    Train & Test Set/{single,compound}/{no_caption,with_caption}/set_1/{train,test}.txt
    s2d        MAFW/anno/…, the same files as S2D ships them below its `data/`
    emoclip    Train_Test_Set/{single,compound}/{no_caption_new,with_caption_new}/set_1/…; tabs in both (EmoCLIP
               DataLoaders/MAFW.py, utils.load_annotation)

A manifest with the columns caption_zh and caption_en gets both kinds of list, with_caption holding the clips that have both
captions: the published ones are 8,034 of 9,172 too. A name is the last component of a path, with `.mp4` after a folder of
frames; loaders cut it at its first dot (MAE-DFER preprocess/mafw.py), and look in one folder. There is no validation list.

Read are both kinds, by their columns, under any of these names; where a folder has both, no_caption says which clips there
are. A name becomes the folder `00025`, as published loaders take it, or the video `00025.mp4` where the root holds that.
"""

from __future__ import annotations

import re
from pathlib import Path

from ferbench.cards import find_card
from ferbench.dialects.lists import (
    Part,
    ShortNames,
    card_name,
    manifest_of_parts,
    refuse_options,
    rows_of_parts,
    whole_source,
)
from ferbench.dialects.mafw_lists import MafwRow, clips_with_captions, read_rows
from ferbench.dialects.options import Content, ExportOptions, ImportOptions
from ferbench.dialects.words import ClassWords
from ferbench.errors import LabelError, ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample

DIALECT = "mafw"
_FOLDERS = {
    "release": "Train & Test Set/{kind}/{caption}/set_{fold}/{part}.txt",
    "s2d": "MAFW/anno/{kind}/{caption}/set_{fold}/{part}.txt",
    "emoclip": "Train_Test_Set/{kind}/{caption}_new/set_{fold}/{part}.txt",
}
VARIANTS = tuple(_FOLDERS)
FILES = re.compile(
    r"(Train & Test Set|MAFW/anno|Train_Test_Set)/(single|compound)/(no|with)_caption(_new)?/set_\d+/(train|test)\.txt"
)
CLASSES = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness",
    "disappointment",
)  # fmt: skip
_KINDS = {"mafw": "single", "mafw-compound": "compound"}
_CAPTIONS = ("caption_zh", "caption_en")


def format_files(manifest: Manifest, options: ExportOptions) -> dict[str, Content]:
    """A train and a test list for every fold; with captions a second pair."""
    refuse_options(
        options, DIALECT, prefix="its names are those of videos", short_count="its lines have no frame count",
        labels="classes are written by name",
    )  # fmt: skip
    if not manifest.has_values("fold"):
        raise ManifestError(f"manifest {manifest.name!r} has no folds, and the {DIALECT} dialect is files of folds")
    variant = options.variant or VARIANTS[0]
    kind = _KINDS.get(card_name(manifest)) or ("compound" if _compound(manifest.labels) else "single")
    words = ClassWords(CLASSES, DIALECT, compound=kind == "compound").of(manifest)
    captions = _captions(manifest)
    names = ShortNames(1, DIALECT, forbidden=" ")

    def lines(sample: Sample, label: int) -> tuple[bytes, bytes | None]:
        whole_source(sample, DIALECT)
        name = names.of(sample)
        stem = name.removesuffix(".mp4") if sample.media == "video" else name
        if "." in stem or not stem or sample.media == "image":
            raise ManifestError(
                f"sample {sample.sample_id!r}: the {DIALECT} dialect names .mp4 files, which loaders cut at the first dot; "
                f"{name!r} is no such file, nor a folder of its frames"
            )
        first = [f"{stem}.mp4", words.written(sample, label)]
        plain = _encoded(sample, ("\t" if variant == "emoclip" else " ").join(first))
        texts = captions.get(sample.sample_id)
        if texts is None:
            return plain, None
        if any(character in text for text in texts for character in "\t\r\n"):
            raise ManifestError(
                f"sample {sample.sample_id!r}: a caption holds a tab or a line end, and its line cannot"
            )
        return plain, _encoded(sample, "\t".join([*first, *texts]))

    files: dict[str, Content] = {}
    for fold, part, rows in rows_of_parts(manifest, options, manifest.labels, DIALECT, lines):
        if part == "validation":
            raise ManifestError(
                f"manifest {manifest.name!r} has a validation part, and MAFW's files have none; export without that part"
            )
        for caption, found in (
            ("no_caption", [plain for plain, _ in rows]),
            ("with_caption", [text for _, text in rows]),
        ):
            if caption == "no_caption" or captions:
                path = _FOLDERS[variant].format(kind=kind, caption=caption, fold=fold, part=part)
                files[path] = b"".join(text for text in found if text is not None)
    return files


def _compound(labels: LabelSet) -> bool:
    return any("_" in name.strip("_") for name in labels.names)


def _captions(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """Sample id -> Chinese and English text, of the samples that have both."""
    if not all(manifest.has_values(column) for column in _CAPTIONS):
        return {}
    ids, chinese, english = (manifest.column(name) for name in ("sample_id", *_CAPTIONS))
    texts = {name: (zh, en) for name, zh, en in zip(ids, chinese, english, strict=True)}
    return {name: (zh, en) for name, (zh, en) in texts.items() if zh is not None and en is not None}


def _encoded(sample: Sample, line: str) -> bytes:
    try:
        return f"{line}\r\n".encode("gbk")
    except UnicodeEncodeError as error:
        raise ManifestError(
            f"sample {sample.sample_id!r}: MAFW's files are GBK, which has no {line[error.start]!r}, and it is in {line!r}"
        ) from None


def read_files(place: Path, options: ImportOptions) -> Manifest:
    """One list, or a folder of them; `--dataset mafw` or `mafw-compound` chooses where both lie together.

    Classes are those of the dataset's card, without one those of the card that has all names. Raises ManifestError with
    file and line for a line that does not fit, and for captions of a clip that no_caption does not list.
    """
    refuse_options(options, DIALECT, prefix="its names are those of videos", labels="classes are read by name")
    files = read_rows(place, _KINDS.get(options.dataset))
    rows, captions, notes = clips_with_captions(files)
    labels = _labels(options, rows)
    root = (options.root or (place if place.is_dir() else place.parent)).absolute()
    suffix = ".mp4" if rows and (root / f"{rows[0].clip}.mp4").is_file() else ""
    columns: dict[str, list[object]] = {"path": [f"{row.clip}{suffix}" for row in rows], "label": []}
    index: dict[str, int] = {}
    for row in rows:
        if row.name not in index:
            try:
                index[row.name] = labels.label_of(row.name)
            except LabelError as error:
                raise ManifestError(f"{row.where}: {error.message}") from None
        columns["label"].append(index[row.name])
    if captions:
        for place_in, column in enumerate(_CAPTIONS):
            columns[column] = [captions[row.clip][place_in] if row.clip in captions else None for row in rows]
    parts: list[Part] = [(row.fold, row.part) for row in rows]
    return manifest_of_parts(
        columns, parts, labels=labels, order=labels, root=root, name=options.dataset or place.stem,
        media="video" if suffix else "frames", places=[row.where for row in rows],
        files=[part for part, _ in files], provenance={"notes": notes} if notes else None,
    )  # fmt: skip


def _labels(options: ImportOptions, rows: list[MafwRow]) -> LabelSet:
    names = sorted({row.name for row in rows})
    for dataset in (options.dataset,) if options.dataset else _KINDS:
        card = find_card(dataset)
        if card and (options.dataset or all(name in card.labels for name in names)):
            return card.labels
    if all(name in LabelSet(CLASSES) for name in names):
        return LabelSet(CLASSES)
    try:
        return LabelSet.of(names)
    except LabelError as error:
        raise ManifestError(f"{rows[0].where}: {error.message}") from error
