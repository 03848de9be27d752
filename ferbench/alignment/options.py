"""CropOptions: everything about alignment that decides pixels of a crop."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from ferbench.alignment.templates import BoxCrop, find_template
from ferbench.errors import UsageError

INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
"""Name -> OpenCV flag. `area` is antialiased: it averages where the crop is more than twice smaller than the face."""


@dataclass(frozen=True, slots=True)
class CropOptions:
    """How a face becomes a crop. Raises UsageError for unknown names and contradictions."""

    template: str = "arcface-112"
    """A row of `TEMPLATES`."""
    size: int = 112
    """Height of the crop in pixels; the width follows from the template."""
    margin: int = 0
    """Only with template `margin`: pixels of the crop around the box, both sides together, as facenet-pytorch counts it."""
    interpolation: str = "linear"
    """`linear`, `cubic` or `area`. The template `margin` is always resized with area, as facenet-pytorch does."""

    def __post_init__(self) -> None:
        row = find_template(self.template)
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise UsageError(f"interpolation {self.interpolation!r} is unknown; known: {known}")
        if self.size < 1:
            raise UsageError(f"size is {self.size}; a crop is at least 1 pixel high")
        if isinstance(row, BoxCrop):
            if not 0 <= self.margin < self.size:
                raise UsageError(f"margin is {self.margin}; it must be at least 0 and below the size, {self.size}")
            if self.interpolation == "cubic":
                raise UsageError(f"template {self.template!r} is always resized with area, not cubic")
        elif self.margin != 0:
            raise UsageError(f"margin belongs to the template 'margin', not to {self.template!r}; leave it at 0")
