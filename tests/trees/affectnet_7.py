"""AffectNet with seven classes: the copy is that of eight."""

from trees.affectnet_8 import fabricate

__all__ = ["fabricate"]
