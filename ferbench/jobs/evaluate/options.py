"""What `evaluate` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ferbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Model, samples, and how it runs."""

    model: str = ""
    arch: str = ""
    """For a bare state dict: a built-in name, pkg.module:factory or file.py:factory."""
    input: tuple[str, ...] = ()
    """`key=value` settings of the InputSpec."""
    split: str = ""
    """Part of a fixed split to score; empty is `test`."""
    fold: str = ""
    """One fold by name; empty is all of them."""
    device: str = "auto"
    batch_size: int = 16
    """Clips per forward pass, cut in the manifest's order; for an image model, images."""
    workers: int = 0
    """Threads that read and resize; 0 is one per CPU core."""
    limit: int | None = None
    max_failures: int = 0
    """Samples that may fail here and still be a success; those without a face were counted when they were aligned."""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("say which model: --model NAME, or --model with a file")
        if self.batch_size < 1:
            raise UsageError(f"batch-size must be at least 1, got {self.batch_size}")
        for name in ("workers", "max_failures"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name.replace('_', '-')} cannot be negative, got {getattr(self, name)}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1, got {self.limit}")

    def asked(self) -> dict[str, object]:
        """The question, whatever the files in it hold: another question must not replace this one's answer."""
        return {
            "model": Path(self.model).name, "arch": self.arch, "input": sorted(self.input), "split": self.split,
            "fold": self.fold, "limit": self.limit,
        }  # fmt: skip

    def default_name(self) -> str:
        """Name of a folder for the results: the model, and what part of the samples when it is not all."""
        parts = [Path(self.model).stem]
        parts += [f"fold-{self.fold}"] if self.fold else []
        parts += [self.split] if self.split not in ("", "test") else []
        parts += [f"first-{self.limit}"] if self.limit else []
        return "-".join(parts).replace("/", "_")
