"""What `train` is asked for, beside the recipe."""

from __future__ import annotations

from dataclasses import dataclass

from ferbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train, on what part, and how it runs; the rest is the recipe's."""

    model: str = ""
    """Built-in name; empty is the recipe's."""
    recipe: str = ""
    """Name or file of the training recipe; empty is the model's on the manifest's dataset."""
    fold: str = ""
    """Name of the fold that is held out; empty where the manifest has a fixed split."""
    device: str = "auto"
    workers: int = 0
    """Processes that read and augment; 0 is in this one."""
    limit: int | None = None
    """Only the first samples of each part; for trying things out."""
    overwrite: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if not self.model and not self.recipe:
            raise UsageError("say what to train: --model NAME, or --recipe NAME")
        if self.workers < 0:
            raise UsageError(f"workers cannot be negative, got {self.workers}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1, got {self.limit}")
