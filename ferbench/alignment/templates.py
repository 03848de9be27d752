"""Where the five landmarks go in a crop: the named templates, one table row each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench.errors import UsageError


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A crop in which each landmark has its place: faces are turned, scaled and moved onto it."""

    name: str
    width: int
    """Reference width in pixels."""
    height: int
    """Reference height in pixels."""
    points: NDArray[np.float64]
    """(5, 2) x, y in reference pixels, in the order of `ferbench.faces.LANDMARK_NAMES`."""
    source: str
    """Where the numbers are published."""

    def __repr__(self) -> str:
        return f"Template({self.name!r}, {self.width}x{self.height})"


@dataclass(frozen=True, slots=True)
class BoxCrop:
    """A crop of the upright box, stretched to a square; landmarks are not used."""

    name: str
    width: int
    height: int
    source: str


_ARCFACE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
_EVOLVE = (
    (30.29459953, 51.69630051),
    (65.53179932, 51.50139999),
    (48.02519989, 71.73660278),
    (33.54930115, 92.3655014),
    (62.72990036, 92.20410156),
)

TEMPLATES: dict[str, Template | BoxCrop] = {
    row.name: row
    for row in (
        Template("arcface-112", 112, 112, np.array(_ARCFACE), "insightface, face_align.arcface_dst"),
        Template(
            "evolve-112",
            112,
            112,
            np.array(_EVOLVE) + np.array([8.0, 0.0]),
            "face.evoLVe, align_trans.get_reference_facial_points(default_square=True)",
        ),
        Template("evolve-96x112", 96, 112, np.array(_EVOLVE), "face.evoLVe, align_trans.REFERENCE_FACIAL_POINTS"),
        BoxCrop("margin", 160, 160, "facenet-pytorch 2.5.3, extract_face on an array"),
    )
}
"""Name -> crop rule. A new template is one row."""


def find_template(name: str) -> Template | BoxCrop:
    """The row of `TEMPLATES`; raises UsageError, listing the known names."""
    if name not in TEMPLATES:
        raise UsageError(f"template {name!r} is unknown; known: {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def crop_size(template: Template | BoxCrop, size: int) -> tuple[int, int]:
    """(width, height) in pixels of a crop `size` pixels high: evolve-96x112 at 112 is (96, 112), at 224 (192, 224)."""
    return max(1, round(template.width * size / template.height)), size


def scaled(template: Template, size: int) -> Template:
    """The template for a crop `size` pixels high, width in proportion; points are multiplied by size / height.

    scaled(evolve-96x112, 224) is 192x224 with the left eye at (60.589, 103.393).
    """
    width, height = crop_size(template, size)
    points = template.points * (size / template.height)
    return Template(template.name, width, height, points, template.source)
