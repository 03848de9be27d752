"""Which model scores which samples: one for all, one per fold, several that are averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferbench import remote
from ferbench.errors import UsageError
from ferbench.jobs.evaluate.options import FOLD, EvaluateOptions
from ferbench.manifest import Sample
from ferbench.models import MODELS


@dataclass(frozen=True, slots=True)
class Run:
    """One model over the samples it scores."""

    number: int
    member: int
    """Place in the ensemble."""
    fold: str | None
    """The fold whose model this is; None for a model of all folds."""
    model: str
    arch: str
    samples: tuple[Sample, ...]
    is_one_of_many: bool = False

    @property
    def title(self) -> str:
        """The model's name, for messages."""
        return self.model if self.model in MODELS else Path(self.model).name

    @property
    def about(self) -> str:
        """What tells this model from the others of the job; empty where it is the only one."""
        return self.title if self.is_one_of_many else ""


def plan_runs(samples: Sequence[Sample], folds: Sequence[str], options: EvaluateOptions) -> list[Run]:
    """A run per member, and per fold where the member's name has `{fold}` in it.

    UsageError names the first file that is not there, before anything is computed.
    """
    runs: list[Run] = []
    for member, model in enumerate(options.model):
        arch = options.arch_of(member)
        if FOLD not in model and FOLD not in arch:
            runs.append(Run(len(runs), member, None, model, arch, tuple(samples)))
            continue
        for fold in dict.fromkeys(folds):
            own = tuple(sample for sample, name in zip(samples, folds, strict=True) if name == fold)
            path = model.replace(FOLD, _checked(fold))
            if not remote.has_file(path):
                raise UsageError(
                    f"the model of fold {fold}, {path}, is not there; --model {model} needs one for each of the folds "
                    f"{', '.join(dict.fromkeys(folds))} (or choose a --fold)"
                )
            runs.append(Run(len(runs), member, fold, path, arch.replace(FOLD, fold), own))
    return [dataclasses.replace(run, is_one_of_many=len(runs) > 1) for run in runs]


def _checked(fold: str) -> str:
    """The fold's name, which a manifest may have from anywhere, as part of a file's name."""
    if not fold or any(sign in fold for sign in "/\\\0") or fold.startswith("."):
        raise UsageError(f"the fold name {fold!r} cannot be part of a file's name; give one --model per --fold instead")
    return fold
