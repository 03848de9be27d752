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


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one forward pass takes.

    A model returns (N, K) logits for a float32 tensor of `layout`:

    - `NTCHW` (N, clip_len, C, height, width) and `NCTHW` (N, C, clip_len, height, width): clip models;
    - `NCHW` (N, C, height, width): image models. A clip is scored as the mean of its frames' logits.

    Pixels are first divided by 255, then `(x - mean) / std` per channel. C is 3 for `rgb` and `bgr`, 1 for `grey`
    (ITU-R BT.601 luma, as OpenCV and Pillow compute it). `resize` matters by points, not by rounding: Pillow's filters
    are antialiased and what torchvision's transforms on pictures do, OpenCV's linear filter is not antialiased.

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
    resize: str = "pil-bilinear"
    sampler: str = "uniform"
    classes: tuple[str, ...] = ()
    recipe_id: str = ""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ModelError(f"input layout {self.layout!r} is not one of {', '.join(LAYOUTS)}")
        if self.channels not in CHANNELS:
            raise ModelError(f"input channels {self.channels!r} is not one of {', '.join(CHANNELS)}")
        if self.resize not in RESIZES:
            raise ModelError(f"input resize {self.resize!r} is not one of {', '.join(RESIZES)}")
        for name in ("clip_len", "height", "width"):
            if getattr(self, name) < 1:
                raise ModelError(f"input {name} must be at least 1, got {getattr(self, name)}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.num_channels):
                raise ModelError(f"input {name} needs 1 or {self.num_channels} values, got {getattr(self, name)}")
        Sampler(self.sampler, clip_len=self.clip_len)  # raises for an unknown one
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
