"""Alignment: from the faces of a clip's frames to its crops.

    select_faces    which face of each frame is the sample's person       (selection.py, tracking.py; decides)
    fill_missing    what a frame without one gets                         (missing.py; decides)
    align_face      five landmarks onto a template, or a margin crop      (warp.py, templates.py; pixels)
    align_clip      the three in a row

Knows nothing of detectors and imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ferbench.alignment.missing import MISSING, Placement, fill_missing
from ferbench.alignment.options import INTERPOLATIONS, CropOptions
from ferbench.alignment.selection import SELECTIONS, select_faces
from ferbench.alignment.templates import TEMPLATES, BoxCrop, Template, crop_size, find_template, scaled
from ferbench.alignment.warp import align_face, full_frame, similarity_transform
from ferbench.faces import AlignedFace, Face

__all__ = [
    "INTERPOLATIONS",
    "MISSING",
    "SELECTIONS",
    "TEMPLATES",
    "BoxCrop",
    "CropOptions",
    "Placement",
    "Template",
    "align_clip",
    "align_face",
    "crop_size",
    "fill_missing",
    "find_template",
    "full_frame",
    "scaled",
    "select_faces",
    "similarity_transform",
]


def align_clip(
    frames: Mapping[int, NDArray[np.uint8]],
    faces: Mapping[int, Sequence[Face]],
    *,
    crop: CropOptions,
    select: str = "track",
    missing: str = "nearest",
    min_score: float = 0.0,
) -> dict[int, AlignedFace]:
    """The crops of one clip by frame index, in frame order; frames dropped by policy `drop` are not in it.

    `frames`: frame index -> (H, W, 3) uint8 RGB. `faces`: frame index -> all faces detected there, for the same indices.
    `select`, `min_score`: see `select_faces`; `missing`: see `fill_missing`. Raises FaceError when the clip has no usable
    face, UsageError for an unknown rule, ValueError when `frames` and `faces` have different indices.
    """
    if frames.keys() != faces.keys():
        difference = sorted(frames.keys() ^ faces.keys())
        raise ValueError(f"frames and faces must have the same frame indices; only in one of them: {difference}")
    indices = sorted(frames)
    sizes = [(frames[index].shape[0], frames[index].shape[1]) for index in indices]
    chosen = select_faces([faces[index] for index in indices], sizes, rule=select, min_score=min_score)
    placements = fill_missing(chosen, indices, policy=missing)
    return {
        index: _crop(frames[index], placement, crop)
        for index, placement in zip(indices, placements, strict=True)
        if placement is not None
    }


def _crop(frame: NDArray[np.uint8], placement: Placement, options: CropOptions) -> AlignedFace:
    if placement.face is None:
        return full_frame(frame, options)
    return align_face(frame, placement.face, options, origin=placement.origin)
