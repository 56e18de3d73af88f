"""Layer 4: losses for noisy labels, by name; pure functions of logits and labels."""

from .registry import LOSSES, make_loss

__all__ = ["LOSSES", "make_loss"]
