"""What `check` is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from ferbench.checks.phash import NEAR_BITS
from ferbench.engines import ENGINES
from ferbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Which families run, and the numbers they go by."""

    only: tuple[str, ...] = ()
    """Families to run; empty is all."""
    skip: tuple[str, ...] = ()
    """Families to leave out."""
    clip_len: int = 16
    """T, the frames of a model's clip: shorter samples are counted."""
    phash_distance: int = NEAR_BITS
    """Most bits of 64 in which the hashes of two nearly equal pictures differ."""
    decode: bool = False
    """Decode every file from its first to its last frame. Without it a video's own header is believed where it agrees with
    the manifest, and an image is decoded only where pictures are compared."""
    per_rule: int = 20
    """Findings listed one by one per rule; the rest are counted."""
    workers: int = 0
    """Processes; 0 is one per CPU core."""
    deadline: float = 60.0
    """Seconds a decoder may take for one file before it is killed."""
    engine: str = "local"

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(f"unknown engine {self.engine!r}; known: {', '.join(ENGINES)}")
        if not 0 <= self.phash_distance <= 16:
            # From about 18 bits on, unlike pictures are as near; and the search would look at every pair.
            raise UsageError(f"phash-distance must be 0..16 of 64 bits, got {self.phash_distance}")
        for name, least in (("clip_len", 1), ("per_rule", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if self.deadline <= 0:
            raise UsageError(f"deadline must be positive, got {self.deadline}")
