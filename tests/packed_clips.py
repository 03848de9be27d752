"""Clips of small pictures in packs, as `ferbench align --pack` writes them, without a detector."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from ferbench.jobs.align.packing import Packer, index_shards, packed_path, staged_place
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of

CLASSES = ("happy", "neutral", "sad")


def make_folders(root: Path, count: int, *, frames: int = 4, side: int = 24) -> Manifest:
    """Clips `clip_000`, … of JPEG frames, each in a folder; every clip has its own colours."""
    rng = np.random.default_rng(7)
    ids = [f"clip_{number:03d}" for number in range(count)]
    for name in ids:
        (root / name).mkdir(parents=True)
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
        for frame in range(1, frames + 1):
            picture.rotate(9 * frame).save(root / name / f"{frame:05d}.jpg", quality=92)
    columns = {
        "sample_id": ids, "path": ids, "media": ["frames"] * count, "num_frames": [frames] * count,
        "label": [number % len(CLASSES) for number in range(count)], "status": ["ok"] * count,
    }  # fmt: skip
    return manifest_of(columns, labels=LabelSet.of(CLASSES), name="clips", root=root)


def pack_folders(folders: Manifest, out: Path, *, suffix: str, shard_size: int) -> Manifest:
    """The same clips in shards of `shard_size` below `out`, and their index."""
    names = folders.column("sample_id")
    crops = {
        name: packed_path(name, "frames", position, suffix=suffix, shard_size=shard_size)
        for position, name in enumerate(names)
    }
    for name, path in zip(names, folders.column("path"), strict=True):
        place = staged_place(out, crops[name])
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folders.root / path, place)
    packer = Packer(out, folders, crops, names)
    for name in names:
        packer.done(name)
    packed = folders.with_columns(path=list(crops.values())).replace(root=out)
    index_shards(out, packed)
    shutil.rmtree(out / ".ferbench")
    return packed
