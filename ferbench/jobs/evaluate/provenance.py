"""Where the numbers come from: models, inputs, views, seed, command line and machine, as plain values."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferbench import remote
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.runs import Run
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.manifest import Manifest

if TYPE_CHECKING:
    from ferbench.models.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What remains of a model that was loaded, run and let go of."""

    name: str
    member: int
    fold: str | None
    spec: InputSpec
    spec_source: str
    sha256: str
    facts: Mapping[str, Any]
    weights: Mapping[str, Any] | None
    unit: str
    """What one row of logits is made from: see `ferbench.jobs.evaluate.tasks.unit_of`."""
    notices: tuple[str, ...]

    @classmethod
    def of(cls, model: LoadedModel, run: Run, *, unit: str, notices: Sequence[str]) -> ModelRecord:
        """A loaded model's record, with what the run noticed."""
        weights = model.weights.as_dict() if model.weights else None
        return cls(
            model.name, run.member, run.fold, model.spec, model.spec_source, model.sha256, dict(model.facts), weights,
            unit, (*model.notices, *notices),
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name, "member": self.member, "fold": self.fold, "sha256": self.sha256,
            "input_spec": self.spec.as_dict(), "input_spec_source": self.spec_source, "facts": dict(self.facts),
            "weights": self.weights, "unit": self.unit,
        }  # fmt: skip


def about_run(
    manifest: Manifest, models: Sequence[ModelRecord], options: EvaluateOptions, views: ViewOptions, *, device: str
) -> dict[str, Any]:
    """The provenance of predictions. What is of one model is that model's; of several, what they agree on."""
    one = len(models) == 1
    first = models[0]
    return {
        "model": " + ".join(Path(model).name for model in options.model) if not one else first.name,
        "model_sha256": first.sha256 if one else {_title(model): model.sha256 for model in models},
        "model_facts": _agreed([model.facts for model in models]),
        "models": [model.as_dict() for model in models],
        "input_spec": first.spec.as_dict(),
        "input_spec_source": first.spec_source,
        "ensemble": None
        if len(options.model) == 1
        else {
            "members": [Path(model).name for model in options.model], "weights": list(options.shares()),
            "average": views.average,
        },
        "views": {**views.as_dict(), "count": views.count},
        "amp": options.amp,
        "threads": options.threads,
        "recipe_id": manifest.recipe.id if manifest.recipe else None,
        "recipe": manifest.recipe.as_dict() if manifest.recipe else None,
        "protocol": dict(manifest.protocol),
        "notices": _notices(models, views),
        "device": device,
        "seed": options.seed,
        "command": command_line(),
        "host": host(device),
        "versions": {name: version(name) for name in ("ferbench", "torch", "numpy")},
    }  # fmt: skip


def command_line() -> str:
    """What was typed, as a shell would read it."""
    return remote.shown(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])) if sys.argv else ""


def host(device: str) -> dict[str, Any]:
    """The machine, as far as it may matter to numbers and times."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    is_cuda = device.startswith("cuda")
    return {
        "device_name": torch.cuda.get_device_name(device) if is_cuda else _cpu_name(),
        "cpu": _cpu_name(),
        "cpu_count": cores,
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cuda": torch.version.cuda if is_cuda else None,
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _title(model: ModelRecord) -> str:
    return f"fold {model.fold}: {model.name}" if model.fold is not None else f"{model.member + 1}: {model.name}"


def _agreed(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = facts
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _notices(models: Sequence[ModelRecord], views: ViewOptions) -> list[str]:
    """Every notice once, with the model it is about where not all have it."""
    notices: list[str] = []
    for text in dict.fromkeys(notice for model in models for notice in model.notices):
        about = [model for model in models if text in model.notices]
        notices.append(text if len(about) == len(models) else f"{'; '.join(map(_title, about))}: {text}")
    per_member = {
        member: [model for model in models if model.member == member] for member in {m.member for m in models}
    }
    for member, own in sorted(per_member.items()):
        differing = [model for model in own[1:] if model.spec != own[0].spec]
        if differing:
            keys = sorted(
                {
                    key
                    for model in differing
                    for key, value in model.spec.as_dict().items()
                    if value != own[0].spec.as_dict()[key]
                }
            )
            notices.append(
                f"The models of the folds take different inputs: {', '.join(keys)} of {differing[0].name} differ from "
                f"those of {own[0].name} (model {member + 1})."
            )
    if views.average == "softmax" and (len(per_member) > 1 or views.count > 1):
        notices.append("The logits are logarithms of averaged probabilities (--average softmax).")
    return notices


def model_notices(manifest: Manifest, model: LoadedModel) -> list[str]:
    """What makes the scores of this model on these faces less than they seem."""
    from ferbench.models.loading import GUESSED

    notices: list[str] = []
    spec = model.spec
    if model.spec_source == GUESSED:
        shape = f"{spec.layout}, {spec.clip_len} x {spec.channels} {spec.height}x{spec.width}, pixels {spec.range}"
        notices.append(f"The model does not state its input. Assumed: {shape}. Say it with --input if that is wrong.")
    if manifest.recipe is None:
        notices.append("The manifest has no recipe: the faces were not made by ferbench, or are not aligned at all.")
    return notices
