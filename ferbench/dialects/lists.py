"""What list-file dialects share: which rows, which parts, how a path and a label are written, and reading them back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferbench.cards import card_of, read_card
from ferbench.dialects.options import ExportOptions, ImportOptions
from ferbench.errors import ManifestError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample, manifest_of
from ferbench.protocol import folds_of

# --- writing ----------------------------------------------------------------------------------------------------------


def usable_rows(manifest: Manifest, options: ExportOptions) -> Manifest:
    """The rows a list file can hold: those that did not fail, with at least `min_frames` frames."""
    table = manifest.table
    mask = pc.fill_null(pc.not_equal(table.column("status"), "failed"), True)
    if options.min_frames:
        mask = pc.and_(mask, pc.fill_null(pc.greater_equal(table.column("num_frames"), options.min_frames), True))
    return manifest.where(mask)


def parts_of(manifest: Manifest) -> Iterator[tuple[int | None, str, Manifest]]:
    """(fold number or None, `train` | `validation` | `test`, its rows) for every part the manifest has."""
    has_folds = manifest.has_values("fold")
    for number, fold in enumerate(folds_of(manifest), start=1):
        for part, rows in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
            if rows is not None and (has_folds or len(rows)):
                yield (number if has_folds else None), part, rows


def written_order(manifest: Manifest, options: ExportOptions, *names: str) -> LabelSet:
    """The class order of the integers to be written: `--labels`, or the variant's or dialect's own for this dataset."""
    if options.labels == "manifest":
        return manifest.labels
    if options.labels:
        order = LabelSet.of(name.strip() for name in options.labels.split(","))
        missing = manifest.labels.missing_from(order)
        if missing:
            raise UsageError(f"--labels lacks the class {missing[0]!r} of the manifest")
        return order
    card = card_of(manifest)
    if card is None or card.labels.missing_from(manifest.labels) or manifest.labels.missing_from(card.labels):
        return manifest.labels
    return card.order_for(*names)


def label_numbers(manifest: Manifest, order: LabelSet) -> list[int | None]:
    """Every row's label as an index into `order`."""
    mapping = pa.array(manifest.labels.mapping_to(order), pa.int64())
    return mapping.take(manifest.table.column("label").combine_chunks()).to_pylist()  # type: ignore[no-any-return]


def needed_label(sample: Sample, dialect: str) -> int:
    """The label; ManifestError where there is none."""
    if sample.label is None:
        raise ManifestError(f"sample {sample.sample_id!r}: the {dialect} dialect needs a label, and it has none")
    return sample.label


def needed_frames(sample: Sample, options: ExportOptions, dialect: str) -> int:
    """The frame count; ManifestError where nobody has counted."""
    if sample.num_frames is None or sample.num_frames < 1:
        raise ManifestError(
            f"sample {sample.sample_id!r}: the {dialect} dialect needs a frame count, and it has none; "
            "`ferbench check --fix` counts the frames"
        )
    return max(sample.num_frames, options.short_count)


def whole_source(sample: Sample, dialect: str) -> None:
    """ManifestError for a sample that is a range of a source: a list of paths cannot say which."""
    if sample.start_frame or sample.end_frame is not None:
        raise ManifestError(
            f"sample {sample.sample_id!r}: the {dialect} dialect names whole files, and this sample is a frame range; "
            "align it first"
        )


def written_path(
    manifest: Manifest, sample: Sample, options: ExportOptions, dialect: str, *, forbidden: str = ""
) -> str:
    """The path as the options want it; ManifestError when it holds one of `forbidden` (`" "` stands for white space)."""
    path = sample.path
    if options.prefix:
        path = options.prefix + ("" if options.prefix.endswith("/") else "/") + path
    elif options.paths == "absolute":
        path = manifest.path_of(sample).as_posix()
    for character in forbidden:
        found = any(each.isspace() for each in path) if character == " " else character in path
        if found:
            name = "white space" if character == " " else repr(character)
            raise ManifestError(
                f"sample {sample.sample_id!r}: the {dialect} dialect cannot hold {name} in a path: {path!r}; "
                "move the media, or write other paths with --prefix or --paths relative"
            )
    if "\n" in path or "\r" in path:
        raise ManifestError(f"sample {sample.sample_id!r}: a line cannot hold the line end in its path {path!r}")
    return path


# --- reading ----------------------------------------------------------------------------------------------------------


def read_order(options: ImportOptions, *names: str) -> LabelSet:
    """The class order of the integers in somebody's files; UsageError when nothing says it."""
    if options.labels:
        return LabelSet.of(name.strip() for name in options.labels.split(","))
    if options.dataset:
        return read_card(options.dataset).order_for(*names)
    raise UsageError("integers mean nothing by themselves: say --dataset NAME or --labels name,name,…")


def official_labels(options: ImportOptions, order: LabelSet) -> LabelSet:
    """The label set of the manifest: the card's, in official order, where there is a card."""
    return read_card(options.dataset).labels if options.dataset else order


def strip_prefix(paths: Sequence[str], options: ImportOptions, *, folder: Path) -> tuple[list[str], Path]:
    """Paths relative to a root, and that root. Absolute paths lose `--prefix`, or the folder they have in common.

    ManifestError for an absolute path that does not begin with the prefix.
    """
    prefix = options.prefix
    if not prefix and paths and all(path.startswith("/") for path in paths):
        prefix = os.path.commonpath([os.path.dirname(path) for path in paths])
    if not prefix:
        return list(paths), (options.root or folder).absolute()
    cut = prefix.rstrip("/") + "/"
    for path in paths:
        if not path.startswith(cut):
            raise ManifestError(f"path {path!r} does not begin with the prefix {prefix!r}; give --prefix")
    root = options.root or (Path(prefix) if prefix.startswith("/") else folder / prefix)
    return [path[len(cut) :] for path in paths], root.absolute()


def manifest_of_parts(
    rows: Mapping[str, Sequence[Any]],
    parts: Sequence[tuple[int | None, str]],
    *,
    labels: LabelSet,
    order: LabelSet,
    root: Path,
    name: str,
    media: str,
) -> Manifest:
    """One manifest of rows that may occur in several parts: `rows["path"]`, `rows["label"]` (indices into `order`) and
    any other column, with `parts[i]` = (fold or None, part) of row i.

    With fold numbers, a path's `fold` is where it is tested; rows that are only trained on get no fold, and a path that
    is tested twice, or both trained and tested in one fold, is a ManifestError. Without them the part is its `split`.
    The same path must say the same everywhere. Sample ids are the paths without suffix.
    """
    first: dict[str, int] = {}
    folds: dict[str, int] = {}
    splits: dict[str, str] = {}
    seen: dict[tuple[str, int | None], str] = {}
    names = [column for column in rows if column != "path"]
    for index, (path, (fold, part)) in enumerate(zip(rows["path"], parts, strict=True)):
        origin = first.setdefault(path, index)
        differing = [column for column in names if rows[column][origin] != rows[column][index]]
        if differing:
            column = differing[0]
            raise ManifestError(
                f"{path!r} has {column} {rows[column][origin]!r} in one file and {rows[column][index]!r} in another"
            )
        earlier = seen.setdefault((path, fold), part)
        if earlier != part:
            raise ManifestError(
                f"{path!r} is in {earlier} and in {part}{f' of fold {fold}' if fold else ''}", reason="leak"
            )
        if fold is None:
            splits[path] = part
        elif part == "test" and folds.setdefault(path, fold) != fold:
            raise ManifestError(f"{path!r} is tested in fold {folds[path]} and in fold {fold}")
    picked = np.array(list(first.values()), dtype=np.int64)
    paths = list(first)
    mapping = order.mapping_to(labels)
    columns: dict[str, Any] = {column: [rows[column][index] for index in picked] for column in names}
    columns["label"] = [None if label is None else mapping[label] for label in columns["label"]]
    columns |= {
        "sample_id": sample_ids_of(paths, media),
        "path": paths,
        "media": [media] * len(paths),
        "fold": [folds.get(path) for path in paths],
        "split": [splits.get(path) for path in paths],
    }
    return manifest_of(columns, labels=labels, name=name, root=root)


def sample_ids_of(paths: Sequence[str], media: str) -> list[str]:
    """Ids of imported samples: the path, without its suffix where it is a file and that stays unique."""
    if media == "frames":
        return list(paths)
    stems = [os.path.splitext(path)[0] for path in paths]
    return stems if len(set(stems)) == len(stems) else list(paths)


def part_files(place: Path, pattern: re.Pattern[str], dialect: str) -> list[tuple[Path, int | None, str]]:
    """(file, fold or None, part) of one list file, or of the files in a folder whose names `pattern` matches.

    `pattern` has the groups `part` and, where folds have files, `fold`. A single file of any other name is the test part of
    a fixed split. Raises ManifestError for a folder without such files, or with folds and a fixed split mixed.
    """
    if place.is_file():
        match = pattern.fullmatch(place.name)
        return [(place, *_part(match))] if match else [(place, None, "test")]
    matches = [(path, pattern.fullmatch(path.relative_to(place).as_posix())) for path in sorted(place.rglob("*"))]
    found = [(path, *_part(match)) for path, match in matches if match and path.is_file()]
    if not found:
        raise ManifestError(
            f"{place}: no list file of the {dialect} dialect is here; its names match {pattern.pattern}"
        )
    if len({fold is None for _, fold, _ in found}) > 1:
        raise ManifestError(f"{place}: files of folds and of a fixed split lie together; name one file, or clear up")
    return found


def _part(match: re.Match[str]) -> tuple[int | None, str]:
    groups = match.groupdict()
    part = {"val": "validation", "valid": "validation"}.get(groups["part"].lower(), groups["part"].lower())
    return (int(groups["fold"]) if groups.get("fold") else None), part
