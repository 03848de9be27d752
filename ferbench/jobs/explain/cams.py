"""The part with class activation maps: a few samples of each class, drawn as grids and strips."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ferbench.errors import FerbenchError, LabelError, ModelError, UsageError
from ferbench.explaining.cam_figure import Explained, cam_grids, clip_strips
from ferbench.explaining.running import ModelRun
from ferbench.explaining.seen import Seen, see
from ferbench.jobs.evaluate.classes import ClassMatch
from ferbench.jobs.explain.choose import candidates
from ferbench.jobs.explain.options import SUBJECTS, ExplainOptions
from ferbench.jobs.explain.study import Study
from ferbench.media import FrameReader
from ferbench.metrics import softmax
from ferbench.progress import progress
from ferbench.rendering.wording import counted

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class CamPart:
    """Class activation maps."""

    grids: tuple[str, ...]
    """Pictures, relative to the folder."""
    strips: tuple[tuple[str, str], ...]
    """(class name, picture) of clips."""
    samples: tuple[dict[str, Any], ...]


def make_cams(study: Study, run: ModelRun, network: nn.Module, match: ClassMatch, probe: Seen) -> CamPart:
    """Maps of a few samples of each class. Raises ModelError when no layer of the network has a map."""
    import torch

    from ferbench.explaining.cams import class_map, method_of
    from ferbench.explaining.layers import choose_map_layer

    options, names = study.options, match.labels.names
    method = method_of(options.method)
    layer = choose_map_layer(network, torch.from_numpy(probe.clip), run.model.spec, name=options.layer)
    reading = layer.reading
    study.facts["map layer"] = f"{layer.name} ({'chosen' if layer.was_chosen else 'named'})"
    study.facts["map size"] = (
        f"{reading.frames if reading.frames > 1 else reading.batch} x {reading.height} x {reading.width}"
    )
    study.facts["method"] = f"{method.title}: {method.definition} ({method.source})"
    subjects = _subjects(options, match)
    found: list[Explained] = []
    queues = candidates(study.chosen.samples, seed=options.seed)
    with (
        FrameReader() as reader,
        progress("explaining", sum(min(len(q), options.per_class) for q in queues.values())) as step,
    ):
        for label, queue in queues.items():
            made = 0
            for sample in queue:
                if made == options.per_class:
                    break
                try:
                    seen = see(study.manifest, sample, run.model.spec, reader)
                    cam = class_map(
                        network, torch.from_numpy(seen.clip), run.model.spec, layer=layer, method=options.method,
                        label=subjects(label),
                    )  # fmt: skip
                except UsageError:
                    raise
                except FerbenchError as error:
                    # The next sample of the class takes its place.
                    study.errors.setdefault(sample.sample_id, error.as_row())
                    continue
                logits = match.logits(cam.logits)
                said = int(logits.argmax())
                found.append(
                    Explained(
                        sample_id=sample.sample_id, true=label, predicted=names[said], is_right=said == label,
                        confidence=float(softmax(logits[None])[0, said]),
                        subject=names[match.columns.index(cam.label)], frames=seen.frames, maps=cam.values,
                        is_empty=cam.peak == 0,
                    )
                )  # fmt: skip
                made += 1
                step(sample.sample_id)
    if not found:
        raise ModelError("no sample could be explained; the reasons are: " + "; ".join(list(study.errors.values())[:3]))
    return _drawn_cams(study, found, names, f"{method.title}, {run.model.name} on {study.manifest.name}")


def _drawn_cams(study: Study, found: Sequence[Explained], names: Sequence[str], title: str) -> CamPart:
    empty = sum(sample.is_empty for sample in found)
    if empty:
        study.notices.append(
            f"{counted(empty, 'map')} of {len(found)} {'is' if empty == 1 else 'are'} empty: at this layer nothing speaks "
            "for the class. Its score comes from other places of the network, or from the lack of evidence for others."
        )
    pages = cam_grids(found, names, title=title)
    grids = tuple(
        study.keep(f"cam_grid-{number}" if len(pages) > 1 else "cam_grid", page) for number, page in enumerate(pages, 1)
    )
    strips = []
    for label in dict.fromkeys(sample.true for sample in found):
        clips = [sample for sample in found if sample.true == label and len(sample.frames) > 1]
        if clips:
            file = f"cams/{label + 1:02d}-{_file_name(names[label])}"
            strips.append((names[label], study.keep(file, clip_strips(clips, title=f"{names[label]}: {title}"))))
    rows = tuple(
        {
            "sample_id": sample.sample_id, "true": names[sample.true], "predicted": sample.predicted,
            "confidence": round(sample.confidence, 6), "explains": sample.subject, "empty": sample.is_empty,
            "frame_shares": [round(float(share), 4) for share in sample.energy],
        }
        for sample in found
    )  # fmt: skip
    return CamPart(grids, tuple(strips), rows)


def _subjects(options: ExplainOptions, match: ClassMatch) -> Callable[[int], int | None]:
    """True label -> the model's output to explain; None is the one it predicts."""
    if options.explains == SUBJECTS[0]:
        return lambda label: None
    if options.explains == SUBJECTS[1]:
        return lambda label: match.columns[label]
    try:
        column = match.columns[match.labels.label_of(options.explains)]
    except LabelError as error:
        raise UsageError(f"--explains {options.explains}: {error.message}, predicted, true") from error
    if column is None:
        raise UsageError(f"--explains {options.explains}: the model does not know that class")
    return lambda label: column


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:40] or "class"
