"""Where a copy of Aff-Wild2 keeps annotations, crops and the test list: every edition names the folders its own way.

    annotations/EXPR_Set/{Training_Set,Validation_Set}/<video>.txt                                      ABAW 2020
    annotations/EXPR_Set/{Train_Set,Validation_Set}/<video>.txt                                         ABAW 2021
    Third ABAW Annotations/EXPR_Classification_Challenge/{Train_Set,Validation_Set}/<video>.txt         ABAW 2022
    …/EXPR_Recognition_Challenge/{Train_Set,Validation_Set}/<video>.txt                                 later
    cropped_aligned/<video>/00001.jpg      cropped/<video>/00001.jpg      expression_test_set.txt

Sources: xinqi-fan/ABAW2021 data/custom_dataset.py; wtomin/Multitask-Emotion-Recognition-with-Incomplete-Labels
create_annotation_file/Aff-wild2/.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferbench.datasets.tree import entries, files_in, folders_in, nothing_found, relative
from ferbench.errors import DataError

_DEPTH = 6
_ANNOTATIONS = re.compile(r"expr(ession)?s?([ _-].*)?", re.IGNORECASE)
_PARTS = {
    "train": re.compile(r"train(ing)?([ _-]set)?", re.IGNORECASE),
    "validation": re.compile(r"val(id(ation)?)?([ _-]set)?", re.IGNORECASE),
}
_CROPS = re.compile(r"crop+ed([ _-].*)?", re.IGNORECASE)
_BATCH = re.compile(r"batch[ _-]?\d+", re.IGNORECASE)
_TEST_LIST = re.compile(r"expr(ession)?[ _-](.*[ _-])?test[ _-]set.*\.txt", re.IGNORECASE)
_ELSEWHERE = re.compile(r"videos?|(va|au)[ _-].*|mtl[ _-].*", re.IGNORECASE)
"""Folders that hold nothing of the expressions; crops are not walked into either, for they hold millions of files."""


@dataclass(slots=True)
class Layout:
    """What was found below the root."""

    root: Path
    annotations: list[Path] = field(default_factory=list)
    """Folders with a train or a validation folder in them, one per edition."""
    crops: list[Path] = field(default_factory=list)
    test_lists: list[Path] = field(default_factory=list)

    def parts(self, annotations: Path) -> list[tuple[str, Path]]:
        """(`train` or `validation`, its folder)."""
        return [
            (part, annotations / name)
            for part, pattern in _PARTS.items()
            for name in folders_in(annotations)
            if pattern.fullmatch(name)
        ]

    def files(self, annotations: Path) -> list[tuple[str, Path]]:
        """(part, annotation file) of every video."""
        return [
            (part, folder / name) for part, folder in self.parts(annotations) for name in files_in(folder, [".txt"])
        ]

    def kind_of_crops(self, wanted: str) -> str:
        """`aligned` or `cropped`: as asked for, else aligned where it is there."""
        if wanted != "auto":
            return wanted
        return "aligned" if any(_is_aligned(folder) for folder in self.crops) else "cropped"

    def crop_folders(self, kind: str) -> dict[str, str]:
        """Video name -> its folder of crops, relative to the root."""
        found: dict[str, str] = {}
        for folder in self.crops:
            if _is_aligned(folder) == (kind == "aligned"):
                for name in folders_in(folder):
                    videos = [name]
                    if _BATCH.fullmatch(name):
                        videos = [f"{name}/{video}" for video in folders_in(folder / name)]
                    for video in videos:
                        found.setdefault(video.rpartition("/")[2], f"{relative(folder, self.root)}/{video}")
        return found


def find_layout(root: Path, dataset: str) -> Layout:
    """Look below `root`; DataError when there are no expression annotations."""
    layout = Layout(root)
    level = [root]
    for _ in range(_DEPTH):
        deeper: list[Path] = []
        for folder in level:
            if _ANNOTATIONS.fullmatch(folder.name) and layout.parts(folder):
                layout.annotations.append(folder)
                continue
            for entry in entries(folder):
                path = folder / entry.name
                if _TEST_LIST.fullmatch(entry.name):
                    layout.test_lists.append(path)
                elif entry.is_dir() and _CROPS.fullmatch(entry.name):
                    layout.crops += _nested_crops(path)
                elif entry.is_dir() and not _ELSEWHERE.fullmatch(entry.name):
                    deeper.append(path)
        level = deeper
    if not layout.annotations:
        raise nothing_found(
            root, dataset, "annotations/EXPR_Set/Train_Set or EXPR_Classification_Challenge/Train_Set, and their kin"
        )
    return layout


def _nested_crops(folder: Path) -> list[Path]:
    """ABAW2021 keeps `Cropped_aligned_image/cropped_aligned/<video>`."""
    inner = [folder / name for name in folders_in(folder) if _CROPS.fullmatch(name)]
    return inner or [folder]


def _is_aligned(folder: Path) -> bool:
    return "aligned" in folder.name.lower()


def choose_annotations(layout: Layout, asked: str, fitting: Sequence[Path]) -> Path:
    """The folder to read: the one asked for, else the only one, else the only one whose class names are the card's.

    DataError lists what there is when that leaves a choice.
    """
    found = layout.annotations
    if asked:
        found = [folder for folder in found if relative(folder, layout.root) == asked.strip("/")]
    elif len(found) > 1:
        found = list(fitting)
    if len(found) == 1:
        return found[0]
    names = ", ".join(repr(relative(folder, layout.root)) for folder in layout.annotations)
    raise DataError(
        f"{layout.root}: expression annotations are in {names}; choose one with annotations=FOLDER", reason="layout"
    )
