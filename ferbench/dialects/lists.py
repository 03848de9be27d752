"""What list-file dialects share: which rows, which parts, how a path and a label are written, and reading them back."""

from __future__ import annotations

import itertools
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from ferbench.cards import card_of, read_card
from ferbench.dialects.merging import Part, manifest_of_parts, sample_ids_of
from ferbench.dialects.options import ExportOptions, ImportOptions
from ferbench.errors import DataError, ManifestError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, Sample
from ferbench.protocol import fold_numbers, folds_of
from ferbench.textfiles import numbered_lines

__all__ = [
    "Part", "ShortNames", "card_name", "label_numbers", "list_files", "list_lines", "manifest_of_parts", "needed_frames",
    "needed_label", "official_labels", "part_files", "parts_of", "read_order", "refuse_options", "rows_of_parts",
    "sample_ids_of", "strip_prefix", "usable_rows", "whole_source", "written_order", "written_path",
]  # fmt: skip

Row = TypeVar("Row")

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
    numbers = sorted(set(fold_numbers(manifest).tolist()) - {0}) if has_folds else [0]
    for number, fold in zip(numbers, folds_of(manifest), strict=True):
        for part, rows in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
            if rows is not None and (has_folds or len(rows)):
                yield (number if has_folds else None), part, rows


def rows_of_parts(
    manifest: Manifest, options: ExportOptions, order: LabelSet, dialect: str, row_of: Callable[[Sample, int], Row]
) -> Iterator[tuple[int | None, str, list[Row]]]:
    """(fold or None, part, what `row_of(sample, label in order)` makes of its samples) for every part.

    Each sample is looked at once, however many folds list it; samples in no part are not looked at.
    """
    usable = usable_rows(manifest, options)
    if manifest.has_values("fold"):
        listed = usable.where(pc.is_valid(usable.table.column("fold")))
    else:
        parts = pa.array(["train", "validation", "test"])
        listed = usable.where(pc.is_in(usable.table.column("split"), parts))
    made: dict[str, Row] = {}
    for sample, label in zip(listed.samples(), label_numbers(listed, order), strict=True):
        needed_label(sample, dialect)
        assert label is not None
        made[sample.sample_id] = row_of(sample, label)
    for fold, part, rows in parts_of(manifest):
        yield fold, part, [made[name] for name in rows.column("sample_id") if name in made]


def card_name(manifest: Manifest) -> str:
    """The dataset of a manifest: its card's name, else its own name in lower case with nothing but letters, digits and
    `_+.-`, for the names of files."""
    card = card_of(manifest)
    return card.name if card else re.sub(r"[^\w+.-]", "_", manifest.name.lower())


def refuse_options(options: ExportOptions | ImportOptions, dialect: str, **reasons: str) -> None:
    """UsageError for an option that the dialect has no use for: `prefix="its names are clip numbers"`."""
    for name, reason in reasons.items():
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} means nothing to the {dialect} dialect: {reason}")


class ShortNames:
    """The last `depth` components of paths, for lists that name a clip within one folder that the loader is told of.

    ManifestError for a path with fewer components, and for samples that the loader could not find or tell apart: another
    folder, or a name twice.
    """

    def __init__(self, depth: int, dialect: str, *, forbidden: str = "") -> None:
        self._depth, self._dialect, self._forbidden = depth, dialect, forbidden
        self._folder: str | None = None
        self._samples: dict[str, str] = {}

    def of(self, sample: Sample, path: str = "") -> str:
        """The name of one sample, or of `path` in its place."""
        components = (path or sample.path).split("/")
        name = "/".join(components[-self._depth :])
        folder = "/".join(components[: -self._depth])
        here = f"sample {sample.sample_id!r}: the {self._dialect} dialect"
        if len(components) < self._depth or not all(components[-self._depth :]):
            raise ManifestError(f"{here} names clips by {self._depth} folders, and the path is {sample.path!r}")
        if self._folder is None:
            self._folder = folder
        if folder != self._folder:
            raise ManifestError(
                f"{here} looks for every clip in one folder, and {sample.path!r} is not in {self._folder or 'the root'!r}"
            )
        if name in self._samples:
            raise ManifestError(f"{here} writes the name {name!r}, which sample {self._samples[name]!r} has too")
        self._samples[name] = sample.sample_id
        check_characters(sample, name, self._dialect, forbidden=self._forbidden)
        return name


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
    # A manifest of some of the classes is still numbered as the repository numbers them.
    if card is None or manifest.labels.missing_from(card.labels):
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
    check_characters(sample, path, dialect, forbidden=forbidden)
    return path


def check_characters(sample: Sample, path: str, dialect: str, *, forbidden: str) -> None:
    """ManifestError when a path holds one of `forbidden` (`" "` stands for white space), or what no line can hold."""
    for character in forbidden:
        found = any(each.isspace() for each in path) if character == " " else character in path
        if found:
            name = "white space" if character == " " else repr(character)
            raise ManifestError(
                f"sample {sample.sample_id!r}: the {dialect} dialect cannot hold {name} in a path: {path!r}; "
                "move the media, or write other paths with --prefix or --paths relative"
            )
    if "\n" in path or "\r" in path or "\ufeff" in path:
        what = "a byte order mark" if "\ufeff" in path else "the line end"
        raise ManifestError(f"sample {sample.sample_id!r}: a line cannot hold {what} in its path {path!r}")


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


def strip_prefix(
    paths: Sequence[str], options: ImportOptions, *, folder: Path, places: Sequence[str] | None = None
) -> tuple[list[str], Path]:
    """Paths relative to a root, and that root. Absolute paths lose `--prefix`, or the folder they have in common;
    relative ones lose `./`.

    ManifestError for a path that does not begin with the prefix, or is only the prefix; `places[i]` is where path i is.
    """
    prefix = options.prefix
    if not prefix and paths and all(path.startswith("/") for path in paths):
        prefix = os.path.commonpath([posixpath.dirname(path) for path in paths])
    if not prefix:
        return [re.sub(r"^(\./+)+", "", path) for path in paths], (options.root or folder).absolute()
    cut = prefix.rstrip("/") + "/"
    for row, path in enumerate(paths):
        if not path.startswith(cut):
            place = f"{places[row]}: " if places else ""
            raise ManifestError(f"{place}path {path!r} does not begin with the prefix {prefix!r}; give --prefix")
    root = options.root or (Path(prefix) if prefix.startswith("/") else folder / prefix)
    return [path[len(cut) :] for path in paths], root.absolute()


def list_lines(path: Path) -> Iterator[tuple[int, str]]:
    """`numbered_lines` of a list file; ManifestError where it is no text."""
    try:
        yield from numbered_lines(path)
    except DataError as error:
        raise ManifestError(error.message, reason=error.reason) from error


def part_files(place: Path, pattern: re.Pattern[str], dialect: str) -> list[tuple[Path, int | None, str]]:
    """(file, fold or None, part) of one list file, or of the files in a folder whose names `pattern` matches.

    `pattern` has the groups `part` and, where folds have files, `fold`. A single file of any other name is the test part of
    a fixed split. Raises ManifestError for a folder without such files, or with folds and a fixed split mixed.
    """
    return list_files(place, [pattern], dialect)


def list_files(place: Path, patterns: Sequence[re.Pattern[str]], dialect: str) -> list[tuple[Path, int | None, str]]:
    """`part_files` of the first of `patterns` that any file matches, by its path below `place` or by its whole path.

    The whole path tells the fold where the folder itself is given (`split01/`). Where the pattern has a group `dataset`,
    lists of several datasets in one folder are a ManifestError.
    """
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    whole = [(path, path.absolute().as_posix()) for path in files]
    below = [(path, path.name if path == place else path.relative_to(place).as_posix()) for path in files]
    for pattern in patterns:
        for names in (below, whole):
            matches = [(path, match) for path, name in names if (match := pattern.fullmatch(name))]
            if matches:
                return _checked(place, matches)
    if place.is_file():
        return [(place, None, "test")]
    shown = " or ".join(pattern.pattern for pattern in patterns)
    raise ManifestError(f"{place}: no list file of the {dialect} dialect is here; its names match {shown}")


_PARTS = {"val": "validation", "valid": "validation"}
_ORDER = ("train", "validation", "test")


def _checked(place: Path, matches: Sequence[tuple[Path, re.Match[str]]]) -> list[tuple[Path, int | None, str]]:
    """In the order of folds and parts."""
    found, datasets = [], set()
    for path, match in matches:
        groups: Mapping[str, str | None] = match.groupdict()
        part = (groups["part"] or "").lower()
        fold = groups.get("fold")
        found.append((path, int(fold) if fold else None, _PARTS.get(part, part)))
        datasets.add((groups.get("dataset") or "").lower())
    if len(datasets) > 1:
        names = ", ".join(repr(name) for name in sorted(datasets))
        raise ManifestError(f"{place}: lists of several datasets lie together ({names}); name one file, or --dataset")
    if len({fold is None for _, fold, _ in found}) > 1:
        raise ManifestError(f"{place}: files of folds and of a fixed split lie together; name one file, or clear up")
    found.sort(key=lambda each: (each[1] or 0, _ORDER.index(each[2]), each[0]))
    for earlier, later in itertools.pairwise(found):
        if earlier[1:] == later[1:]:
            raise ManifestError(f"{later[0]}: the same part as {earlier[0]}; name one file, or one folder")
    return found
