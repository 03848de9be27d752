"""What `explain` is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ferbench.engines import TASK_DEADLINE, EngineOptions, check_engine
from ferbench.errors import UsageError
from ferbench.explaining.embedding import EMBEDDINGS
from ferbench.jobs.evaluate.options import THREADS

PARTS = ("cams", "features", "mistakes")
SUBJECTS = ("predicted", "true")


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """Model, samples, and what is looked at."""

    model: str = ""
    arch: str = ""
    """For weights alone: a built-in name, timm:NAME, pkg.module:factory or file.py:factory."""
    input: tuple[str, ...] = ()
    """`key=value` settings of the InputSpec."""
    option: tuple[str, ...] = ()
    """`key=value` settings of the network that `arch`, or a built-in, makes."""
    trust_pickle: bool = False
    partial: bool = False
    predictions: Path | None = None
    """A predictions file that the mistakes are taken from, instead of running the model."""
    only: tuple[str, ...] = ()
    """Some of `PARTS`; empty is all."""
    method: str = "gradcam"
    """A row of `ferbench.explaining.cams.METHODS`."""
    layer: str = ""
    """Layer of the maps; empty finds it."""
    explains: str = "predicted"
    """Class that the maps are of: `predicted`, `true`, or the name of a class."""
    per_class: int = 4
    """Samples per class with a map."""
    feature_layer: str = ""
    """Layer whose input is the features; empty finds the head."""
    embedding: str = "tsne"
    most_points: int = 5000
    """Samples in the scatter; of more, so many are drawn by the seed."""
    mistakes: int = 24
    """Most confident mistakes that are shown."""
    split: str = ""
    fold: str = ""
    device: str = "auto"
    batch_size: int = 16
    workers: int = 0
    threads: int = THREADS
    """CPU threads of a forward pass; features are made with so many under every engine."""
    engine: str = "local"
    """What runs the model over the samples, for features and mistakes; the maps of a few samples are made here."""
    address: str = ""
    """Of the Ray cluster, with `engine` `ray`."""
    task_deadline: float = TASK_DEADLINE
    seed: int = 0
    limit: int | None = None
    max_failures: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        unknown = [part for part in self.only if part not in PARTS]
        if unknown:
            raise UsageError(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
        if not self.model and not (self.parts == ("mistakes",) and self.predictions):
            raise UsageError(
                "say which model: --model NAME; without one only `--only mistakes --predictions FILE` works"
            )
        if self.embedding not in EMBEDDINGS:
            raise UsageError(f"unknown embedding {self.embedding!r}; known: {', '.join(EMBEDDINGS)}")
        for name in ("batch_size", "per_class", "most_points", "mistakes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        for name in ("workers", "seed", "max_failures"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name.replace('_', '-')} cannot be negative, got {getattr(self, name)}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1, got {self.limit}")
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, got {self.threads}")
        check_engine(self.engine, self.address, self.task_deadline)

    def engine_options(self, *, shared: Iterable[Path] = ()) -> EngineOptions:
        """How an engine runs it; `shared` are paths that workers read."""
        return EngineOptions(
            self.workers, task_deadline=self.task_deadline, address=self.address, device=self.device, cpus=self.threads,
            shared=tuple(str(path.absolute()) for path in shared),
        )  # fmt: skip

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts to make, in their order."""
        return tuple(part for part in PARTS if part in (self.only or PARTS))

    def asked(self) -> dict[str, object]:
        """The question: another one must not replace this one's answer."""
        return {
            "model": Path(self.model).name, "arch": self.arch, "input": sorted(self.input), "option": sorted(self.option),
            "predictions": self.predictions.name if self.predictions else None, "parts": list(self.parts),
            "method": self.method, "layer": self.layer, "explains": self.explains, "per_class": self.per_class,
            "feature_layer": self.feature_layer, "embedding": self.embedding, "most_points": self.most_points,
            "mistakes": self.mistakes, "split": self.split, "fold": self.fold, "seed": self.seed, "limit": self.limit,
        }  # fmt: skip

    def default_name(self) -> str:
        """Name of a folder for the results."""
        name = Path(self.model).stem if self.model else "mistakes"
        return f"{name}-fold-{self.fold}".replace("/", "_") if self.fold else name.replace("/", "_")
