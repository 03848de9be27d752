"""CK+ with neutral: the same copy."""

from trees.ck_plus import fabricate

__all__ = ["fabricate"]
