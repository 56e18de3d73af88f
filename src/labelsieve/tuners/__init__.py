"""Layer 5: ways to fit a classifier to given labels, all under one training loop."""

from .base import AbstractTuner, load_tuner
from .registry import TUNERS

__all__ = ["TUNERS", "AbstractTuner", "load_tuner"]
