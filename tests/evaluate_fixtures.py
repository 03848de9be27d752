"""Small manifests and models for the tests of `evaluate`: pictures of one colour, networks that read it off them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ferbench.jobs.evaluate import EvaluateOptions, ViewOptions, evaluate
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of, read_manifest, write_manifest
from ferbench.predictions import Predictions

COLOURS = ("red", "green", "blue")


def write_picture(path: Path, pixels) -> None:
    """`pixels` is a colour, or an (H, W, 3) array; a grey number is a colour of three equal channels."""
    pixels = np.asarray(pixels, np.uint8)
    picture = pixels if pixels.ndim == 3 else np.full((8, 8, 3), pixels, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(picture[:, :, ::-1]))


def clips_manifest(folder: Path, clips: dict[str, Sequence], **columns) -> Manifest:
    """A manifest of frame folders, `name -> pictures`, at `folder/manifest.parquet`; every label is 0 unless given."""
    for name, pictures in clips.items():
        for number, picture in enumerate(pictures, start=1):
            write_picture(folder / name / f"{number:05d}.png", picture)
    columns = {
        "sample_id": list(clips), "path": list(clips), "media": ["frames"] * len(clips),
        "num_frames": [len(pictures) for pictures in clips.values()], "label": [0] * len(clips), **columns,
    }  # fmt: skip
    manifest = manifest_of(columns, labels=LabelSet.of(COLOURS), name="colours", root=folder)
    write_manifest(manifest, folder / "manifest.parquet")
    return manifest


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def forward(self, inputs):
        {body}

def build_model():
    return Net()

INPUT_SPEC = dict(clip_len={clip_len}, height=8, width=8, layout={layout!r}, classes={classes!r}, **{more!r})
"""

IMAGE = "return {scale} * inputs.mean(dim=(2, 3))"
"""(N, 3, H, W): the mean red, green and blue."""
CLIP = "return {scale} * inputs.mean(dim=(1, 3, 4))"
"""(N, T, 3, H, W): the same of a clip."""


def write_net(
    path: Path, body: str = IMAGE, *, layout: str = "NCHW", clip_len: int = 2, scale: float = 1,
    classes: Sequence[str] = COLOURS, **more: object,
) -> Path:  # fmt: skip
    """A Python file with `build_model` whose forward pass is `body`."""
    text = NET.format(body=body.format(scale=scale), layout=layout, clip_len=clip_len, classes=list(classes), more=more)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def predictions_of(manifest: Path, models, out: Path, *, views: ViewOptions | None = None, **options) -> Predictions:
    """The evaluate job without the report that its command writes; `models` is a path or several."""
    models = models if isinstance(models, (list, tuple)) else [models]
    asked = EvaluateOptions(model=tuple(map(str, models)), device="cpu", **options)
    return evaluate(read_manifest(manifest), manifest, out, asked, views=views).predictions
