"""MTCNN, batched: the cascade of Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", 2016 (https://arxiv.org/abs/1604.02878), over the networks and weights of facenet-pytorch.

    frames --grouped by size--> integral images --pyramid--> P-Net: windows ------------ NMS per scale, NMS per frame
                                      |--------patches 24x24--> R-Net: fewer, better --- NMS per frame
                                      '--------patches 48x48--> O-Net: boxes, landmarks - NMS per frame (inside)

The arithmetic is that of facenet-pytorch's `detect_face` on one frame, so faces agree to within float noise. What differs
is what can be put in: any number of frames of any sizes, with or without faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray
from torch import Tensor, nn

from ferbench.detection.area import crop_and_resize, integral_images, resize_area
from ferbench.detection.boxes import (
    STRIDE,
    Candidates,
    concatenate,
    corrected,
    crop_bounds,
    is_usable,
    squared,
    suppress,
    suppress_inside,
    window_candidates,
)
from ferbench.detection.frames import batches_of_one_size, check_frames, faces_from_arrays
from ferbench.detection.options import DetectorOptions
from ferbench.detection.pyramid import pyramid_scales, scaled_size
from ferbench.detection.weights import weight_path, weights_sha256
from ferbench.faces import Face

MAX_BATCH_PIXELS = 2**22
"""Most frame pixels in one batch (two frames of 1080p, or one of any size): 12 bytes of integral image for each."""
MAX_PASS_PIXELS = 2**21
"""Most pixels of scaled images that go through P-Net together: some 100 bytes for each."""
PATCHES_PER_PASS = 512
"""Most patches that go through R-Net or O-Net together."""
PATCH_MULTIPLE = 8
"""Patches are filled up to a multiple of this: matrix products of a few rows take other paths with other rounding."""
NMS_PER_SCALE, NMS_PER_FRAME = 0.5, 0.7
"""IoU above which the lesser box goes: between windows of one scale, and after each network."""


class Mtcnn:
    """The detector named `mtcnn`. One instance may be used for any number of calls; it keeps nothing between them."""

    def __init__(self, options: DetectorOptions, *, device: str = "cpu") -> None:
        self.options = options
        self.device = torch.device(device)
        self._pnet = _load(PNet, "pnet", self.device)
        self._rnet = _load(RNet, "rnet", self.device)
        self._onet = _load(ONet, "onet", self.device)

    @property
    def weights_sha256(self) -> str:
        """Hex digest over the three weight files."""
        return weights_sha256()

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """All faces of each frame, as `ferbench.detection.Detector.detect` says."""
        check_frames(frames)
        found: list[list[Face]] = [[] for _ in frames]
        sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        for batch in batches_of_one_size(sizes, max_frames=self.options.batch_frames, max_pixels=MAX_BATCH_PIXELS):
            stack = np.stack([frames[position] for position in batch])
            for position, faces in zip(batch, self._detect_stack(stack), strict=True):
                found[position] = faces
        return found

    @torch.inference_mode()
    def _detect_stack(self, stack: NDArray[np.uint8]) -> list[list[Face]]:
        """The cascade over (B, H, W, 3) uint8."""
        batch, height, width, _ = stack.shape
        scales = pyramid_scales(height, width, min_face_px=self.options.min_face_px, factor=self.options.factor)
        if not scales:
            return [[] for _ in range(batch)]
        integral = integral_images(stack, device=self.device)
        found = self._landmarked(integral, self._refined(integral, self._proposed(integral, scales)))
        frame, boxes = found.frame.cpu().numpy(), found.boxes.cpu().numpy()
        scores, landmarks = found.scores.cpu().numpy(), found.landmarks.cpu().numpy()
        rows = [frame == index for index in range(batch)]
        return [faces_from_arrays(boxes[row], scores[row], landmarks[row]) for row in rows]

    def _proposed(self, integral: Tensor, scales: Sequence[float]) -> Candidates:
        """Stage 1: P-Net slides over each image of the pyramid."""
        height, width = integral.shape[1] - 1, integral.shape[2] - 1
        # A CPU gains nothing from several frames per pass, and frame by frame the result cannot depend on the batch.
        step = 1 if self.device.type == "cpu" else len(integral)
        parts = []
        for scale in scales:
            rows, columns = scaled_size(height, width, scale)
            images = _normalised(resize_area(integral, height=rows, width=columns))
            passes = [_swept(self._pnet, images[first : first + step]) for first in range(0, len(images), step)]
            offsets, scores = (torch.cat(maps) for maps in zip(*passes, strict=True))
            windows = window_candidates(offsets, scores[:, 1], scale=scale, threshold=self.options.thresholds[0])
            parts.append(suppress(windows, threshold=NMS_PER_SCALE))
        kept = suppress(concatenate(parts), threshold=NMS_PER_FRAME)
        return squared(corrected(kept, last_pixel=0))

    def _refined(self, integral: Tensor, candidates: Candidates) -> Candidates:
        """Stage 2: R-Net looks at each candidate at 24x24."""
        candidates, patches = _with_bounds(candidates, integral)
        if not len(candidates):
            return candidates
        offsets, scores = _run(self._rnet, integral, candidates.frame, patches, size=24)
        judged = replace(candidates, offsets=offsets, scores=scores[:, 1])
        passed = judged[judged.scores > self.options.thresholds[1]]
        return squared(corrected(suppress(passed, threshold=NMS_PER_FRAME), last_pixel=1))

    def _landmarked(self, integral: Tensor, candidates: Candidates) -> Candidates:
        """Stage 3: O-Net looks at each remaining candidate at 48x48 and places the landmarks."""
        candidates, patches = _with_bounds(candidates, integral)
        if not len(candidates):
            return replace(candidates, landmarks=candidates.boxes.new_zeros((0, 5, 2)))
        offsets, points, scores = _run(self._onet, integral, candidates.frame, patches, size=48)
        # O-Net gives five x, then five y, as fractions of the box it was shown.
        corner, extent = (
            candidates.boxes[:, None, :2],
            candidates.boxes[:, None, 2:] - candidates.boxes[:, None, :2] + 1,
        )
        landmarks = extent * points.view(-1, 2, 5).transpose(1, 2) + corner - 1
        judged = replace(candidates, offsets=offsets, scores=scores[:, 1], landmarks=landmarks)
        passed = corrected(judged[judged.scores > self.options.thresholds[2]], last_pixel=1)
        return suppress_inside(passed, threshold=NMS_PER_FRAME)


def _load(network: type[nn.Module], name: str, device: torch.device) -> nn.Module:
    module = network(pretrained=False)
    module.load_state_dict(torch.load(weight_path(name), map_location="cpu", weights_only=True))
    return module.eval().requires_grad_(False).to(device)


def _normalised(pixels: Tensor) -> Tensor:
    """0..255 -> about -1..1, as the networks were trained."""
    return (pixels - 127.5) * 0.0078125


def _swept(pnet: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """P-Net's maps (B, 4, h', w') and (B, 2, h', w') over (B, 3, h, w), in strips of rows so that memory stays bounded.

    Row r of the maps sees rows 2r : 2r + 12 of the image, so strips overlap by ten rows and give the maps of the whole:

        image rows  0 ........ 2r ... 2r + 10 ........ h        h' = ceil((h - 2) / 2) - 4
        strip 1     [----------------------)                    map rows 0 : r
        strip 2                [-----------------------)        map rows r : h'
    """
    height, width = images.shape[2:]
    total = (height - 1) // STRIDE - 4
    step = max(1, (MAX_PASS_PIXELS // (len(images) * width) - 10) // STRIDE)
    passes = []
    for first in range(0, total, step):
        end = STRIDE * (first + step) + 10 if first + step < total else height
        passes.append(pnet(images[:, :, STRIDE * first : end]))
    return torch.cat([maps[0] for maps in passes], dim=2), torch.cat([maps[1] for maps in passes], dim=2)


def _with_bounds(candidates: Candidates, integral: Tensor) -> tuple[Candidates, Tensor]:
    """The candidates that cover at least one pixel of the frame, and which pixels: (N, 4) int64, see `crop_bounds`."""
    bounds = crop_bounds(candidates.boxes, height=integral.shape[1] - 1, width=integral.shape[2] - 1)
    usable = is_usable(bounds)
    return candidates[usable], bounds[usable]


def _run(network: nn.Module, integral: Tensor, frame: Tensor, bounds: Tensor, *, size: int) -> tuple[Tensor, ...]:
    """The network's outputs for N >= 1 patches, (N, ...) each, in bounded memory."""
    passes = []
    for first in range(0, len(frame), PATCHES_PER_PASS):
        part = slice(first, first + PATCHES_PER_PASS)
        patches = _normalised(crop_and_resize(integral, frame[part], bounds[part], size=size))
        filling = -len(patches) % PATCH_MULTIPLE
        outputs = network(torch.cat([patches, patches.new_zeros((filling, *patches.shape[1:]))]))
        passes.append([output[: len(patches)] for output in outputs])
    return tuple(torch.cat(column) for column in zip(*passes, strict=True))
