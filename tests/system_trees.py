"""A few samples of each dataset of the published systems, in its official layout, with pictures that can be read.

The grammar is that of `trees`; the counts are not the published ones, so `index` exits with 4 and writes its manifest.
A class is a pattern of stripes, drawn with its own count, so that a network could learn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from trees import affectnet_8, dfew, spread, write

SHORT_CLIP = "00003"
"""The DFEW clip that has twelve frames."""


def stripes(label: int, *, seed: int, size: int = 32) -> np.ndarray:
    """uint8 (size, size) grey: label + 1 stripes, tilted by noise, dimmer or brighter by the seed."""
    rng = np.random.default_rng([label, seed])
    across = np.linspace(0, 1, size)
    wave = np.sin(2 * np.pi * (label + 1) * (across[:, None] + 0.2 * rng.uniform(-1, 1) * across[None, :]))
    return np.clip(128 + 70 * wave + rng.normal(0, 8, (size, size)), 0, 255).astype(np.uint8)


def draw(path: Path, label: int, *, seed: int, size: int = 32) -> None:
    """One picture of a class, JPEG or PNG by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), stripes(label, seed=seed, size=size))


def draw_clip(folder: Path, label: int, *, frames: int, seed: int, size: int = 32) -> None:
    """`00001.jpg` to the last frame: the stripes grow out of grey."""
    folder.mkdir(parents=True, exist_ok=True)
    peak = stripes(label, seed=seed, size=size).astype(float)
    for frame in range(frames):
        share = 0.3 + 0.7 * frame / max(frames - 1, 1)
        pixels = (128 + share * (peak - 128)).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{frame + 1:05d}.jpg"), pixels)


def dfew_clips(root: Path, *, per_class: int = 5) -> dict[str, int]:
    """DFEW below `root/DFEW`: five pairs of fold lists, `per_class` clips of each class; clip -> class, 0-based."""
    classes = {f"{number:05d}": label for number, label in enumerate(spread((per_class,) * 7), start=1)}
    dfew.write_lists(root / "DFEW", dfew.fold_lists(classes))
    for clip, label in classes.items():
        frames = 12 if clip == SHORT_CLIP else 17
        draw_clip(root / "DFEW/Clip/clip_224x224" / clip, label, frames=frames, seed=int(clip))
    return classes


def ferv39k_clips(root: Path, *, train: int = 2, test: int = 1) -> dict[str, list[str]]:
    """FERV39k below `root/FERV39k`: the lists of all scenes, two scenes; part -> `Scene/Emotion/0001`."""
    names = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
    parts: dict[str, list[str]] = {}
    number = 0
    for part, count in (("train", train), ("test", test)):
        parts[part] = []
        for label in spread((count,) * 7):
            number += 1
            clip = f"{('Action', 'School')[number % 2]}/{names[label]}/{number:04d}"
            parts[part].append(clip)
            folder = root / "FERV39k/2_ClipsforFaceCrop/2_ClipsforFaceCrop" / clip
            draw_clip(folder, label, frames=16, seed=number)
        lines = "".join(f"{clip} {clip.split('/')[1]}\n" for clip in parts[part])
        write(root / f"FERV39k/4_setups/All_scenes/{part}_All.csv", lines)
    return parts


def raf_db_images(root: Path, *, train: int = 3, test: int = 1) -> list[str]:
    """RAF-DB basic below `root/basic`, 1-based; the lines of its list."""
    lines = []
    for part, digits, count in (("train", 5, train), ("test", 4, test)):
        for number, label in enumerate(spread((count,) * 7), start=1):
            stem = f"{part}_{number:0{digits}d}"
            lines.append(f"{stem}.jpg {label + 1}")
            draw(root / f"basic/Image/aligned/{stem}_aligned.jpg", label, seed=number)
    write(root / "basic/EmoLabel/list_patition_label.txt", "\n".join(lines))
    return lines


def affectnet_images(root: Path, *, train: int = 3, validation: int = 1) -> None:
    """AffectNet's newer release, `train_set` and `val_set`, of eight classes."""
    for name, count in (("train_set", train), ("val_set", validation)):
        for number, label in enumerate(spread((count,) * 8)):
            draw(root / name / "images" / f"{number}.jpg", label, seed=number)
            for suffix, value in (("exp", str(label)), ("val", "0.25"), ("aro", "-0.5"), ("lnd", "0")):
                write(root / name / "annotations" / f"{number}_{suffix}.npy", affectnet_8.npy(value))


def ferplus_images(root: Path, *, train: int = 2, validation: int = 1, test: int = 1) -> None:
    """FER+ below `root`: fer2013new.csv, and 48x48 pictures in the folders of generate_training_data.py."""
    lines = ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"]
    number = 0
    folders = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
    for (usage, folder), count in zip(folders.items(), (train, validation, test), strict=True):
        for label in spread((count,) * 8):
            votes = ",".join("9" if column == label else "0" for column in range(9))
            lines.append(f"{usage},fer{number:07d}.png,{votes},1")
            draw(root / "data" / folder / f"fer{number:07d}.png", label, seed=number, size=48)
            number += 1
    write(root / "fer2013new.csv", "\n".join(lines) + "\n")


def fer2013_csv(root: Path, counts: Sequence[int] = (3, 1, 2)) -> None:
    """`fer2013.csv` with the pixels of its pictures, and no picture: `counts` of each class in its three parts."""
    lines = ["emotion,pixels,Usage"]
    for usage, count in zip(("Training", "PublicTest", "PrivateTest"), counts, strict=True):
        for label in spread((count,) * 7):
            pixels = stripes(label, seed=len(lines), size=48)
            lines.append(f"{label},{' '.join(str(value) for value in pixels.ravel())},{usage}")
    write(root / "fer2013.csv", "\n".join(lines) + "\n")


def ck_plus_sequences(root: Path, *, subjects: int = 20, each: int = 1) -> dict[str, int]:
    """CK+ below `root`: `each` sequences of four frames for a subject, and one without a label; `S005/001` -> code."""
    codes = {}
    for place in range(subjects):
        subject = f"S{5 * (place + 1):03d}"
        for number in range(each):
            codes[f"{subject}/{number + 1:03d}"] = (each * place + number) % 7 + 1
    for name, code in codes.items():
        stem = name.replace("/", "_")
        for frame in range(1, 5):
            draw(root / "cohn-kanade-images" / name / f"{stem}_{frame:08d}.png", code - 1, seed=frame, size=48)
        write(root / "Emotion" / name / f"{stem}_00000004_emotion.txt", f"   {code:.7e}\n")
    for frame in range(1, 5):
        draw(root / f"cohn-kanade-images/S005/003/S005_003_{frame:08d}.png", 0, seed=frame, size=48)
    (root / "Emotion/S005/003").mkdir(parents=True)
    return codes
