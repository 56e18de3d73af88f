"""Layer 5: ways to fit a classifier to given labels, all under one training loop."""

from .base import AbstractTuner
from .registry import TUNERS
from .saved import load_tuner

__all__ = ["TUNERS", "AbstractTuner", "load_tuner"]
