"""MTCNN: the cascade of Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", 2016 (https://arxiv.org/abs/1604.02878), over the weights of facenet-pytorch 2.5.3: the detector and its three
networks. The stages are in cascade.py.

Faces agree with facenet-pytorch's to within float noise. What differs is what can be put in, any number of frames of any
sizes, with or without faces; and how long it takes. The networks are arranged for that:
- pixels come as 0..255 with channels last; the (x - 127.5) / 128 that the networks were trained behind is part of the
  first convolution, and its fourth input channel is a filler of weight 0;
- P-Net's and R-Net's first convolutions give channels of weight 0 besides, so that each pixel fills a vector register;
- max pooling is the maximum of shifted views: torch's own also records where each maximum was, at four times the time;
- P-Net's scores come as one number per cell, and are made into a probability only for the few cells that may pass.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf, log
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, pad, prelu

from ferbench.detection.area import CHANNELS, summed
from ferbench.detection.boxes import Candidates, concatenate, suppress_inside
from ferbench.detection.cascade import NMS_PER_FRAME, Cascade, on_finer_levels
from ferbench.detection.frames import batches_of_one_size, check_frames, check_priors, faces_from_arrays
from ferbench.detection.near import looks_near
from ferbench.detection.options import DetectorOptions
from ferbench.detection.pyramid import WINDOW, Level, levels_near, pyramid, surroundings
from ferbench.detection.weights import weight_path, weights_sha256
from ferbench.faces import Face

MAX_BATCH_PIXELS = 2**22
"""Most frame pixels in one batch (two frames of 1080p, or one of any size): 16 bytes of integral image for each."""

FINEST_LEVELS = 2
"""Levels of the pyramid, three quarters of its pixels, that `detect_large` does without where it finds a large face."""
SURE = 0.9
"""Score of such a face."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
_KEPT_BYTES = 2**26

Weights = dict[str, Tensor]


class Mtcnn:
    """The detector named `mtcnn`. One instance may be used for any number of calls; it keeps nothing between them."""

    def __init__(self, options: DetectorOptions, *, device: str = "cpu") -> None:
        self.options = options
        self.device = torch.device(device)
        networks = ProposalNetwork(self.device), RefineNetwork(self.device), OutputNetwork(self.device)
        self._cascade = Cascade(*networks, thresholds=options.thresholds)
        _keep_freed_memory()

    @property
    def weights_sha256(self) -> str:
        """Hex digest over the three weight files."""
        return weights_sha256()

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """All faces of each frame, as `ferbench.detection.Detector.detect` says."""
        check_frames(frames)
        # A CPU gains nothing from several frames per pass, and frame by frame the result cannot depend on the batch.
        most = 1 if self.device.type == "cpu" else self.options.batch_frames
        found: list[list[Face]] = [[] for _ in frames]
        sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        for batch in batches_of_one_size(sizes, max_frames=most, max_pixels=MAX_BATCH_PIXELS):
            levels = self._pyramid(frames[batch[0]])
            for position, faces in zip(batch, self._detect_batch([frames[p] for p in batch], levels), strict=True):
                found[position] = faces
        return found

    def detect_large(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """As `ferbench.detection.LocalDetector.detect_large` says: the finest levels only where the others do not do."""
        check_frames(frames)
        return [self._detect_large(frame) for frame in frames]

    @torch.inference_mode()
    def _detect_large(self, frame: NDArray[np.uint8]) -> list[Face]:
        levels = self._pyramid(frame)
        fine, coarse = levels[:FINEST_LEVELS], levels[FINEST_LEVELS:]
        if not coarse:
            return self._detect_batch([frame], levels)[0]
        pixels = summed([frame], device=self.device)
        windows = self._cascade.proposed(pixels, coarse)
        (faces,) = _faces(self._cascade.judged(pixels, windows), frames=1)
        # A face half as large would still fill the window of the finest level looked at.
        if any(face.score >= SURE and face.size >= 2 * WINDOW / coarse[0].scale for face in faces):
            return faces
        every = on_finer_levels(self._cascade.proposed(pixels, fine), windows, num_fine=len(fine))
        return _faces(self._cascade.judged(pixels, every), frames=1)[0]

    def search(self, frames: Sequence[NDArray[np.uint8]], priors: Sequence[NDArray[np.float32]]) -> list[list[Face]]:
        """The faces near given boxes only, as `ferbench.detection.LocalDetector.search` says."""
        check_frames(frames)
        check_priors(priors, frames=len(frames))
        near = [
            _Prior(frame, at, levels_near(self._pyramid(frame), box)) for at, frame, box in _by_turn(frames, priors)
        ]
        parts: list[list[Candidates]] = [[] for _ in frames]
        for batch in _batches([prior for prior in near if prior.levels]):
            for prior, found in zip(batch, self._search_batch(batch), strict=True):
                parts[prior.at].append(found)
        return [
            _faces(suppress_inside(concatenate(found), threshold=NMS_PER_FRAME), frames=1)[0] if found else []
            for found in parts
        ]

    @torch.inference_mode()
    def _detect_batch(self, frames: Sequence[NDArray[np.uint8]], levels: Sequence[Level]) -> list[list[Face]]:
        """The cascade over frames of one size."""
        if not levels:
            return [[] for _ in frames]
        return _faces(self._cascade.run(summed(frames, device=self.device), levels), frames=len(frames))

    @torch.inference_mode()
    def _search_batch(self, batch: Sequence[_Prior]) -> list[Candidates]:
        """The cascade near priors of frames of one size; for each what was found, as of frame 0."""
        groups = looks_near([prior.levels for prior in batch])
        top, left, bottom, right = surroundings([look.grown for group in groups for look in group])
        cut = [prior.frame[top:bottom, left:right] for prior in batch]
        found = self._cascade.run_near(summed(cut, device=self.device, top=top, left=left), groups)
        return [replace(found[rows], frame=found.frame[rows] * 0) for rows in _rows_of(found.frame, len(batch))]

    def _pyramid(self, frame: NDArray[np.uint8]) -> list[Level]:
        height, width = frame.shape[:2]
        return pyramid(height, width, min_face_px=self.options.smallest_face(height, width), factor=self.options.factor)


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed.

    Else it gives blocks of megabytes back to the system and asks for them again, some hundred page faults per frame. Other
    C libraries have no `mallopt`, or another one, and are left alone.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def _faces(found: Candidates, *, frames: int) -> list[list[Face]]:
    return [
        faces_from_arrays(found.boxes[rows], found.scores[rows], found.landmarks[rows])
        for rows in _rows_of(found.frame, frames)
    ]


def _rows_of(frame: NDArray[np.int64], frames: int) -> list[NDArray[np.bool_]]:
    return [frame == index for index in range(frames)]


class _Prior(NamedTuple):
    """Where one face is expected."""

    frame: NDArray[np.uint8]
    at: int
    """Position of the frame among those that were given."""
    levels: list[Level]
    """Where it would show, with the cells around it."""


def _by_turn(
    frames: Sequence[NDArray[np.uint8]], priors: Sequence[NDArray[np.float32]]
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32]]]:
    """(position, frame, box): the first box of every frame, then the second: one person's boxes lie near each other."""
    for turn in range(max((len(boxes) for boxes in priors), default=0)):
        for at, (frame, boxes) in enumerate(zip(frames, priors, strict=True)):
            if turn < len(boxes):
                yield at, frame, boxes[turn]


def _batches(priors: Sequence[_Prior]) -> Iterator[list[_Prior]]:
    """Neighbours of one frame size, as many as share a rectangle that keeps the batch's pixels bounded."""
    batch: list[_Prior] = []
    around: list[Level] = []
    for prior in priors:
        top, left, bottom, right = surroundings([*around, *prior.levels])
        pixels = (bottom - top) * (right - left) * (len(batch) + 1)
        if batch and (pixels > MAX_BATCH_PIXELS or prior.frame.shape != batch[0].frame.shape):
            yield batch
            batch, around = [], []
        batch.append(prior)
        around += prior.levels
    if batch:
        yield batch


class _Layer(NamedTuple):
    """A convolution (weight of four dimensions) or a dense layer (of two), with the PReLU after it."""

    weight: Tensor
    bias: Tensor
    slope: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        if self.weight.ndim == 4:
            return prelu(conv2d(values, self.weight, self.bias), self.slope)
        return prelu(torch.addmm(self.bias, values, self.weight), self.slope)


class Passing(NamedTuple):
    """N windows that P-Net passed."""

    image: NDArray[np.int64]
    """(N,) which of the images."""
    frame: NDArray[np.int64]
    """(N,) which frame of the batch."""
    row: NDArray[np.int64]
    """(N,) and where in the maps."""
    column: NDArray[np.int64]
    scores: NDArray[np.float32]
    """(N,) 0..1."""
    offsets: NDArray[np.float32]
    """(N, 4)."""


class ProposalNetwork:
    """P-Net: for each 12x12 window, two pixels apart, whether it holds a face and how the box should move."""

    def __init__(self, device: torch.device) -> None:
        weights = _loaded("pnet", device)
        self._layers = [
            _convolution(weights, 1, inputs=CHANNELS, outputs=16, scaled=True),
            _convolution(weights, 2, inputs=16, outputs=16),
            _convolution(weights, 3, inputs=16, outputs=32),
        ]
        self._weight, self._bias = _heads(weights, "conv4_1", "conv4_2")
        self._face_weight = (self._weight[:, 1] - self._weight[:, 0]).contiguous()
        self._face_bias = self._bias[1] - self._bias[0]

    def cells(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, h, w, 4) float32, 0..255 -> logits of the windows (B, h', w'), and what they are made of (B * h' * w', 32).

        h' = ceil((h - 2) / 2) - 4, and w' likewise.
        """
        first, second, third = self._layers
        features = third(second(_pooled(first(pixels.permute(0, 3, 1, 2)), window=2)))
        flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        logits = torch.mv(flat, self._face_weight) + self._face_bias
        return logits.view(len(features), *features.shape[2:]), flat

    def passing(self, images: Iterable[Tensor], threshold: float) -> Passing:
        """The windows that score at least `threshold`, in order of image, frame, row, column.

        `images`: (B, h, w, 4) each, as for `cells`, of any sizes.
        """
        maps = [self.cells(image) for image in images]
        found = torch.nonzero(torch.cat([logits.flatten() for logits, _ in maps]) >= _logit(threshold) - 0.01)
        passed = found.flatten().cpu().numpy()
        # Few cells pass: the exact scores and the offsets are computed for those alone.
        sizes = np.array([tuple(logits.shape) for logits, _ in maps])
        ends = np.cumsum(sizes.prod(axis=1))
        image = np.searchsorted(ends, passed, side="right")
        cell = passed - np.concatenate([[0], ends])[image]
        features = [
            maps[number][1].index_select(0, torch.from_numpy(cell[image == number]).to(self._bias.device))
            for number in np.unique(image)
        ]
        scores, offsets = _judged(torch.cat([maps[0][1][:0], *features]), self._weight, self._bias, 4)
        exact = scores >= threshold
        image, cell = image[exact], cell[exact]
        _, rows, columns = sizes[image].T
        return Passing(
            image, cell // (rows * columns), cell // columns % rows, cell % columns, scores[exact], offsets[exact]
        )


class RefineNetwork:
    """R-Net: 24x24 patches, whether each is a face and how the box should move."""

    def __init__(self, device: torch.device) -> None:
        weights = _loaded("rnet", device)
        self._layers = [
            _convolution(weights, 1, inputs=CHANNELS, outputs=32, scaled=True),
            _convolution(weights, 2, inputs=32, outputs=48),
            _convolution(weights, 3, inputs=48, outputs=64),
        ]
        self._dense = _dense(weights, 4, side=3)
        self._heads = _heads(weights, "dense5_1", "dense5_2")

    def __call__(self, patches: Tensor) -> tuple[NDArray[np.float32], ...]:
        """(N, 24, 24, 4) float32, 0..255 -> scores (N,), 0..1, and offsets (N, 4)."""
        first, second, third = self._layers
        values = _pooled(first(patches.permute(0, 3, 1, 2)), window=3)
        values = third(_pooled(second(values), window=3))
        return _judged(self._dense(_flat(values)), *self._heads, 4)


class OutputNetwork:
    """O-Net: 48x48 patches, whether each is a face, how the box should move, and where the five landmarks are."""

    def __init__(self, device: torch.device) -> None:
        weights = _loaded("onet", device)
        self._layers = [
            _convolution(weights, 1, inputs=CHANNELS, outputs=32, scaled=True),
            _convolution(weights, 2, inputs=32, outputs=64),
            _convolution(weights, 3, inputs=64, outputs=64),
            _convolution(weights, 4, inputs=64, outputs=128),
        ]
        self._dense = _dense(weights, 5, side=3)
        self._heads = _heads(weights, "dense6_1", "dense6_2", "dense6_3")

    def __call__(self, patches: Tensor) -> tuple[NDArray[np.float32], ...]:
        """(N, 48, 48, 4) float32, 0..255 -> scores (N,), 0..1, offsets (N, 4), landmarks (N, 10): five x, five y."""
        first, second, third, fourth = self._layers
        values = _pooled(first(patches.permute(0, 3, 1, 2)), window=3)
        values = _pooled(second(values), window=3)
        values = fourth(_pooled(third(values), window=2))
        return _judged(self._dense(_flat(values)), *self._heads, 4, 10)


def _loaded(network: str, device: torch.device) -> Weights:
    weights: Weights = torch.load(weight_path(network), map_location=device, weights_only=True)
    return weights


def _convolution(weights: Weights, number: int, *, inputs: int, outputs: int, scaled: bool = False) -> _Layer:
    """Convolution `number`, widened by channels of weight 0; `scaled`: with the scaling of the pixels taken in."""
    weight, bias = weights[f"conv{number}.weight"].double(), weights[f"conv{number}.bias"].double()
    if scaled:
        weight = weight * 0.0078125
        bias = bias - 127.5 * weight.sum(dim=(1, 2, 3))
    more = outputs - len(weight)
    weight = pad(weight, (0, 0, 0, 0, 0, inputs - weight.shape[1], 0, more))
    slope = pad(weights[f"prelu{number}.weight"], (0, more))
    return _Layer(weight.float().contiguous(memory_format=torch.channels_last), pad(bias, (0, more)).float(), slope)


def _dense(weights: Weights, number: int, *, side: int) -> _Layer:
    """Dense layer `number` on maps of side x side. Its weights are ordered by column, row, channel of the maps."""
    weight = weights[f"dense{number}.weight"]
    weight = weight.view(len(weight), side, side, -1).permute(2, 1, 3, 0).reshape(-1, len(weight))
    return _Layer(weight.contiguous(), weights[f"dense{number}.bias"], weights[f"prelu{number}.weight"])


def _heads(weights: Weights, *names: str) -> tuple[Tensor, Tensor]:
    """The last layers side by side: weight (inputs, outputs) and bias (outputs,)."""
    weight = torch.cat([weights[f"{name}.weight"].flatten(1) for name in names])
    return weight.t().contiguous(), torch.cat([weights[f"{name}.bias"] for name in names])


def _judged(values: Tensor, weight: Tensor, bias: Tensor, *sizes: int) -> tuple[NDArray[np.float32], ...]:
    """The face's probability (N,) of the first two outputs, and the others, split into `sizes`."""
    outputs = torch.addmm(bias, values, weight)
    scores = torch.softmax(outputs[:, :2], dim=1)[:, 1]
    return tuple(part.cpu().numpy() for part in (scores, *torch.split(outputs[:, 2:], list(sizes), dim=1)))


def _flat(values: Tensor) -> Tensor:
    """(N, C, h, w), channels last in memory -> (N, h * w * C) in that order."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1)


def _pooled(values: Tensor, *, window: int) -> Tensor:
    """Max pooling of (N, C, h, w), channels last in memory, with stride 2; the last window may reach over the edge."""
    rows = _pooled_along(values.permute(0, 2, 3, 1), 1, window)
    return _pooled_along(rows, 2, window).permute(0, 3, 1, 2)


def _pooled_along(values: Tensor, axis: int, window: int) -> Tensor:
    """The same along one axis: outputs n = ceil((length - window) / 2) + 1, output i the maximum of 2i : 2i + window."""
    length = values.shape[axis]
    count = -(-(length - window) // 2) + 1
    views = [values[(slice(None),) * axis + (slice(k, k + 2 * count - 1, 2),)] for k in range(window)]
    # In place, the last window apart where it reaches over the edge: joining the two would copy all of it once more.
    complete = views[1].shape[axis]
    largest = torch.empty(views[0].shape, dtype=values.dtype, device=values.device)
    torch.maximum(views[0].narrow(axis, 0, complete), views[1], out=largest.narrow(axis, 0, complete))
    largest.narrow(axis, complete, count - complete).copy_(views[0].narrow(axis, complete, count - complete))
    for view in views[2:]:
        part = largest.narrow(axis, 0, view.shape[axis])
        torch.maximum(part, view, out=part)
    return largest


def _logit(probability: float) -> float:
    """What a network's logits must differ by for that probability; the float32 softmax is 1 from a difference of 17 on."""
    if probability <= 0:
        return -inf
    return 15.0 if probability >= 1 else min(15.0, log(probability / (1 - probability)))
