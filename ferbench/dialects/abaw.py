"""What the two ABAW2021 dialects share: frames as `<video>/00001.jpg`, millions of them, no Python object per row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferbench.datasets.aff_wild2 import source_video
from ferbench.datasets.frame_labels import five_digits
from ferbench.dialects.lists import official_labels, strip_prefix
from ferbench.dialects.options import ExportOptions, ImportOptions
from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of

PARTS = {"train": "Train_Set", "validation": "Validation_Set", "test": "Test_Set"}
"""Part -> its name in the files. The repository has no test labels; a test part of your own making is `Test_Set`."""
FRAME = r"^(?P<above>[^\r\n]*/)?(?P<video>[^/\r\n]+)/(?P<number>0*[1-9][0-9]{0,8})\.[A-Za-z]+$"
"""A path: any folders, the video's folder, the frame's number from 1."""
CHUNK = 1 << 18
_LISTED = pa.schema([("frame", pa.string()), ("path", pa.string()), ("label", pa.int64())])


# --- writing ----------------------------------------------------------------------------------------------------------


def frame_parts(
    manifest: Manifest, options: ExportOptions, order: LabelSet, dialect: str
) -> Iterator[tuple[str, pa.Table]]:
    """(`Train_Set`, …; a table of `frame`, which is `<video>/00001.jpg`, `path` and `label`, ascending by frame) of every
    part with labels. The published files hold no frame without a label or a crop, so neither do these.

    Raises ManifestError for folds, for samples that are no pictures and for paths that are not `<video>/<number>.jpg`.
    """
    if manifest.has_values("fold"):
        raise ManifestError(
            f"manifest {manifest.name!r} has folds, and the {dialect} dialect holds one train and one validation part; "
            "make a fixed split (make-splits --kind hold-out), or write another dialect"
        )
    if not manifest.has_values("split"):
        raise ManifestError(f"manifest {manifest.name!r} has no split; run make-splits on it")
    numbers = pa.array(manifest.labels.mapping_to(order), pa.int64())
    for part, name in PARTS.items():
        # Piece by piece, so that only what is written is ever copied: a table of millions of rows has much else.
        used = manifest.table.select(["sample_id", "path", "media", "label", "split", "status", "num_frames"])
        pieces = [
            _piece(used.slice(start, CHUNK), part, numbers, options, dialect) for start in range(0, len(used), CHUNK)
        ]
        result = pa.concat_tables(pieces)
        if not len(result):
            continue
        if not _ascending(result.column("frame")):
            result = result.take(pc.sort_indices(result.column("frame")))
            _refuse_doubles(result, manifest, dialect)
        yield name, result


def _piece(rows: pa.Table, part: str, numbers: pa.Array, options: ExportOptions, dialect: str) -> pa.Table:
    """`frame`, `path` and `label` of those rows that are in a part's file."""
    listed = pc.and_(pc.is_valid(rows.column("label")), pc.fill_null(pc.equal(rows.column("split"), part), False))
    listed = pc.and_(listed, pc.fill_null(pc.not_equal(rows.column("status"), "failed"), True))
    if options.min_frames:
        listed = pc.and_(listed, pc.fill_null(pc.greater_equal(rows.column("num_frames"), options.min_frames), True))
    if not pc.all(listed).as_py():
        rows = rows.filter(listed)
    if not len(rows):
        return pa.table({"frame": [], "path": [], "label": []}, schema=_LISTED)
    paths = rows.column("path")
    _refuse(rows, pc.not_equal(rows.column("media"), "image"), f"the {dialect} dialect holds pictures of frames")
    _refuse(
        rows, pc.invert(pc.match_substring_regex(paths, FRAME)),
        f"the {dialect} dialect names frames as '<video>/<number>.jpg'; this path is another",
    )  # fmt: skip
    labels = numbers.take(rows.column("label").combine_chunks())
    return pa.table([_frames_of(paths), paths, labels], schema=_LISTED)


def _refuse_doubles(result: pa.Table, manifest: Manifest, dialect: str) -> None:
    """ManifestError for two samples of one frame, in a table that is sorted by frame."""
    column = result.column("frame")
    at = pc.index(pc.equal(column.slice(0, len(column) - 1), column.slice(1)), True).as_py()
    if at >= 0:
        paths = result.column("path").slice(at, 2).to_pylist()
        rows = manifest.table.filter(pc.is_in(manifest.table.column("path"), pa.array(paths)))
        first, second = rows.column("sample_id").slice(0, 2).to_pylist()
        raise ManifestError(
            f"samples {first!r} and {second!r} are both {column[at].as_py()!r} in the {dialect} dialect; a video has one "
            "picture per frame"
        )


def _frames_of(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """`<video>/<image>`: the last two parts of each path."""
    above = "".join(f"{each}/" for each in paths[0].as_py().split("/")[:-2])
    if above and pc.all(pc.starts_with(paths, above)).as_py():
        # The usual case, one folder for all videos: no regular expression for every row.
        frames = pc.replace_substring(paths, above, "", max_replacements=1)
        if pc.all(pc.equal(pc.count_substring(frames, "/"), 1)).as_py():
            return frames
    return pc.replace_substring_regex(paths, r"^.*/([^/]+/[^/]+)$", r"\1")


def _ascending(values: pa.ChunkedArray) -> bool:
    return pc.all(pc.less(values.slice(0, max(len(values) - 1, 0)), values.slice(1))).as_py() is not False


def _refuse(table: pa.Table, broken: pa.ChunkedArray, rule: str) -> None:
    at = pc.index(broken, True).as_py()
    if at >= 0:
        row = table.select(["sample_id", "path"]).slice(at, 1).to_pylist()[0]
        raise ManifestError(f"sample {row['sample_id']!r}: {rule}: {row['path']!r}")


def text_of(values: pa.Array) -> memoryview:
    """All strings of an array, one after the other, as UTF-8: that is how Arrow keeps them."""
    return memoryview(values.buffers()[2])[: pc.sum(pc.binary_length(values)).as_py()]


def checked_prefix(prefix: str) -> str:
    """What is written before every path; ManifestError for a line end in it."""
    if "\n" in prefix or "\r" in prefix:
        raise ManifestError(f"a path cannot begin with {prefix!r}: it holds a line end")
    return prefix.rstrip("/") + "/" if prefix else ""


def slices_of(table: pa.Table) -> Iterator[pa.Table]:
    """The rows, a manageable number at a time, each column one array."""
    for start in range(0, len(table), CHUNK):
        yield table.slice(start, CHUNK).combine_chunks()


# --- reading ----------------------------------------------------------------------------------------------------------


def manifest_of_frames(
    rows: pa.Table, options: ImportOptions, *, order: LabelSet, folder: Path, name: str, where: str
) -> Manifest:
    """A manifest of `path`, `label` (an index into `order`, checked) and `part` (`train`, …); every path fits FRAME.

    Sample ids are `<video>/00001`, as those of an indexed copy. Raises ManifestError for a frame that occurs twice.
    """
    paths = rows.column("path").combine_chunks()
    fields = pc.extract_regex(paths, FRAME)
    videos = pc.struct_field(fields, "video").dictionary_encode()
    numbers = pc.struct_field(fields, "number").cast(pa.int32())
    above = pc.unique(pc.struct_field(fields, "above")).to_pylist()
    del fields
    relative, root = strip_prefix([f"{each}x" for each in above], options, folder=folder)
    cut = len(above[0]) + 1 - len(relative[0]) if above else 0
    sources = pa.array([source_video(video) for video in videos.dictionary.to_pylist()], pa.string())
    labels = official_labels(options, order)
    columns: dict[str, Any] = {
        "sample_id": pc.binary_join_element_wise(videos.cast(pa.string()), five_digits(numbers), "/"),
        "path": pc.utf8_slice_codeunits(paths, cut) if cut else paths,
        "media": pa.repeat("image", len(paths)),
        "label": pa.array(order.mapping_to(labels), pa.int16()).take(rows.column("label").combine_chunks()),
        "group": sources.take(videos.indices),
        "split": rows.column("part"),
        "frame": numbers,
    }
    try:
        return manifest_of(columns, labels=labels, name=name, root=root)
    except ManifestError as error:
        _name_a_leak(rows, where)
        raise ManifestError(f"{where}: {error.message}", reason=error.reason) from error


def _name_a_leak(rows: pa.Table, where: str) -> None:
    """ManifestError for the first path that is listed twice, if there is one."""
    counts = pc.value_counts(rows.column("path"))
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        path = twice[0].as_py()
        found = pc.unique(rows.column("part").filter(pc.equal(rows.column("path"), path))).to_pylist()
        if len(found) > 1:
            raise ManifestError(f"{where}: {path!r} is in {' and in '.join(found)}", reason="leak")
        raise ManifestError(f"{where}: {path!r} is listed more than once in {found[0]}")


def first_bad_label(labels: pa.ChunkedArray, order: LabelSet) -> int:
    """Row of the first label that is none of `order`'s, or -1."""
    known = pc.fill_null(pc.and_(pc.greater_equal(labels, 0), pc.less(labels, len(order))), False)
    return int(pc.index(known, False).as_py())
