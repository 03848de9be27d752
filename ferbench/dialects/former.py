"""The `former` dialect: `path num_frames label`, one sample a line (Former-DFER, DFER-CLIP, IAL, MS; TSN lineage).

    line := path SP num_frames SP label NL      label is 0-based, in the manifest's class order

Source: zengqunzhao/Former-DFER dataloader/dataset_DFEW.py, `_parse_list`: fields are split at single spaces, there is no
header and no quoting, and `num_frames` is how many frames the sampler may index.
"""

from __future__ import annotations

import re

from ferbench.errors import ManifestError
from ferbench.manifest import Manifest
from ferbench.protocol import folds_of

FILES = re.compile(r"(set_\d+_)?(train|validation|test)\.txt")


def format_lines(manifest: Manifest) -> str:
    """The manifest as text; ManifestError names the sample that the grammar cannot hold.

    Failed samples have no frames and are left out by the caller, who says so.
    """
    lines = []
    for sample in manifest.samples():
        path = manifest.path_of(sample).as_posix()
        if any(character.isspace() for character in path):
            raise ManifestError(
                f"sample {sample.sample_id!r}: the former dialect cannot hold white space in a path: {path!r}; "
                "move the faces to a path without spaces"
            )
        if sample.num_frames is None or sample.num_frames < 1:
            raise ManifestError(f"sample {sample.sample_id!r}: the former dialect needs a frame count, and it has none")
        if sample.label is None:
            raise ManifestError(f"sample {sample.sample_id!r}: the former dialect needs a label, and it has none")
        lines.append(f"{path} {sample.num_frames} {sample.label}\n")
    return "".join(lines)


def format_folds(manifest: Manifest) -> dict[str, str]:
    """The texts of `set_1_train.txt`, `set_1_test.txt`, … (or `train.txt`, `test.txt` of a fixed split).

    Failed samples cannot be written, since they have no frames; the manifest keeps them.
    """
    import pyarrow.compute as pc

    texts = {}
    for number, fold in enumerate(folds_of(manifest), start=1):
        prefix = f"set_{number}_" if manifest.has_values("fold") else ""
        parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
        for part, rows in parts.items():
            if rows is not None:
                usable = rows.where(pc.fill_null(pc.not_equal(rows.table.column("status"), "failed"), True))
                texts[f"{prefix}{part}.txt"] = format_lines(usable)
    return texts
