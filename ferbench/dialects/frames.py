"""What the papers' loaders do with a folder of frames, and whether a sample's folder stands it.

They list the pictures, often `*.jpg` alone, and sort the names as text. So `10.jpg` comes before `2.jpg`, pictures of
another suffix are not there at all, and a frame count above the number of pictures ends in an IndexError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ferbench.errors import ManifestError
from ferbench.manifest import Manifest, Sample

_NUMBER = re.compile(r"[0-9]+")


def frames_sample(sample: Sample, dialect: str) -> None:
    """ManifestError for a sample that is not a whole folder of frames."""
    if sample.media != "frames":
        if sample.media == "image":
            what, way_out = "an image", "leave stills out, or export imagefolder"
        else:
            what, way_out = "a video", "align the manifest, which writes frames, and export that"
        raise ManifestError(
            f"sample {sample.sample_id!r}: the {dialect} dialect names folders of frames, and {sample.path!r} is {what}; "
            f"{way_out}"
        )
    if sample.start_frame or sample.end_frame is not None:
        raise ManifestError(
            f"sample {sample.sample_id!r}: the {dialect} dialect names whole folders, and this sample is a range of "
            "frames; align it first"
        )


def frames_on_disk(manifest: Manifest, sample: Sample, dialect: str, *, suffix: str = "", counted: bool = True) -> None:
    """ManifestError where the loader would read other frames than the manifest means. A folder that is not here is not
    looked at: lists are also written for another machine.

    `suffix` is the only one the loader lists, in lower case; `counted` says that it trusts the manifest's frame count.
    """
    folder: Path = manifest.root / sample.path
    try:
        names = os.listdir(folder)
    except OSError:
        return
    if suffix:
        listed = [name for name in names if name.endswith(suffix)]
        if names and not listed:
            raise _refusal(sample, f"its loader lists *{suffix} alone, and {folder} holds {min(names)!r}")
        names = listed
    # Names of one width sort alike as text and by number; most folders are done here.
    wrong = _early(names) if len({len(name) for name in names}) > 1 else None
    if wrong:
        raise _refusal(sample, f"the frames in {folder} are not zero-padded, and its loader reads {wrong!r} too early")
    if counted and sample.num_frames is not None and sample.num_frames > len(names):
        raise _refusal(sample, f"the manifest says {sample.num_frames} frames, and {folder} holds {len(names)}")


def _early(names: Sequence[str]) -> str | None:
    """The first name that sorts before a smaller number of its kind; None where text and number agree."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(_NUMBER.sub("0", name), []).append(name)
    for kind in kinds.values():
        by_number = sorted(kind, key=lambda name: [int(number) for number in _NUMBER.findall(name)])
        for name, expected in zip(sorted(kind), by_number, strict=True):
            if name != expected:
                return name
    return None


def _refusal(sample: Sample, what: str) -> ManifestError:
    return ManifestError(
        f"sample {sample.sample_id!r}: {what}; align writes folders of 00001.jpg, 00002.jpg, …, `ferbench check --fix` "
        "counts"
    )
