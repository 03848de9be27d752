"""Which samples of an aligned manifest are shown, with which crops; and the crops as small pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ferbench import remote
from ferbench.errors import ManifestError, MediaError
from ferbench.manifest import Manifest
from ferbench.media import frame_files
from ferbench.media.files import open_media
from ferbench.media.packs import find_place
from ferbench.rendering.outliers import outliers

TILE_HEIGHT_PX = 96
MOST_CROPS = 8
MISSING_GREY = (190, 190, 190)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}

ORIGINS = {
    "nearest": ("#d97706", "no face in this frame: landmarks of the nearest frame that has one"),
    "interpolated": ("#2563eb", "no face in this frame: landmarks interpolated between frames that have one"),
    "full-frame": ("#c026d3", "no face in this frame: the full frame"),
}
"""Crops whose landmarks were not detected in their own frame: the colour that marks them, and what it means."""


def origin_mark(origin: str) -> tuple[str, str]:
    """Colour and meaning of an origin; one that another version wrote is grey and called by its name."""
    return ORIGINS.get(origin, ("#6b7280", f"landmarks: {origin}"))


@dataclass(frozen=True, slots=True)
class Crop:
    """One crop to show."""

    number: int
    """1-based within the sample."""
    path: Path | None
    """None when the file is gone."""
    origin: str
    """As in faces.parquet; `detected` where there is no such file."""


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One sample to show, in words and crops."""

    sample_id: str
    class_name: str | None
    error: str | None
    """Why it failed; None for a sample that did not."""
    frames: str | None
    """`12 of 16 frames with a face`, where the manifest says."""
    notes: str | None
    num_crops: int
    """All crops of the sample, of which `crops` are some."""
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """The samples to show and what was left out."""

    rows: tuple[SampleRow, ...]
    total: int
    failed: int
    failed_shown: int

    @property
    def origins(self) -> list[str]:
        """Origins other than `detected` among the crops, in the order of `ORIGINS`."""
        seen = {crop.origin for row in self.rows for crop in row.crops} - {"detected"}
        return [name for name in ORIGINS if name in seen] + sorted(seen - set(ORIGINS))


def spread(count: int, most: int) -> list[int]:
    """At most `most` indices of `range(count)`, evenly spread, with both ends: (16, 4) -> 0, 5, 10, 15."""
    if count <= most:
        return list(range(count))
    return [0] if most == 1 else [index * (count - 1) // (most - 1) for index in range(most)]


def failed_mask(manifest: Manifest) -> NDArray[np.bool_]:
    """(N,) which rows failed."""
    mask = pc.fill_null(pc.equal(manifest.table.column("status"), "failed"), False)
    return np.asarray(mask.to_numpy(), dtype=bool)


def select_samples(manifest: Manifest, *, most: int) -> Selection:
    """At most `most` rows, the unusual ones first (see `outliers`), the worst at the top.

    When there are more samples: failed ones up to half the rows, then unusual ones up to half of what is left, then the
    rest spread over the manifest.
    """
    failed = failed_mask(manifest)
    strange = {row: words for row, words in outliers(manifest).items() if not failed[row]}
    lost = np.flatnonzero(failed)
    unusual = np.array(list(strange), dtype=np.int64)
    plain = np.setdiff1d(np.flatnonzero(~failed), unusual)
    if len(manifest) <= most:
        chosen = np.concatenate([unusual, np.setdiff1d(np.arange(len(manifest)), unusual)])
    else:
        room = max(most // 2, most - len(manifest) + len(lost))
        shown = lost[spread(len(lost), room)] if len(lost) else lost
        left = most - len(shown)
        unusual = unusual[: max(left // 2, left - len(plain))]
        chosen = np.concatenate([unusual, shown, plain[spread(len(plain), left - len(unusual))]])
    records = manifest.table.take(pa.array(chosen, pa.int64())).to_pylist()
    origins = _origins(manifest.root / "faces.parquet", [record["sample_id"] for record in records])
    rows = tuple(
        _row(manifest, record, origins, strange.get(int(row))) for row, record in zip(chosen, records, strict=True)
    )
    return Selection(rows, len(manifest), len(lost), int(failed[chosen].sum()))


def rows_of(manifest: Manifest, sample_ids: Sequence[str]) -> list[SampleRow]:
    """The rows of these samples, as far as the manifest has them, in its order."""
    wanted = pc.is_in(manifest.table.column("sample_id"), value_set=pa.array(sample_ids, pa.string()))
    records = manifest.table.filter(wanted).to_pylist()
    origins = _origins(manifest.root / "faces.parquet", [record["sample_id"] for record in records])
    return [_row(manifest, record, origins, None) for record in records]


def _row(
    manifest: Manifest, record: dict[str, Any], origins: dict[tuple[str, int], str], unusual: str | None
) -> SampleRow:
    failed = record["status"] == "failed"
    numbered = {} if failed else _crop_files(manifest.root / record["path"], record)
    numbers = sorted(numbered)
    return SampleRow(
        sample_id=record["sample_id"],
        class_name=None if record["label"] is None else manifest.labels.names[record["label"]],
        error=(record["error"] or "failed: no reason was recorded") if failed else None,
        frames=_frames_text(record.get("frames_with_face"), record.get("frames_sampled")),
        notes="; ".join(filter(None, (unusual and f"unusual: {unusual}", record.get("notes")))) or None,
        num_crops=len(numbers),
        crops=tuple(
            Crop(numbers[index], numbered[numbers[index]], origins.get((record["sample_id"], numbers[index]), "detected"))
            for index in spread(len(numbers), MOST_CROPS)
        ),
    )  # fmt: skip


def _frames_text(with_face: int | None, sampled: int | None) -> str | None:
    if with_face is None or sampled is None:
        return None
    if sampled == 1:
        return "a face in its only frame" if with_face else "no face in its only frame"
    return f"{with_face} of {sampled} frames with a face"


def _crop_files(path: Path, record: dict[str, Any]) -> dict[int, Path | None]:
    """1-based crop number -> file, None where the file is gone. A video has no crops."""
    if record["media"] == "image":
        return {1: path if find_place(path) or _is_file(path) else None}
    if record["media"] == "video":
        return {}
    try:
        is_elsewhere = find_place(path) is not None or remote.spot_of(path) is not None
        listed = frame_files(path) if is_elsewhere else list(path.iterdir())
        found = [file for file in listed if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
    except (OSError, MediaError):
        found = []
    files = sorted(found, key=lambda file: (_number(file) or 0, file.name))[record["start_frame"] : record["end_frame"]]
    wanted = record["num_frames"] or len(files) or 1
    if len(files) < wanted and all(_number(file) for file in files):
        # Some are gone: the number in its name says which crop each of the others is.
        by_number = {_number(file): file for file in files}
        return {number: by_number.get(number) for number in range(1, wanted + 1)}
    return {number: files[number - 1] if number <= len(files) else None for number in range(1, wanted + 1)}


def _is_file(path: Path) -> bool:
    remote.ensure(path)
    return path.is_file()


def _number(file: Path) -> int | None:
    digits = re.search(r"(\d+)$", file.stem)
    return int(digits.group()) if digits else None


def _origins(path: Path, sample_ids: Sequence[str]) -> dict[tuple[str, int], str]:
    """(sample_id, crop number) -> origin, for crops that were not simply detected."""
    if not sample_ids or not _is_file(path):
        return {}
    try:
        columns = ["sample_id", "crop", "origin"]
        table = pq.read_table(path, columns=columns, filters=[("sample_id", "in", list(sample_ids))])
        return {
            (row["sample_id"], row["crop"]): row["origin"]
            for row in table.select(columns).to_pylist()
            if row["origin"] != "detected"
        }
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError, OSError) as error:
        raise ManifestError(f"{path}: not a readable table of faces ({error}); run align again") from error


# --- crops as pictures -------------------------------------------------------------------------------------------------


def tile(crop: Crop) -> Image.Image:
    """The crop as RGB, `TILE_HEIGHT_PX` high and at most twice as wide; plain grey when it cannot be read."""
    if crop.path is None:
        return Image.new("RGB", (TILE_HEIGHT_PX, TILE_HEIGHT_PX), MISSING_GREY)
    try:
        with open_media(crop.path) as opened, Image.open(opened) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
    # A broken file shows itself in any of these, depending on its format.
    except (MediaError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return tile(Crop(crop.number, None, crop.origin))
    width = min(max(round(image.width * TILE_HEIGHT_PX / image.height), 1), 2 * TILE_HEIGHT_PX)
    return ImageOps.fit(image, (width, TILE_HEIGHT_PX), Image.Resampling.LANCZOS)
