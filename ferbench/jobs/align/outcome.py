"""What became of one sample: a line of the journal, a row of the aligned manifest and rows of faces.parquet."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CropRow:
    """One written crop: a row of faces.parquet."""

    crop: int
    """1-based, the number in the file name."""
    frame_index: int
    """0-based in the source."""
    origin: str
    """`detected`, `nearest`, `interpolated` or `full-frame`."""
    score: float | None
    box: tuple[float, ...] | None
    """x0, y0, x1, y1 in source pixels."""
    landmarks: tuple[float, ...] | None
    """x, y of left eye, right eye, nose, left mouth, right mouth in source pixels."""
    matrix: tuple[float, ...]
    """2x3, row by row: source pixels to crop pixels."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CropRow:
        """From plain values, as JSON and parquet give them."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sample. Without `rows` it is what later runs need to know; the rows are the bulk."""

    sample_id: str
    status: str
    """`ok` or `failed`."""
    source: str
    """Path of the source, relative to the source's root."""
    crops: str
    """Path of the crops, relative to the output folder."""
    source_start: int | None = None
    source_end: int | None = None
    """The range within the source, half-open."""
    error: str | None = None
    source_bytes: int | None = None
    """Size of the source; of a frame folder, of its frames together. None where it could not be read."""
    source_frames: int | None = None
    """Frames that the range really has."""
    frames_sampled: int = 0
    frames_with_face: int = 0
    num_crops: int = 0
    decoder: str | None = None
    notes: str | None = None
    sha256: str | None = None
    face_score: float | None = None
    face_size: float | None = None
    sharpness: float | None = None
    yaw: float | None = None
    jump: float | None = None
    face_share: float | None = None
    """These six are `ferbench.alignment.quality.Quality`."""
    attempt: int = 1
    """Which try of the sample in this job; of outcomes in several journals the last try counts. Tables begin anew."""
    rows: tuple[CropRow, ...] = ()
    persons: tuple[Outcome, ...] = ()
    """With `--faces all`: one outcome per person, whose the rows then are; see `ferbench.jobs.align.persons`."""

    @property
    def succeeded(self) -> bool:
        """Whether there are crops."""
        return self.status == "ok"

    @property
    def reason(self) -> str | None:
        """The first word of the error."""
        return self.error.partition(":")[0] if self.error else None

    @property
    def origin(self) -> tuple[str, int | None, int | None]:
        """What was aligned: source, start and end."""
        return self.source, self.source_start, self.source_end

    def without_rows(self) -> Outcome:
        """The small part."""
        return dataclasses.replace(self, rows=(), persons=tuple(person.without_rows() for person in self.persons))

    def as_line(self) -> str:
        """Two JSON values and a line end: the small part, a tab, the rows; two more per person. Floats keep every bit."""
        parts: list[Any] = []
        for outcome in (self, *self.persons):
            head = dataclasses.asdict(dataclasses.replace(outcome, rows=(), persons=()))
            del head["rows"], head["persons"]
            parts += [head, [dataclasses.asdict(row) for row in outcome.rows]]
        return "\t".join(json.dumps(part, separators=(",", ":")) for part in parts) + "\n"

    @classmethod
    def from_line(cls, line: str, *, with_rows: bool = True) -> Outcome:
        """Read `as_line`'s form; without the rows they are not even parsed."""
        parts = line.split("\t")
        source, *persons = (
            cls(**json.loads(head), rows=tuple(map(CropRow.from_dict, json.loads(rows))) if with_rows else ())
            for head, rows in zip(parts[::2], parts[1::2], strict=True)
        )
        return dataclasses.replace(source, persons=tuple(persons)) if persons else source
