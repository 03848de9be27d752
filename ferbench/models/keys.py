"""Which keys of a state dict fit a network: the report, and the refusal made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What became of every key, of the file and of the network."""

    used: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Keys of the network that the file lacks."""
    unexpected: tuple[str, ...] = ()
    """Keys of the file that the network lacks."""
    misshaped: tuple[str, ...] = ()
    """Keys of both, of different shapes: `head.weight is (8, 512), the model has (7, 512)`."""
    dropped_prefix: str = ""
    """What was taken off the front of the file's keys."""
    wrapper: str = ""
    """Where in the file the weights lay: `state_dict`, `checkpoint.model`."""
    fraction: float = 1.0
    """Of the network's parameters, those that came from the file; 0..1."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "used": len(self.used), "missing": list(self.missing), "unexpected": list(self.unexpected),
            "misshaped": list(self.misshaped), "dropped_prefix": self.dropped_prefix, "wrapper": self.wrapper,
            "fraction": self.fraction,
        }  # fmt: skip
