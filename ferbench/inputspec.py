"""InputSpec: what a model expects at its input, as data that travels with the model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ferbench.errors import ModelError
from ferbench.sampling import Sampler

LAYOUTS = ("NTCHW", "NCTHW", "NCHW")
CHANNELS = ("rgb", "bgr", "grey")
RESIZES = ("pil-bilinear", "pil-bicubic", "cv2-linear", "cv2-area")
RANGES = {"0..1": (255.0, 0.0), "0..255": (1.0, 0.0), "-1..1": (127.5, -1.0)}
"""Name -> (divisor, offset): 8-bit pixels x become x / divisor + offset before mean and std."""
OUTPUTS = ("clip", "frames")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one forward pass takes.

    A model returns (N, K) logits, or with `output = "frames"` (N, clip_len, K), for a float32 tensor of `layout`:

    - `NTCHW` (N, clip_len, C, height, width) and `NCTHW` (N, C, clip_len, height, width): clip models;
    - `NCHW` (N, C, height, width): image models. A clip is scored as the mean of its frames' logits.

    8-bit pixels are first brought to `range`, then `(x - mean) / std` per channel: mean and std are in units of that
    range. Published statistics such as 131.09 go with `0..255`, those such as 0.485 with `0..1`.
    C is 3 for `rgb` and `bgr`, 1 for `grey` (ITU-R BT.601 luma, as OpenCV and Pillow compute it). `resize` matters by
    points, not by rounding: Pillow's filters are antialiased and what torchvision's transforms on pictures do, OpenCV's
    linear filter is not antialiased.

    `sampler`, `stride` and `short` are those of `ferbench.sampling`; 0 and the empty string mean "as the mode has it".
    `output` is `clip` for one row of logits per clip or image, and `frames` for a clip model that returns one row per
    frame of its window (Aff-Wild2: every frame has a label).

    `classes` are the model's outputs in order; empty means "the order of the manifest's label set", which is then said
    in the report. `recipe_id` names the recipe of the faces the model was trained on; empty means unknown.
    """

    clip_len: int = 16
    height: int = 112
    width: int = 112
    layout: str = "NTCHW"
    channels: str = "rgb"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    range: str = "0..1"
    resize: str = "pil-bilinear"
    sampler: str = "uniform"
    stride: int = 0
    short: str = ""
    output: str = "clip"
    classes: tuple[str, ...] = ()
    recipe_id: str = ""

    def __post_init__(self) -> None:
        for name, known in (
            ("layout", LAYOUTS), ("channels", CHANNELS), ("range", tuple(RANGES)), ("resize", RESIZES),
            ("output", OUTPUTS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise ModelError(f"input {name} {getattr(self, name)!r} is not one of {', '.join(known)}")
        if self.output == "frames" and not self.is_clip_model:
            raise ModelError(
                f"input output 'frames' is one row of logits per frame of a window, and layout {self.layout} takes single "
                "images; use layout NTCHW or NCTHW, or output 'clip'"
            )
        for name in ("clip_len", "height", "width"):
            if getattr(self, name) < 1:
                raise ModelError(f"input {name} must be at least 1, got {getattr(self, name)}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.num_channels):
                raise ModelError(f"input {name} needs 1 or {self.num_channels} values, got {getattr(self, name)}")
        self.make_sampler()  # raises for an unknown one
        if any(value <= 0 for value in self.std):
            raise ModelError(f"input std must be positive, got {self.std}")

    @property
    def num_channels(self) -> int:
        """3 for colour, 1 for grey."""
        return 1 if self.channels == "grey" else 3

    @property
    def is_clip_model(self) -> bool:
        """True when one forward pass sees a whole clip, False when it sees single images."""
        return self.layout != "NCHW"

    def make_sampler(self) -> Sampler:
        """The sampler that makes the model's clips."""
        return Sampler(self.sampler, clip_len=self.clip_len, stride=self.stride, short=self.short)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and TOML; `from_dict` reads them back."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> InputSpec:
        """Read `as_dict`'s form; an unknown key is an error that lists the known ones."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ModelError(f"unknown input spec keys {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)
