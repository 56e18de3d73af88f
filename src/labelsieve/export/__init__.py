"""Layer 9: what was fitted or found, in the forms that other programs read."""

from .registry import EXPORTS

__all__ = ["EXPORTS"]
