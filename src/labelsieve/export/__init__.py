"""Layer 9: what was fitted or found, in the forms that other programs read."""

from .registry import EXPORTS
from .run import export_folder

__all__ = ["EXPORTS", "export_folder"]
