"""What `compare` is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from ferbench.errors import UsageError
from ferbench.metrics import METRICS, PROBABILITY_METRICS

VIEWS = {"all": "all", "scored": "detected"}
"""What a user writes -> the view of the confusion matrix."""
STATISTICS = ("auto", "mean", "pooled")


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Which numbers, which references, which tests."""

    metrics: tuple[str, ...] = ()
    """Of every dataset; empty takes each dataset card's own, and UAR and WAR where there is no card."""
    view: str = "all"
    """`all` counts a sample without a prediction as an error, `scored` leaves it out."""
    statistic: str = "auto"
    """`auto` is the mean of folds, unless the protocol's card says that papers pool them."""
    published: bool = True
    references: tuple[str, ...] = ()
    """Published methods to show, by name; empty shows all of them."""
    baseline: str = ""
    """Label of the run that every other one is tested against."""
    paired: bool = False
    """Test the runs of each dataset against each other, pair by pair."""
    replicates: int = 2000
    """Of each bootstrap; 0 makes no intervals, and the tests are McNemar's only."""
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*METRICS, *PROBABILITY_METRICS)
        for name in self.metrics:
            if name not in known:
                raise UsageError(f"no metric {name!r}; known: {', '.join(known)}")
        if self.view not in VIEWS:
            raise UsageError(f"view must be one of {', '.join(VIEWS)}, got {self.view!r}")
        if self.statistic not in STATISTICS:
            raise UsageError(f"statistic must be one of {', '.join(STATISTICS)}, got {self.statistic!r}")
        if self.replicates < 0:
            raise UsageError(f"replicates cannot be negative, got {self.replicates}")
        if not 0 < self.level < 1:
            raise UsageError(f"level must be between 0 and 1, got {self.level}")
