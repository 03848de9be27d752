"""`init`: the working folder's ferbench.toml, every setting in it with its default and a word about it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import read_card
from ferbench.errors import UsageError
from ferbench.settings import FILE_NAME, Workspace
from ferbench.storage import write_text

DEMO = "bundled:demo"

TEMPLATE = """\
# A ferbench workspace. In this folder, and below it, these need no further arguments:
#
#     ferbench align
#     ferbench make-splits
#     ferbench evaluate --model mini-xception
#
# Each stage reads what the stage before it wrote. A flag on the command line wins over `-o key=value`, that over this
# file, this file over the dataset's card. Commented lines show the defaults.

# What to align, relative to this folder: a folder, a video, an image or a list of them; a manifest (.parquet, or .csv with
# class names); or bundled:NAME.
source = {source}
# The dataset's card, for its classes, protocol and defaults; see `ferbench datasets`.
{dataset}

[align]
output = "faces"
# labels = "none"           # folder: the first folder below the source is the class name
# numbered = "auto"         # a folder of numbered images is: frames of one clip, stills, auto (by the folder's name)
# detector = "mtcnn"        # facenet: facenet-pytorch's own class, for reference
# min-face = 20             # pixels
# min-score = 0.9
# select = "track"          # largest, confident, central, track: which face, when there are several
# missing = "nearest"       # fail, nearest, interpolate, full-frame, drop: what a frame without a face becomes
# template = "arcface-112"  # evolve-112, evolve-96x112, margin
# size = 112                # height of the crops in pixels
# sampler = "uniform"       # former, dfer-clip, mae-dfer, m3dfel, dfew, uniform, stride, center-window, last-n, all
# clip-len = 16             # 0: as the sampler's own code has it
# format = "jpg"            # png
# max-failures = 0          # exit code 3 when more samples fail

[make-splits]
output = "splits"
# folds = 5
# group = "auto"            # subject where the manifest has subjects; a column name; none
# seed = 0
# dialect = ""              # former: also write `path num_frames label`

[train]
output = "training"
# model = "former-dfer"     # its recipe: see manifests/recipes; -o KEY=VALUE on the command line changes any key of it
# workers = 0               # processes that read and augment

[evaluate]
output = "runs"
# model = "mini-xception"   # a built-in name, TorchScript, .pt2, a state dict with arch, or a .py file
# device = "auto"
# batch-size = 16
"""


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What `init` is asked for."""

    folder: Path
    source: str = ""
    dataset: str = ""
    overwrite: bool = False


def init_workspace(options: InitOptions) -> tuple[Workspace, str]:
    """Write the workspace file; returns it and a sentence about its source. UsageError when one is there already."""
    path = options.folder / FILE_NAME
    if path.exists() and not options.overwrite:
        raise UsageError(f"{path} is there already; edit it, or say --overwrite")
    source, dataset, about = options.source, options.dataset, "source as given"
    if dataset:
        read_card(dataset)
    if not source and _has_media(options.folder):
        source, about = ".", "source: the media in this folder"
    elif not source:
        source, dataset = DEMO, dataset or "demo"
        about = "no media here, so the source is the bundled demo clips; set `source` to your own data"
    elif not source.startswith("bundled:") and options.source:
        # Said where the user is, kept relative to the workspace.
        source = Path(os.path.relpath(source, options.folder)).as_posix()
    quoted = json.dumps(source, ensure_ascii=False)  # a JSON string is a TOML string
    dataset_line = f'dataset = "{dataset}"' if dataset else '# dataset = "dfew"'
    write_text(path, TEMPLATE.format(source=quoted, dataset=dataset_line))
    values = {"source": source, **({"dataset": dataset} if dataset else {})}
    return Workspace(options.folder, values), about


def _has_media(folder: Path) -> bool:
    from ferbench.media import find_media

    return folder.is_dir() and bool(find_media(folder))
