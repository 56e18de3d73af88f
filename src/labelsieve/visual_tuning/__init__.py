"""Layer 3: parameter-efficient tuning of the vision tower, one method a file."""

from .base import AbstractVisualTuning
from .registry import VISUAL_TUNINGS, make_visual_tuning

__all__ = ["VISUAL_TUNINGS", "AbstractVisualTuning", "make_visual_tuning"]
