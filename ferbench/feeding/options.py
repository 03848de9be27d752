"""How samples become batches, and what a batch is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ferbench.errors import UsageError
from ferbench.training.recipe import SHUFFLES, Choice

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What decides the batches. `workers` decides nothing but the time they take."""

    batch_size: int = 32
    """Samples per batch and process."""
    workers: int = 0
    """Threads that read and augment ahead of the model; 0 reads in the caller's thread when a batch is asked for."""
    seed: int = 0
    shuffle: bool = True
    grain: str = "samples"
    """What is shuffled, and dealt to processes: `samples`, each read from wherever it lies; or `shards` of packed samples,
    in an order by lot, each read once (see `ferbench.feeding.shards`)."""
    window: int = 4
    """With grain `shards`: shards whose samples are mixed."""
    balanced: bool = False
    """Draw every class equally often, with replacement; an epoch is as long as without."""
    drop_last: bool = False
    """Leave out the samples at the end that do not fill a batch in every process."""
    rank: int = 0
    world: int = 1
    """Processes that train together; this one gets every `world`-th sample of a batch, from the `rank`-th on."""
    augment: tuple[Choice, ...] = ()
    """In order, for training alone; names and settings of `AUGMENTATIONS`."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 0), ("seed", 0), ("world", 1), ("rank", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if self.window < 1:
            raise UsageError(f"the window of shards must be at least 1, got {self.window}")
        if self.grain not in SHUFFLES:
            raise UsageError(f"unknown grain {self.grain!r} of shuffling; known: {', '.join(SHUFFLES)}")
        if self.balanced and self.grain == "shards":
            raise UsageError(
                "balanced draws samples from everywhere, and shards are read one after the other; choose one"
            )
        if self.rank >= self.world:
            raise UsageError(f"rank must be below world ({self.world}), got {self.rank}")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step takes. Rows of `clips` and `targets` belong together."""

    clips: Tensor
    """float32 in the layout of the spec: (N, T, C, H, W), (N, C, T, H, W) or (N, C, H, W). N is 0 where no sample of the
    batch could be read, or this process has no share of it."""
    targets: Tensor
    """(N,) int64; for a spec whose output is `frames` (N, T), -1 where a frame is not to be scored in this window."""
    sample_ids: tuple[str, ...]
    """One per row; an image model gets a row per frame of a clip, which repeat its id. For a spec whose output is
    `frames`: one per scored frame, row by row in the order of the targets that are not -1; a clip's id stands once."""
    failed: tuple[tuple[str, str], ...] = ()
    """(sample_id, `reason: message`) of samples that could not be read."""
    failed_targets: tuple[int, ...] = ()
    """Their classes."""
