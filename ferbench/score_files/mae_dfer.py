"""MAE-DFER's and S2D's (and VideoMAE's) per-rank text files, `0.txt`, `1.txt`, …: a line per view of a clip.

    93.75, 100.0                                              the last batch's accuracies; not read
    /data/DFEW/jpg_256/02522 [0.11, -1.25, …] 5 0 1           id, logits, label, chunk, split

A clip's score is the mean of its views' softmax; a view that several ranks have, as DistributedSampler fills up the last
batch, counts once. Views are told apart by both numbers, not by their digits side by side. The logits of the predictions
are the logarithms of those means: the same argmax and the same probabilities.

Source: sunlicai/MAE-DFER engine_for_finetuning.py, `final_test` writes and `merge` reads.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ferbench.errors import DataError, PredictionsError
from ferbench.findings import Finding
from ferbench.score_files.options import ScoreFileOptions
from ferbench.score_files.peek import Peek
from ferbench.score_files.rows import ClassColumn, ScoreRows
from ferbench.textfiles import numbered_lines

TITLE = "MAE-DFER's, S2D's and VideoMAE's per-rank text files"
GRAMMAR = "ID [LOGIT, LOGIT, …] LABEL CHUNK SPLIT"

_LINE = re.compile(r"(.*?)\s*\[([^\[\]]*)\]\s+(-?[0-9]+)\s+([0-9]+)\s+([0-9]+)\s*")
_RANK = re.compile(r"([0-9]+)(_best)?\.txt")


def recognises(peek: Peek) -> bool:
    """The second line of a file is a view; a folder has files named by ranks."""
    if peek.is_folder:
        return any(_RANK.fullmatch(name) for name in peek.texts) and _is_view(peek.lines)
    return peek.suffix == ".txt" and _is_view(peek.lines)


def _is_view(lines: tuple[str, ...]) -> bool:
    return any("[" in line and _LINE.fullmatch(line) for line in lines[:2])


@dataclass(slots=True)
class _Clip:
    label: int
    place: str
    views: dict[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict)


def files_of(place: Path) -> list[Path]:
    """The rank files of a folder, by number: `0.txt`, or `0_best.txt` where there are only those; a file is itself."""
    if not place.is_dir():
        return [place]
    ranks = [match for match in map(_RANK.fullmatch, os.listdir(place)) if match]
    kind = min((match[2] or "" for match in ranks), default="")
    chosen = sorted((int(match[1]), match[0]) for match in ranks if (match[2] or "") == kind)
    return [place / name for _, name in chosen]


def read_all(places: list[Path], options: ScoreFileOptions) -> ScoreRows:
    """All ranks of one run as one; PredictionsError with file and line for a line that does not fit."""
    files = [file for place in places for file in files_of(place)]
    if not files:
        raise PredictionsError(f"{places[0]}: no rank file, such as 0.txt, is in it")
    kinds = {bool(match[2]) for match in map(_RANK.fullmatch, (file.name for file in files)) if match}
    if len(kinds) > 1:
        raise PredictionsError(
            f"{places[0]}: files of the best and of the last epoch (0_best.txt, 0.txt) do not go together"
        )
    clips: dict[str, _Clip] = {}
    repeated = 0
    width: tuple[int, str] | None = None
    for file in files:
        for where, name, logits, label, view in _views(file):
            width = width or (len(logits), where)
            if len(logits) != width[0]:
                raise PredictionsError(f"{where}: {len(logits)} logits, but {width[0]} in {width[1]}")
            clip = clips.setdefault(name, _Clip(label, where))
            if clip.label != label:
                raise PredictionsError(
                    f"{where}: sample {name[:200]!r} has label {label} here and {clip.label} in {clip.place}; "
                    "the files are of different runs, or the id is not the whole path"
                )
            if view in clip.views:
                repeated += 1
            else:
                clip.views[view] = logits
    if not clips:
        raise PredictionsError(f"{files[0]}: no line of the form '{GRAMMAR}' is in it")
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.stack([np.mean([_softmax(row) for row in clip.views.values()], axis=0) for clip in clips.values()])
    places_of = [clip.place for clip in clips.values()]
    return ScoreRows(
        place=str(places[0]) if len(places) == 1 else f"{files[0]} and {len(files) - 1} more",
        count=len(clips),
        where=places_of.__getitem__,
        names=pa.array(list(clips), pa.string()),
        values=means,
        kind="probabilities",
        targets=ClassColumn(numbers=np.array([clip.label for clip in clips.values()], np.int64)),
        facts={
            "format": "mae-dfer", "ranks": str(len(files)),
            "views": ", ".join(f"{count} samples of {views}" for views, count in _view_counts(clips)),
            "views in several ranks": str(repeated),
        },
        findings=tuple(_findings(clips, files)),
    )  # fmt: skip


def _views(file: Path) -> Iterator[tuple[str, str, NDArray[np.float64], int, tuple[int, int]]]:
    try:
        for number, line in numbered_lines(file):
            where = f"{file}:{number}"
            match = _LINE.fullmatch(line)
            if match is None:
                # The first line is the accuracies of the last batch, whatever their type prints as.
                if number == 1:
                    continue
                raise PredictionsError(
                    f"{where}: expected '{GRAMMAR}', got {line[:80]!r}; a run that was stopped leaves such a line"
                )
            try:
                logits = np.array([float(text) for text in match[2].split(",")], np.float64)
            except ValueError:
                raise PredictionsError(f"{where}: logits must be numbers, got {match[2][:80]!r}") from None
            if not match[1]:
                raise PredictionsError(f"{where}: the sample id is empty")
            if len(match[3]) > 9 or len(match[4]) > 9 or len(match[5]) > 9:
                raise PredictionsError(f"{where}: label, chunk and split are small numbers, got {line[-80:]!r}")
            yield where, match[1], logits, int(match[3]), (int(match[4]), int(match[5]))
    except DataError as error:
        raise PredictionsError(error.message, reason=error.reason) from error


def _softmax(row: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(row - row.max())
    result: NDArray[np.float64] = powers / powers.sum()
    return result


def _view_counts(clips: dict[str, _Clip]) -> list[tuple[int, int]]:
    return Counter(len(clip.views) for clip in clips.values()).most_common()


def _findings(clips: dict[str, _Clip], files: list[Path]) -> list[Finding]:
    found = []
    usual = _view_counts(clips)[0][0]
    odd = [name for name, clip in clips.items() if len(clip.views) != usual]
    if odd:
        found.append(
            Finding(
                "warning", "views",
                f"{len(odd)} samples do not have {usual} views as the others do, first: {odd[0]!r} with "
                f"{len(clips[odd[0]].views)}",
                "a rank's file may be missing or cut off; give all of them", sample=odd[0], count=len(odd),
            )
        )  # fmt: skip
    ranks = sorted({int(match[1]) for match in map(_RANK.fullmatch, (file.name for file in files)) if match})
    gaps = sorted(set(range(ranks[-1])) - set(ranks)) if ranks else []
    if gaps:
        message = f"the files of rank {', '.join(map(str, gaps[:10]))} are missing between 0 and {ranks[-1]}"
        found.append(Finding("warning", "ranks", message, "give the files of all ranks", count=len(gaps)))
    return found
