"""Layer 3: parameter-efficient tuning of the vision tower, one method a file."""

from .base import AbstractVisualTuning
from .registry import VISUAL_TUNINGS, find_visual_tuning, make_visual_tuning

__all__ = ["VISUAL_TUNINGS", "AbstractVisualTuning", "find_visual_tuning", "make_visual_tuning"]
