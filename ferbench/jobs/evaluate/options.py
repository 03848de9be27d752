"""What `evaluate` is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ferbench.engines import TASK_DEADLINE, EngineOptions, check_engine
from ferbench.errors import UsageError
from ferbench.jobs.evaluate.views import ViewOptions
from ferbench.sharding import Share, share_of

THREADS = 4
"""Enough for a laptop, few enough that a node of a cluster has room for many workers. Measured with 1 to 4 threads on one
machine, the logits of 5 of the 10 built-in networks differ in their last bits."""
FOLD = "{fold}"
"""Stands for the fold's name in `model`."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Model, samples, and how it runs."""

    model: tuple[str, ...] = ()
    """One model, or the members of an ensemble. `{fold}` in a file's name makes it a model per fold."""
    arch: tuple[str, ...] = ()
    """For bare state dicts: a built-in name, timm:NAME, pkg.module:factory or file.py:factory; one for all members, or one
    for each."""
    weights: tuple[float, ...] = ()
    """Of the members, in their order; empty is the plain mean."""
    input: tuple[str, ...] = ()
    """`key=value` settings of the InputSpec, for all members; a member's own are in `NAME.toml` beside it."""
    option: tuple[str, ...] = ()
    """`key=value` settings of the network that `arch`, or a built-in, makes."""
    trust_pickle: bool = False
    partial: bool = False
    amp: str = "off"
    split: str = ""
    """Part of a fixed split to score; empty is `test`."""
    fold: str = ""
    """One fold by name; empty is all of them."""
    device: str = "auto"
    batch_size: int = 16
    """Clips per forward pass, cut in the manifest's order; for an image model, images."""
    workers: int = 0
    """Threads that read and resize; 0 is one per CPU core. With another engine than `local`, worker processes."""
    threads: int = THREADS
    """CPU threads of a forward pass. Their number decides an output's last bits, so it is not the machine's."""
    seed: int = 0
    """Of the clips that the audits look at."""
    audit_clips: int = 32
    """Clips that the audits of a model look at before the run; 0 leaves these audits out."""
    profile: bool = False
    """Measure the model too, apart from the run."""
    limit: int | None = None
    max_failures: int = 0
    """Samples that may fail here and still be a success; those without a face were counted when they were aligned."""
    overwrite: bool = False
    engine: str = "local"
    address: str = ""
    """Of the Ray cluster, with `engine` `ray`."""
    task_deadline: float = TASK_DEADLINE
    """Seconds a worker may take for a stretch of blocks before it is killed."""
    shard: str = ""
    """The part of the samples that this run does, `i/n` or `auto`; empty is all. See `ferbench.sharding`."""

    def __post_init__(self) -> None:
        if not self.model or not all(self.model):
            raise UsageError("say which model: --model NAME, or --model with a file")
        if len(self.arch) not in (0, 1, len(self.model)):
            raise UsageError(
                f"{len(self.arch)} times --arch for {len(self.model)} models; say it once for all, or once for each"
            )
        if self.weights and len(self.weights) != len(self.model):
            raise UsageError(
                f"{len(self.weights)} weights for {len(self.model)} models; --weights 1,1,2 is one for each"
            )
        if any(not math.isfinite(weight) or weight < 0 for weight in self.weights) or (
            self.weights and not any(self.weights)
        ):
            raise UsageError(f"weights must be positive numbers, got {', '.join(map(str, self.weights))}")
        if self.batch_size < 1:
            raise UsageError(f"batch-size must be at least 1, got {self.batch_size}")
        for name in ("workers", "max_failures", "seed", "audit_clips"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name.replace('_', '-')} cannot be negative, got {getattr(self, name)}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1, got {self.limit}")
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, got {self.threads}")
        check_engine(self.engine, self.address, self.task_deadline)
        share_of(self.shard)

    @property
    def share(self) -> Share | None:
        """`shard`, understood."""
        return share_of(self.shard)

    def engine_options(self, *, shared: Iterable[Path] = ()) -> EngineOptions:
        """How an engine runs it; `shared` are paths that workers read."""
        return EngineOptions(
            self.workers, task_deadline=self.task_deadline, address=self.address, device=self.device, cpus=self.threads,
            shared=tuple(str(path.absolute()) for path in shared),
        )  # fmt: skip

    def arch_of(self, member: int) -> str:
        """The architecture of one member."""
        return self.arch[min(member, len(self.arch) - 1)] if self.arch else ""

    def shares(self) -> tuple[float, ...]:
        """The members' weights, which add up to 1."""
        weights = self.weights or (1.0,) * len(self.model)
        return tuple(weight / sum(weights) for weight in weights)

    def asked(self, views: ViewOptions) -> dict[str, object]:
        """The question, whatever the files in it hold: another question must not replace this one's answer."""
        more: dict[str, object] = {
            "weights": list(self.weights), "option": sorted(self.option), "partial": self.partial, "amp": self.amp,
            "views": views.as_dict(), "threads": self.threads,
        }  # fmt: skip
        usual: dict[str, object] = {
            "weights": [], "option": [], "partial": False, "amp": "off", "views": ViewOptions().as_dict(),
            "threads": THREADS,
        }  # fmt: skip
        return {
            "model": " + ".join(Path(model).name for model in self.model), "arch": ", ".join(self.arch),
            "input": sorted(self.input), "split": self.split, "fold": self.fold, "limit": self.limit,
            # What is as usual is not said, so that the answers of earlier versions are still known.
            **{key: value for key, value in more.items() if value != usual[key]},
        }  # fmt: skip

    def default_name(self) -> str:
        """Name of a folder for the results: the model, and what part of the samples when it is not all."""
        parts = ["+".join(Path(model).stem.replace(FOLD, "").rstrip("_-. ") or "model" for model in self.model)]
        parts += [f"fold-{self.fold}"] if self.fold else []
        parts += [self.split] if self.split not in ("", "test") else []
        parts += [f"first-{self.limit}"] if self.limit else []
        return "-".join(parts).replace("/", "_")
