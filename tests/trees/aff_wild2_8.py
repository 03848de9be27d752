"""Aff-Wild2 with eight classes: the tree of ABAW 2022."""

from __future__ import annotations

from pathlib import Path

from trees import aff_wild2


def fabricate(root: Path) -> None:
    """The whole copy below `root`."""
    aff_wild2.fabricate(root, edition="2022")
